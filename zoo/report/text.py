"""Text from films and plugins made fit to print: on one line, of bounded length, as a file's name.

Names, titles and reasons come from strangers' files. What stays of them here is what can be seen:
no line breaks, no terminal sequences, nothing that turns the direction of writing around.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

# Explicit embeddings, overrides and isolates: they would reorder the text that follows.
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f]")
# A terminal's sequences go whole: without its escape character the rest of one is litter.
_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.?)", re.DOTALL)


def one_line(text: str, longest: int = 200) -> str:
    """Put `text` on one line of at most `longest` letters, the last one `…` where it was cut."""
    # Cut before the work as well: a title of a megabyte costs no more than one of a thousand.
    text = _TERMINAL.sub(" ", text[: 20 * longest])
    text = _DIRECTION.sub("", text)
    text = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


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
