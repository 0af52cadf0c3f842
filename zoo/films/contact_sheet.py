"""Images of a whole film: a contact sheet, with one frame per shot, and a barcode."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from zoo.films.ingested_film import Film

_BACKGROUND, _LABEL, _HELD_OUT = (16, 16, 16), (190, 190, 190), (255, 176, 32)
_GAP = 6
MOST_IN_COLUMN = 64
"""The most frames averaged per barcode column: the mean of more would hardly differ."""


def contact_sheet(film: Film, most: int | None = None) -> Image.Image:
    """Draw the middle frame of every shot, RGB, under the shot's number and time code.

    Shots with held-out frames are marked. Of a film with more than `most` shots, only so many are
    drawn, evenly spaced, the first and the last among them.
    """
    count = min(len(film.shots), most or len(film.shots))
    shots = np.linspace(0, len(film.shots) - 1, count).round().astype(int).tolist()
    width = next(w for up_to, w in ((120, 240), (500, 160), (math.inf, 96)) if len(shots) <= up_to)
    height = max(1, round(width * film.size.height / film.size.width))
    columns = max(1, min(len(shots), 2000 // (width + _GAP)))
    rows = -(-len(shots) // columns)
    font = ImageFont.load_default(size=width / 20 + 3)
    label = round(width / 20 + 3) + 4
    sheet = Image.new(
        "RGB",
        (columns * (width + _GAP) + _GAP, rows * (height + label + _GAP) + _GAP),
        _BACKGROUND,
    )
    draw = ImageDraw.Draw(sheet)
    held = np.zeros(len(film), dtype=bool)
    held[film.split.held_out] = True
    for place, number in enumerate(shots):
        shot = film.shots[number]
        x = _GAP + place % columns * (width + _GAP)
        y = _GAP + place // columns * (height + label + _GAP)
        picture = Image.fromarray(np.asarray(film.store.array[(shot.start + shot.stop) // 2]))
        is_held = bool(held[shot.start : shot.stop].any())
        text = f"{number + 1}  {film.time_code(shot.start)}{'  held out' if is_held else ''}"
        draw.text((x, y), text, fill=_HELD_OUT if is_held else _LABEL, font=font)
        sheet.paste(picture.resize((width, height), Image.Resampling.LANCZOS), (x, y + label))
    return sheet


def barcode(
    film: Film, width: int = 1600, height: int = 160, in_column: int = MOST_IN_COLUMN
) -> Image.Image:
    """Draw the film as a strip, RGB: a column has the mean colour of each row over some frames.

    There are `width` columns, or one per frame if there are fewer frames; `height` is in pixels. A
    column is the mean of at most `in_column` frames.
    """
    columns = min(width, len(film))
    edges = np.linspace(0, len(film), columns + 1).round().astype(int)
    strip = np.empty((film.size.height, columns, 3), dtype=np.uint8)
    for column in range(columns):
        start, stop = edges[column], edges[column + 1]
        chosen = np.unique(np.linspace(start, stop - 1, in_column).round().astype(int))
        strip[:, column] = np.round(film.store.array[chosen].mean(axis=(0, 2)))
    return Image.fromarray(strip).resize((width, height), Image.Resampling.BILINEAR)
