"""Content matching: PDQ hashes of films, search by hashes, and the takedown score.

`pdq_hashes` makes the hashes, `takedown` scores a reconstruction, and `scene_search` finds one film
in another.
"""
