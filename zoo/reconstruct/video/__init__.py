"""Pictures and sound into a film that plays: written frame by frame, with flat memory.

`video_file` writes an MP4; `write_sound` brings the sound of source files in step; `Grid` sets
pictures side by side under their names; `Scaler` makes them larger. No network is known here.
"""
