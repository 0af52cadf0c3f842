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
from zoo_plugins.structural_similarity import (
    largest_window,
    multiscale,
    number_of_scales,
    similarities,
)

LOWEST = 1e-4
"""What a factor of MS-SSIM counts as at least: a fractional power has no slope at 0."""


def multiscale_similarity(drawn: Tensor, frames: Tensor) -> Tensor:
    """MS-SSIM of float (B, 3, H, W) in [0, 1], the mean over frames and colours: differentiable.

    1 for equal frames; a tensor of no dimensions. Needs sides of at least 5.
    """
    scales = number_of_scales(*frames.shape[-2:])
    window = largest_window(min(frames.shape[-2:]) >> (scales - 1))
    return multiscale(similarities(drawn, frames, [window] * scales), floor=LOWEST).mean()


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
