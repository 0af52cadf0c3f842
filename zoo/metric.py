"""The contract for a metric: frames and reconstructions in, one value a frame out."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor


class Unavailable(Exception):
    """A metric cannot be measured here; its column reads `n/a` with this reason."""


class Metric:
    """Base of every metric.

    Frames reach a metric as they would be shown: clamped and rounded to 8 bits, as floats that
    are whole multiples of 1/255. A constructor that lacks something it needs (weights, say)
    raises `Unavailable` with the reason, and never puts a stand-in in its place.
    """

    name: ClassVar[str]
    """Key in records: `psnr`."""
    label: ClassVar[str]
    """Heading in tables, naming the network where there is one: `LPIPS (AlexNet)`."""
    unit: ClassVar[str] = ""
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    digits: ClassVar[int] = 3
    """Digits after the point worth printing."""
    source: ClassVar[str]
    """Where the formula or the weights come from."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __call__(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        """Compare frame by frame: two float (B, 3, H, W) in [0, 1] give float (B,)."""
        raise TypeError(f"{type(self).__name__} defines no __call__")
