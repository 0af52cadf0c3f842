"""Frames and sound written as an MP4, frame by frame, with constant memory.

`mp4_writer.video_file` writes the MP4; `source_sound` and `write_sound` bring in the sound of
source files in sync; `frame_grid` sets frames side by side; `frame_conversion` scales them. No
model is used here.
"""
