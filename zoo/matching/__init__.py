"""Would a content-matching system know it? Films by their PDQ hashes, and who matches whom.

`pdq` makes the hashes, `takedown` scores a reconstruction, `search` finds one film in another.
"""
