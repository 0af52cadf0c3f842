"""The size of a frame, written `256x144` wherever a person reads or types it."""

from __future__ import annotations

import re
from typing import NamedTuple

from zoo.base.errors import BadInput

SMALLEST = 32
LARGEST = 8192


class FrameSize(NamedTuple):
    """Width and height in pixels, both even and at least 32.

    Even, because video codecs subsample colour by two. At least 32, because the networks behind
    metrics (AlexNet in LPIPS) have no output below that size.
    """

    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> FrameSize:
        """Read `WIDTHxHEIGHT`. Raises BadInput on anything else and on sizes out of range."""
        match = re.fullmatch(r"(\d{1,9})[x×](\d{1,9})", text.strip())
        if not match:
            raise BadInput(f"a frame size must be WIDTHxHEIGHT, such as 256x144; not {text!r}")
        size = cls(int(match[1]), int(match[2]))
        if any(side % 2 or not SMALLEST <= side <= LARGEST for side in size):
            raise BadInput(
                f"frame width and height must be even, from {SMALLEST} to {LARGEST}; not {size}"
            )
        return size

    @property
    def pixels(self) -> int:
        """Pixels in one frame."""
        return self.width * self.height

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"
