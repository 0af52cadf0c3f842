"""The page: `report.html`, to look at a film beside what models made of it, frame by frame.

It is one folder that opens from a file's address, without a server and without a network: styles,
scripts and the records stand in the page itself, known by their hashes; videos, pictures and the
scores frame by frame lie beside it.
"""
