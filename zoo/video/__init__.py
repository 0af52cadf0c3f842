"""Pictures and sound into a film that plays: written frame by frame, with flat memory.

`video_file` writes an MP4; `sound_of` brings the sound of source files along in step; `Grid` puts
pictures side by side under their names; `Scaler` makes them larger. Nothing here knows of networks.
"""
