"""Films: from video files of any kind to clean, seekable frames with shots and a split.

`catalogue` lists the films of a workspace, `ingest` opens one as a `Film`, which is decoded once
and kept in a `frame_store`. Reading goes through `probe`, `decode`, `frame_converter` and
`shots_and_split`, which `pipeline` puts together. Nothing here needs torch.
"""
