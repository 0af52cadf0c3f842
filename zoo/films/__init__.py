"""Films: from files of any kind to clean, seekable frames with shots and a split.

`catalogue` knows which films there are, `ingest` turns one into a `Film` on disk. Nothing here
needs torch.
"""
