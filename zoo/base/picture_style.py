"""Colours and typeface of all pictures, readable on light and on dark pages.

The typeface is the one that matplotlib contains, so that a report looks the same on any machine.
"""

from __future__ import annotations

import logging
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.base.safe_text import one_line

if TYPE_CHECKING:
    from PIL import ImageFont

# Matplotlib works without a writable home, but logs five lines about it when it is imported.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

GROUND = "#14171c"
PANEL = "#1c2028"
RULE = "#3a414d"
TEXT = "#f0ede6"
QUIET = "#a9b0bb"
SEEN = "#8fb8de"
HELD_OUT = "#f2a65a"
REFERENCE = "#a9b0bb"
LINES = (
    *("#f2a65a", "#8fb8de", "#9ccc8e", "#e58fb1", "#d7c15b", "#b39ddb"),
    *("#6cc5c1", "#e57f6b", "#c9b79c", "#7f9fe0", "#a8d65c", "#d98ce0"),
)
"""Line colours of models in a plot; labels are next to the lines, so colours need no legend."""


@cache
def _file(bold: bool) -> Path:
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The typeface at a size in pixels."""
    from PIL import ImageFont

    # Basic layout: the other engine is not available everywhere and places letters differently.
    return ImageFont.truetype(str(_file(bold)), size, layout_engine=ImageFont.Layout.BASIC)


@cache
def _letters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(_file(bold=False))).get_charmap())


def picture_text(text: str, longest: int = 40) -> str:
    """Shorten text for a picture; characters missing from the typeface become `?`."""
    known = _letters()
    head, machine = _parted(text)
    short = one_line(head, longest - len(machine)) + machine
    return "".join(c if ord(c) in known else "?" for c in short)


def fit_text(text: str, width: float, size: int, bold: bool = False) -> str:
    """Shorten text until it is at most `width` pixels wide."""
    text = picture_text(text)
    if font(size, bold).getlength(text) <= width:
        return text
    head, machine = _parted(text)
    while head and font(size, bold).getlength(f"{head}…{machine}") > width:
        head = head[:-1]
    return f"{head.rstrip()}…{machine}"


SMALLEST = 9
"""Smallest size of letters, in pixels."""


def fit_letters(text: str, width: float, size: int) -> tuple[str, int]:
    """Return text and letter size for at most `width` pixels; text is cut only at `SMALLEST`."""
    shown = picture_text(text)
    sizes = range(size, min(size, SMALLEST) - 1, -1)
    fitting = next((each for each in sizes if font(each).getlength(shown) <= width), sizes[-1])
    return fit_text(text, width, fitting), fitting


def wrap_text(text: str, width: float, size: int, bold: bool = False, most: int = 2) -> list[str]:
    """Wrap text to at most `most` lines of `width` pixels, between words if possible.

    If this is not enough room, only the last line is shortened.
    """
    rest = picture_text(text, 200)
    lines: list[str] = []
    typeface = font(size, bold)
    while len(lines) < most - 1 and typeface.getlength(rest) > width:
        fits = max(
            n for n in range(1, len(rest) + 1) if n == 1 or typeface.getlength(rest[:n]) <= width
        )
        ends = [n for n in range(1, fits + 1) if rest[n - 1] in " _-," or rest[n : n + 1] == " "]
        cut = ends[-1] if ends else fits
        lines.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return [*lines, fit_text(rest, width, size, bold)]


def _parted(text: str) -> tuple[str, str]:
    """Split off the machine at the end of a row's name, which may be all that tells rows apart."""
    found = re.search(r" on [A-Z][0-9]*\Z", text)
    return (text[: found.start()], found[0]) if found else (text, "")
