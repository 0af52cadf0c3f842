"""A plain autoencoder that minimises MS-SSIM and absolute error in place of the squared error.

Zhao, Gallo, Frosio and Kautz, Loss functions for image restoration with neural networks, 2017,
whose mix it is; MS-SSIM after Wang, Simoncelli and Bovik, 2003. Films are small, so the window is
as large as the coarsest scale allows, 11 at most, over as many scales as leave room for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor

import zoo
from zoo import Loss, Losses, Step, hookimpl
from zoo_plugins.ae import PIXEL_SD, PlainAutoencoder

WEIGHTS = 0.0448, 0.2856, 0.3001, 0.2363, 0.1333
"""Of the scales, finest first, as published; those that are used are divided by their sum."""
LARGEST_WINDOW, SMALLEST_WINDOW = 11, 5
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2


def multiscale_similarity(drawn: Tensor, frames: Tensor) -> Tensor:
    """MS-SSIM of float (B, 3, H, W) in [0, 1], the mean over frames and colours: differentiable.

    1 for equal frames; a tensor of no dimensions. Needs sides of at least 5.
    """
    shortest = min(frames.shape[-2:])
    scales = max(1, sum(shortest >> scale >= SMALLEST_WINDOW for scale in range(len(WEIGHTS))))
    window = min(LARGEST_WINDOW, ((shortest >> (scales - 1)) - 1) // 2 * 2 + 1)
    kernel = _gaussian(window, frames)
    weights = WEIGHTS[:scales]
    similarity = frames.new_ones(())
    for scale, weight in enumerate(weights):
        luminance, contrast = _similarity(drawn, frames, kernel)
        here = luminance * contrast if scale == scales - 1 else contrast
        # Where contrasts are opposed the mean may be negative, which no fractional power can take.
        similarity = similarity * here.clamp_min(1e-4) ** (weight / sum(weights))
        drawn, frames = F.avg_pool2d(drawn, 2), F.avg_pool2d(frames, 2)
    return similarity.mean()


def _gaussian(window: int, like: Tensor) -> Tensor:
    at = torch.arange(window, device=like.device, dtype=like.dtype) - window // 2
    weights = torch.exp(-0.5 * (at / SIGMA).square())
    return weights / weights.sum()


def _similarity(a: Tensor, b: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast with structure, as means over windows: both (B, 3)."""
    together = torch.cat([a, b, a * a, b * b, a * b], dim=1)
    channels = together.shape[1]
    row = kernel.expand(channels, 1, 1, -1)
    blurred = F.conv2d(together, row, groups=channels)
    blurred = F.conv2d(blurred, row.transpose(-1, -2), groups=channels)
    mean_a, mean_b, square_a, square_b, product = blurred.chunk(5, dim=1)
    variances = square_a + square_b - mean_a.square() - mean_b.square()
    covariance = product - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + C1) / (mean_a.square() + mean_b.square() + C1)
    contrast = (2 * covariance + C2) / (variances + C2)
    return luminance.mean(dim=(-1, -2)), contrast.mean(dim=(-1, -2))


class MsSsimAutoencoder(PlainAutoencoder):
    """The plain autoencoder under another loss."""

    name: ClassVar[str] = "msssim_ae"
    summary: ClassVar[str] = "plain autoencoder, MS-SSIM and absolute error"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"width": 16, "lr": 4e-3}}

    class Options(PlainAutoencoder.Options):
        """Settings of the MS-SSIM autoencoder."""

        structure: float = pydantic.Field(
            0.84, ge=0, le=1, description="share of MS-SSIM; the rest is absolute error"
        )

    options: Options

    def losses(self, frames: Tensor, step: Step) -> Losses:
        """The published mix, in about the units of the other models' pixel errors."""
        share = self.options.structure
        drawn = self.decode(self.encode(frames))
        with torch.autocast(frames.device.type, enabled=False):
            unlike = 1 - multiscale_similarity(drawn.float(), frames.float())
        return {
            "autoencoder": Loss(
                {
                    "structure": share * unlike / PIXEL_SD,
                    "absolute": (1 - share) * F.l1_loss(drawn, frames) / PIXEL_SD,
                }
            )
        }


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """The MS-SSIM autoencoder."""
    return [MsSsimAutoencoder]
