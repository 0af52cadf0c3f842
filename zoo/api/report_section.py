"""`ReportSection`, which plugins subclass to add a section, and the check of its text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import ClassVar
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

from zoo.base import markdown
from zoo.base.records import Results

LONGEST = 50_000
"""Largest length of a section, in characters."""
_TURNS = frozenset(("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"))
_AFTERWARDS = "what follows a section"


class ReportSection:
    """Base class of every report section that a plugin adds; its module must not need torch.

    A subclass sets `name` and `heading` and defines `write`. The text is Markdown: paragraphs,
    lists, tables, code, headings from `###` down, links to the web or within the results folder,
    and pictures in that folder. Refused are HTML, control characters, link definitions (which
    would apply beyond the section), unclosed blocks, and texts of more than 50,000 characters.
    """

    name: ClassVar[str]
    """Name in `zoo plugins`."""
    heading: ClassVar[str]
    """Heading in the report, one line."""

    def write(self, results: Results) -> str:
        """Return the section's Markdown without its heading; an empty text omits the section.

        If this raises, the report shows the error in place of the section.
        """
        raise TypeError(f"{type(self).__name__} defines no write(results)")

    @staticmethod
    def escape(text: str) -> str:
        """Escape any text, such as a film's title, so that Markdown shows it as is, on one line."""
        return markdown.escape(text)

    @staticmethod
    def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        """Format a table of plain text; every cell is escaped."""
        return markdown.grid(list(headings), [list(row) for row in rows])


def check_text(text: object) -> markdown.Markdown:
    """Check a section's text and return it as Markdown; raises ValueError naming the problem."""
    if not isinstance(text, str):
        raise ValueError(f"it returned {type(text).__name__}, not text")
    if len(text) > LONGEST:
        raise ValueError(f"it has {len(text):,} characters; a section has at most {LONGEST:,}")
    text = text.rstrip().lstrip("\n")
    for number, line in enumerate(text.split("\n"), 1):
        for character in line:
            control = unicodedata.category(character) in ("Cc", "Zl", "Zp") and character != "\t"
            if control or unicodedata.bidirectional(character) in _TURNS:
                raise ValueError(f"line {number} holds the character U+{ord(character):04X}")
    parser = MarkdownIt("commonmark").enable("table")
    defined: dict[str, object] = {}
    tokens = parser.parse(f"{text}\n\n{_AFTERWARDS}\n", defined)
    for token in _flat(tokens):
        if problem := _problem(token):
            where = f"line {token.map[0] + 1}" if token.map else "a line"
            raise ValueError(f"{where} has {problem}")
    # Code hosts support footnotes, `[^1]: ...`, which this parser reads as link definitions.
    if defined.get("references"):
        raise ValueError("it defines links by [name]: address, which would reach beyond it")
    if [(token.level, token.content) for token in tokens[-2:]] != [(1, _AFTERWARDS), (0, "")]:
        raise ValueError("it leaves a block open, which would swallow what follows it")
    return markdown.Markdown(text)


def _flat(tokens: Sequence[Token]) -> Iterator[Token]:
    """Iterate over tokens and their children; children get the line numbers of their block."""
    for token in tokens:
        yield token
        for child in _flat(token.children or ()):
            child.map = child.map or token.map
            yield child


def _problem(token: Token) -> str | None:
    match token.type:
        case "html_block" | "html_inline":
            return "HTML; ReportSection.escape shows text as it is"
        case "heading_open" if token.tag in ("h1", "h2"):
            return "a heading above those of a section, which begin with ###"
        case "link_open" if _scheme(token, "href") not in ("", "http", "https"):
            return "a link that is neither to the web nor within the results folder"
        case "image" if not _is_within(token):
            return "a picture from outside the results folder"
    return None


def _scheme(token: Token, attribute: str) -> str:
    return urlsplit(str(token.attrGet(attribute) or "")).scheme


def _is_within(image: Token) -> bool:
    address = urlsplit(str(image.attrGet("src") or ""))
    parts = re.split(r"/|\\|%2f|%5c", address.path.lower())
    outside = address.scheme or address.netloc or not parts[0] or {"..", "%2e%2e"} & set(parts)
    return not outside
