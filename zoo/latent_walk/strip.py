"""A strip: pictures of a walk side by side, each with what it is below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from zoo.base.workspace import written_aside
from zoo.report.look import GROUND, QUIET, fit_text, font
from zoo.video.convert import Pixels

_WIDEST, _GAP, _LETTERS = 1920, 6, 13
_LARGEST = 320


def write_strip(
    path: Path, pictures: Sequence[Pixels], captions: Sequence[str], columns: int | None = None
) -> None:
    """Write pictures, uint8 (H, W, 3) of one size, as a PNG, in rows of `columns`; None is one row.

    Small pictures are enlarged by a whole factor and large ones reduced, so that a row is at most
    1,920 pixels wide.
    """
    columns = columns or len(pictures)
    rows = math.ceil(len(pictures) / columns)
    height, width, _ = pictures[0].shape
    room = min(_LARGEST, (_WIDEST - _GAP) // columns - _GAP)
    scale: float = room // width if room >= width else room / width
    size = max(1, round(width * scale)), max(1, round(height * scale))
    caption = _LETTERS + 8 if any(captions) else 0
    cell = size[0] + _GAP, size[1] + caption + _GAP
    strip = Image.new("RGB", (columns * cell[0] + _GAP, rows * cell[1] + _GAP), GROUND)
    pen = ImageDraw.Draw(strip)
    by = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    for number, (picture, text) in enumerate(zip(pictures, captions, strict=True)):
        left = _GAP + number % columns * cell[0]
        top = _GAP + number // columns * cell[1]
        strip.paste(Image.fromarray(picture).resize(size, by), (left, top))
        if text:
            middle = (left + size[0] / 2, top + size[1] + caption / 2)
            words = fit_text(text, size[0], _LETTERS)
            pen.text(middle, words, fill=QUIET, font=font(_LETTERS), anchor="mm")
    with written_aside(path) as aside:
        strip.save(aside, format="PNG")
