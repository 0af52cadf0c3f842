"""PSNR: how large the error is, in decibels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo import Metric, hookimpl

HIGHEST = 60.0
"""What an identical frame gets, whose PSNR has no finite value, and at most any frame."""


class Psnr(Metric):
    """Peak signal-to-noise ratio of a frame, 10 log10(255² / e) dB at most 60.

    `e` is the mean squared error over all samples of the frame, red, green and blue together,
    in 8-bit levels; the sum is of whole numbers and so exact, whatever the batch. The ceiling is
    that of libvmaf for 8 bits (6 dB a bit and 12): a perfect reconstruction counts as 60 dB, as
    does one in which fewer than one sample in fifteen is one level out, so that a black frame
    cannot carry the mean of a film.
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
        # No error gives infinity, which the ceiling brings down.
        return (10 * torch.log10(255**2 / mean)).clamp(max=HIGHEST)


@hookimpl
def zoo_metrics() -> Sequence[type[Metric]]:
    """Offer PSNR."""
    return [Psnr]
