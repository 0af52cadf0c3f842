"""Pictures side by side, each under its name."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from zoo.base.frame_size import FrameSize
from zoo.report.look import GROUND, TEXT, fit_text, font
from zoo.video.convert import Pixels

_GAP = 4
# Of a panel's height; letters fill two thirds of it.
_CAPTION_SHARE, _SMALLEST_CAPTION, _LARGEST_CAPTION = 0.1, 14, 64


class Grid:
    """Panels of one size with a name above each, in rows as long as there are rows, or one longer.

    Two stand beside one another, three or four in a square. Names that do not fit are shortened.
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
        """Of the whole picture."""
        self.places = [
            (number % columns * width, number // columns * height + caption)
            for number in range(len(names))
        ]
        """Left and top of each panel, in pixels."""
        self._ground = self._drawn(caption)

    def _drawn(self, caption: int) -> Pixels:
        picture = Image.new("RGB", self.size, GROUND)
        draw = ImageDraw.Draw(picture)
        letters = round(caption * 2 / 3)
        for name, (left, top) in zip(self.names, self.places, strict=True):
            text = fit_text(name, self.panel.width, letters)
            place = (left + self.panel.width / 2, top - caption / 2)
            draw.text(place, text, fill=TEXT, font=font(letters), anchor="mm")
        return np.array(picture)

    def __call__(self, pictures: Sequence[Pixels]) -> Pixels:
        """Put pictures, uint8 (H, W, 3) of the panels' size, into their places."""
        composed = self._ground.copy()
        for picture, (left, top) in zip(pictures, self.places, strict=True):
            composed[top : top + self.panel.height, left : left + self.panel.width] = picture
        return composed


def _even(length: float) -> int:
    return 2 * math.ceil(length / 2)
