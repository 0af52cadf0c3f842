"""Chapters of source files: in any order, overlapping, with gaps."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reconstruct.flashing_film import flashing_film
from zoo.reconstruct.tags_and_chapters import source_chapters

TIMES = [n / 25 for n in range(50)]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ([(0.5, 1, "a"), (1.5, 2, "b")], [(0.5, 1, "a"), (1.5, 2, "b")]),
        ([(0, 2, "whole"), (1, 1.5, "part")], [(0, 1, "whole"), (1, 1.5, "part")]),
        ([(0, 2, "both"), (0, 1, "one")], [(0, 2, "both / one")]),
    ],
)
def test_chapters_are_in_order_and_apart(given: list, found: list, tmp_path: Path) -> None:
    film = flashing_film(tmp_path / "a.mkv", [], times=TIMES, audio=None, chapters=given)
    chapters = source_chapters([film], [0.0], 0.0, 2.0)
    assert [(c.start, c.stop, c.title) for c in chapters] == found
