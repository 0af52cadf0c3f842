"""PSNR: how large the error is, in decibels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo import Metric, hookimpl

HIGHEST = 60.0
"""Maximum PSNR in dB, which identical frames get instead of infinity."""


class Psnr(Metric):
    """Peak signal-to-noise ratio of a frame, 10 log10(255² / e) dB, at most 60 dB.

    `e` is the mean squared error over all red, green and blue samples of the frame, in 8-bit
    levels; it is summed in integers, so the result is exact for every batch size. The maximum is
    libvmaf's for 8 bits (6 dB per bit plus 12). A perfect reconstruction gets 60 dB, as does one
    in which fewer than one sample in fifteen is off by one level. So a few black frames cannot
    dominate the mean of a film.
    """

    name = "psnr"
    label = "PSNR"
    unit = "dB"
    better = "higher"
    digits = 2
    source = (
        "10 log10(255² / mean squared error) on 8-bit RGB, frame by frame; at most 60 dB, the "
        "ceiling of libvmaf (Netflix) for 8 bits"
    )

    def __call__(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        """Compare two float (B, 3, H, W) in [0, 1], multiples of 1/255; float32 (B,) in dB."""
        error = (originals.float() - reconstructions.float()).mul_(255).round_()
        total = error.mul_(error).sum(dim=(1, 2, 3), dtype=torch.int64)
        mean = total.float() / originals[0].numel()
        # Without any error the PSNR is infinite, and is clamped to the maximum.
        return (10 * torch.log10(255**2 / mean)).clamp(max=HIGHEST)


@hookimpl
def zoo_metrics() -> Sequence[type[Metric]]:
    """Offer PSNR."""
    return [Psnr]
