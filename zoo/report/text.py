"""Text from films and plugins made fit to print, and as a file's name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from zoo.plain_text import one_line

__all__ = ["file_names", "one_line"]


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Give each name a file's name: safe anywhere, and distinct where letters have no case."""
    given: dict[str, str] = {}
    taken: set[str] = set()
    for index, name in enumerate(names):
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", name[:200])[:40].strip("-.")
        if not stem or stem != name or stem.lower() in taken:
            stem = f"{stem}-{index}".lstrip("-")
        given[name] = stem
        taken.add(stem.lower())
    return given
