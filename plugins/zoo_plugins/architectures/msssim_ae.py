"""The plain autoencoder, trained on MS-SSIM and absolute error instead of squared error.

The mix of both is that of Zhao, Gallo, Frosio and Kautz, Loss functions for image restoration with
neural networks, 2017. MS-SSIM is from Wang, Simoncelli and Bovik, 2003.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
import torch.nn.functional as F

import zoo
from zoo import Batch, Loss, Losses, Step, hookimpl
from zoo_plugins.architectures.ae import PIXEL_SD, PlainAutoencoder
from zoo_plugins.architectures.blocks.component_networks import LAPTOP, STARTS_AT_PCA, some_warped
from zoo_plugins.metrics.ssim import multiscale_similarity


class MsSsimAutoencoder(PlainAutoencoder):
    """The plain autoencoder, trained on MS-SSIM and absolute error."""

    name: ClassVar[str] = "msssim_ae"
    summary: ClassVar[str] = "plain autoencoder, MS-SSIM and absolute error"
    unequal_terms: ClassVar[tuple[str, ...]] = (
        STARTS_AT_PCA,
        "the loss contains MS-SSIM, which is also a metric.",
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"width": 16, "coarse": 1, "lr": 4e-3},
        "laptop": {**LAPTOP, "lr": 2e-3},
    }

    class Options(PlainAutoencoder.Options):
        """Settings of the MS-SSIM autoencoder."""

        structure: float = pydantic.Field(
            0.84, ge=0, le=1, description="share of MS-SSIM; the rest is absolute error"
        )

    options: Options

    def losses(self, batch: Batch, step: Step) -> Losses:
        """The published mix, scaled to about the units of other models' pixel errors."""
        frames = some_warped(batch.frames, self.options.warps, step)
        share = self.options.structure
        latent = self.encode(frames)
        decoded = self.decoder(latent + self.options.noise * step.randn_like(latent))
        with torch.autocast(frames.device.type, enabled=False):
            unlike = 1 - multiscale_similarity(decoded.float(), frames.float()).mean()
        return {
            "autoencoder": Loss(
                {
                    "structure": share * unlike / PIXEL_SD,
                    "absolute": (1 - share) * F.l1_loss(decoded, frames) / PIXEL_SD,
                }
            )
        }


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """The MS-SSIM autoencoder."""
    return [MsSsimAutoencoder]
