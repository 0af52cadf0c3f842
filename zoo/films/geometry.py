"""Where a picture lies in the coded frame and where it goes: pure arithmetic, no decoding."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize

Fit = Literal["crop", "pad"]


@dataclass(frozen=True)
class Rect:
    """A rectangle in pixels of the coded frame."""

    left: int
    top: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}+{self.left}+{self.top}"


def parse_crop(text: str) -> Rect | None:
    """Read `WIDTHxHEIGHT+LEFT+TOP`; None for `auto` and `none`. Raises BadInput on the rest."""
    if text in ("auto", "none"):
        return None
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})\+(\d{1,5})\+(\d{1,5})", text)
    if not match or int(match[1]) < 2 or int(match[2]) < 2:
        raise BadInput(
            f"a crop is auto, none or WIDTHxHEIGHT+LEFT+TOP such as 1280x544+0+88; "
            f"not {text[:40]!r}"
        )
    return Rect(left=int(match[3]), top=int(match[4]), width=int(match[1]), height=int(match[2]))


def parse_fit(text: str) -> Fit:
    """Read `crop` or `pad`; raises BadInput on anything else."""
    if text == "crop":
        return "crop"
    if text == "pad":
        return "pad"
    raise BadInput(f"a frame is fitted by crop or by pad; not {text!r}")


@dataclass(frozen=True)
class Placement:
    """How a coded frame becomes one of the wanted size: crop, scale, turn, then pad.

    `scaled` is the size after scaling, before turning; `pad_left` and `pad_top` are where the
    turned picture lies in the wanted size.
    """

    crop: Rect
    scaled: tuple[int, int]
    pad_left: int
    pad_top: int


def place(
    picture: Rect, pixel_aspect: Fraction, rotation: int, size: FrameSize, fit: Fit
) -> Placement:
    """Fit the picture into `size`, keeping its shape: cropped evenly or padded with black.

    `pixel_aspect` is the width of a coded pixel over its height, `rotation` the multiple of 90
    degrees by which the picture is turned after scaling.
    """
    width, height = (size.height, size.width) if rotation % 180 else size
    shape = picture.width * pixel_aspect / picture.height
    wanted = Fraction(width, height)
    if fit == "pad":
        inside = (
            (width, _even(width / shape, height))
            if shape > wanted
            else (_even(height * shape, width), height)
        )
        left, top = (width - inside[0]) // 2, (height - inside[1]) // 2
        pads = (top, left) if rotation % 180 else (left, top)
        return Placement(picture, inside, *pads)
    crop_width, crop_height = picture.width, picture.height
    if shape > wanted:
        crop_width = _even(picture.height * wanted / pixel_aspect, picture.width)
    else:
        crop_height = _even(picture.width * pixel_aspect / wanted, picture.height)
    # Even offsets: half a chroma sample cannot be cut off.
    crop = Rect(
        picture.left + (picture.width - crop_width) // 4 * 2,
        picture.top + (picture.height - crop_height) // 4 * 2,
        crop_width,
        crop_height,
    )
    return Placement(crop, (width, height), 0, 0)


def _even(length: Fraction, most: int) -> int:
    return max(2, min(round(length / 2) * 2, most))
