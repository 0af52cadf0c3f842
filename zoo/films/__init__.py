"""Films: from video files of any kind to clean, seekable frames with shots and a split.

`catalogue` lists the films of a workspace, `ingest` opens one as a `Film`, which is decoded once
and kept in a `frame_store`. Reading goes through `probe`, `decode`, `frame_converter` and `shots`,
which `pipeline` puts together. Only `training_frames` needs torch.
"""
