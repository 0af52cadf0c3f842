"""PDQ, a perceptual hash of 256 bits, on the device, a batch of frames at a time.

The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm, Facebook, 2019:
luminance, a box filter run twice, a picture of 64x64, its lowest 16x16 frequencies without the
constant ones, and for each of them whether it lies above the median of all.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from zoo.matching.hashes import Hashes

_SIDE = 64
"""Of the small picture that is transformed."""
_FREQUENCIES = 16
_PASSES = 2
"""Of the box filter: two make a tent."""
_RED, _GREEN, _BLUE = 299, 587, 114
"""Thousandths of luminance: whole numbers, so that sums over 8 bits are exact on any device."""


@torch.inference_mode()
def pdq(frames: Tensor) -> Hashes:
    """Hash frames (B, 3, H, W), uint8 or float in [0, 1], which is taken to 8 bits first.

    RGB, full range; sides of at least 5 pixels. The small picture is made by two products of
    matrices, so the cost is that of reading the frames.
    """
    levels = frames if frames.dtype == torch.uint8 else (frames.float() * 255).round()
    red, green, blue = (levels[:, channel].float() for channel in range(3))
    luma = (_RED * red + _GREEN * green + _BLUE * blue) / 1000
    height, width = luma.shape[-2:]
    small = _shrinking(height, luma.device) @ luma @ _shrinking(width, luma.device).T
    return Hashes(_bits(_coefficients(small)), _quality(small))


def _coefficients(small: Tensor) -> Tensor:
    """The lowest frequencies (B, 16, 16) of pictures (B, 64, 64), vertical ones first."""
    transform = _cosines(small.device)
    return transform @ small @ transform.T


def _bits(values: Tensor) -> Tensor:
    """Which of 256 coefficients lie above their lower median: bool (B, 256).

    In the order in which the published text form writes them, the highest frequency first.
    """
    flat = values.flatten(1)
    return (flat > flat.median(dim=1, keepdim=True).values).flip(1)


def _quality(small: Tensor) -> Tensor:
    """How much there is to see, from 0 to 100: uint8 (B,).

    Steps between neighbours in percent of full range, each cut to a whole number, in sum.
    """
    down = (small[:, :-1] - small[:, 1:]) * 100 / 255
    across = (small[:, :, :-1] - small[:, :, 1:]) * 100 / 255
    total = sum(steps.trunc().abs().flatten(1).sum(dim=1) for steps in (down, across))
    return torch.as_tensor(total).div(90, rounding_mode="floor").clamp(max=100).to(torch.uint8)


@functools.lru_cache(maxsize=32)
def _shrinking(length: int, device: torch.device) -> Tensor:
    """What filters and decimates a line of `length` pixels: float32 (64, length)."""
    window = math.ceil(length / (2 * _SIDE))
    ahead = (window + 2) // 2
    place = torch.arange(length)
    offset = place[None, :] - place[:, None]
    # Shorter at either end, where the mean is over the pixels that are there.
    box = ((offset < ahead) & (offset >= ahead - window)).double()
    box /= box.sum(dim=1, keepdim=True)
    kept = ((torch.arange(_SIDE) + 0.5) * length / _SIDE).long()
    return torch.linalg.matrix_power(box, _PASSES)[kept].float().to(device)


@functools.lru_cache(maxsize=8)
def _cosines(device: torch.device) -> Tensor:
    """The discrete cosine transform from 64 values to frequencies 1 to 16: float32 (16, 64)."""
    frequency = torch.arange(1, _FREQUENCIES + 1).double()[:, None]
    middle = 2 * torch.arange(_SIDE).double()[None, :] + 1
    angles = math.pi / (2 * _SIDE) * frequency * middle
    return (math.sqrt(2 / _SIDE) * angles.cos()).float().to(device)
