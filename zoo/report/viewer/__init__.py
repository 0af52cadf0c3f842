"""The page `report.html`, which shows a film beside its reconstructions, frame by frame.

It opens from disk, without a server or a network: styles, scripts and the records are in the page
itself, allowed by their hashes; videos, pictures and the scores per frame are beside it.
"""
