"""Markdown for code hosts: text is escaped unless it is marked as Markdown already."""

from __future__ import annotations

import re
from collections.abc import Sequence

from zoo.base.safe_text import one_line, visible

LONGEST_LINE = 5000


class Markdown(str):
    """Text that is already Markdown and must not be escaped again."""

    __slots__ = ()


# Underscores inside a word have no meaning in Markdown, and are frequent in names.
_SPECIAL = re.compile(r"[\\`*{}\[\]#|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escape(text: str, longest: int = 2000) -> Markdown:
    """Escape text so that a paragraph, link or table shows it as it is, on one line."""
    text = re.sub("[&<>]", lambda found: _ENTITIES[found[0]], one_line(text, longest))
    return Markdown(_SPECIAL.sub(lambda found: "\\" + found[0], text))


def finish(value: object) -> str:
    """Escape a value that a template prints, unless it is Markdown."""
    return value if isinstance(value, Markdown) else escape(str(value))


def code_block(text: str) -> Markdown:
    """Format the visible text as a code block, with a longer fence than any in the text."""
    text = "\n".join(visible(line[:LONGEST_LINE]) for line in text.splitlines())
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markdown(f"{fence}\n{text.rstrip()}\n{fence}")


def image(path: str, alternative: str) -> Markdown:
    """Format an image; `path` is a file that film-zoo named, `alternative` is the alt text."""
    return Markdown(f"![{escape(alternative)}]({path})")


def link(path: str, text: str) -> Markdown:
    """Format a link; `path` is a relative URL that film-zoo made."""
    return Markdown(f"[{escape(text)}]({path})")


def folded(summary: str, content: Markdown) -> Markdown:
    """Format content that unfolds below a summary line."""
    said = escape(summary)
    return Markdown(f"<details><summary>{said}</summary>\n\n{content}\n\n</details>")


def bullets(sentences: Sequence[str]) -> Markdown:
    """Format a list of sentences, each escaped."""
    return Markdown("\n".join(f"- {escape(sentence)}" for sentence in sentences))


def grid(headings: list[str], rows: list[list[str]]) -> Markdown:
    """Format a table of text with all columns aligned left."""
    lines = [
        "| " + " | ".join(escape(heading) for heading in headings) + " |",
        "|" + ":--|" * len(headings),
        *("| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows),
    ]
    return Markdown("\n".join(lines))
