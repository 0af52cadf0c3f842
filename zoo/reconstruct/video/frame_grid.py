"""Frames laid out in a grid, each with a caption: for a video, and as a PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from zoo.base.atomic_files import atomic_write
from zoo.base.frame_size import FrameSize
from zoo.base.picture_style import GROUND, QUIET, TEXT, fit_letters, font
from zoo.reconstruct.video.frame_conversion import Pixels

_GAP = 4
# Of a panel's height; letters fill two thirds of it.
_CAPTION_SHARE, _SMALLEST_CAPTION, _LARGEST_CAPTION = 0.1, 14, 64


class FrameGrid:
    """A square grid of panels of one size, or one column more than rows, each under its name.

    Two panels are side by side, three or four in a square. Names that do not fit are shortened.
    """

    def __init__(self, names: Sequence[str], panel: FrameSize) -> None:
        self.names = tuple(names)
        self.panel = panel
        columns = math.ceil(math.sqrt(len(names)))
        rows = math.ceil(len(names) / columns)
        caption = _even(
            min(max(panel.height * _CAPTION_SHARE, _SMALLEST_CAPTION), _LARGEST_CAPTION)
        )
        # All even: codecs keep one colour for two by two pixels.
        width, height = _even(panel.width) + _GAP, _even(panel.height) + caption + _GAP
        self.size = FrameSize(columns * width - _GAP, rows * height - _GAP)
        """Of the whole grid."""
        self.places = [
            (number % columns * width, number // columns * height + caption)
            for number in range(len(names))
        ]
        """Left and top of each panel, in pixels."""
        self._background = self._with_names(caption)

    def _with_names(self, caption: int) -> Pixels:
        picture = Image.new("RGB", self.size, GROUND)
        draw = ImageDraw.Draw(picture)
        letters = round(caption * 2 / 3)
        for name, (left, top) in zip(self.names, self.places, strict=True):
            text, size = fit_letters(name, self.panel.width, letters)
            place = (left + self.panel.width / 2, top - caption / 2)
            draw.text(place, text, fill=TEXT, font=font(size), anchor="mm")
        return np.array(picture)

    def __call__(self, frames: Sequence[Pixels]) -> Pixels:
        """Compose frames, uint8 (H, W, 3) of the panels' size."""
        composed = self._background.copy()
        for frame, (left, top) in zip(frames, self.places, strict=True):
            composed[top : top + self.panel.height, left : left + self.panel.width] = frame
        return composed


def _even(length: float) -> int:
    return 2 * math.ceil(length / 2)


_WIDEST, _STRIP_GAP, _LETTERS = 1920, 6, 13
_LARGEST = 320


def write_strip(
    path: Path, frames: Sequence[Pixels], captions: Sequence[str], columns: int | None = None
) -> None:
    """Write frames, uint8 (H, W, 3) of one size, as a PNG, in rows of `columns`; None is one row.

    Small frames are enlarged by a whole factor and large ones reduced, so that a row is at most
    1,920 pixels wide.
    """
    columns = columns or len(frames)
    rows = math.ceil(len(frames) / columns)
    height, width, _ = frames[0].shape
    room = min(_LARGEST, (_WIDEST - _STRIP_GAP) // columns - _STRIP_GAP)
    scale: float = room // width if room >= width else room / width
    size = max(1, round(width * scale)), max(1, round(height * scale))
    caption = _LETTERS + 8 if any(captions) else 0
    cell = size[0] + _STRIP_GAP, size[1] + caption + _STRIP_GAP
    strip = Image.new("RGB", (columns * cell[0] + _STRIP_GAP, rows * cell[1] + _STRIP_GAP), GROUND)
    pen = ImageDraw.Draw(strip)
    by = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    for number, (frame, text) in enumerate(zip(frames, captions, strict=True)):
        left = _STRIP_GAP + number % columns * cell[0]
        top = _STRIP_GAP + number // columns * cell[1]
        strip.paste(Image.fromarray(frame).resize(size, by), (left, top))
        if text:
            middle = (left + size[0] / 2, top + size[1] + caption / 2)
            words, letters = fit_letters(text, size[0], _LETTERS)
            pen.text(middle, words, fill=QUIET, font=font(letters), anchor="mm")
    with atomic_write(path) as temporary:
        strip.save(temporary, format="PNG")
