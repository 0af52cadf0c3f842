"""Frames and sound written as a video, frame by frame.

`mp4_writer.video_file` writes an MP4, `webp_writer.webp_file` an animated WebP; `source_sound` and
`write_sound` bring in the sound of source files in sync; `frame_conversion` scales frames. No model
is used here.
"""
