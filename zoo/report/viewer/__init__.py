"""The page `report.html`, which shows a film beside its reconstructions, frame by frame.

It opens from disk, without a server or a network. Styles, scripts and records are in the page and
allowed by their hashes; videos, pictures and scores per frame are separate files next to it.
"""
