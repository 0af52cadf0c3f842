"""A variational autoencoder: latents with a posterior, held near a standard normal.

Kingma and Welling, Auto-Encoding Variational Bayes, 2014.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch.nn.functional as F
from torch import Tensor

import zoo
from zoo import Loss, Losses, Step, hookimpl
from zoo_plugins.gaussian import Posterior
from zoo_plugins.layers import Down, Up


class VariationalAutoencoder(zoo.Autoencoder):
    """Pixels are normal around the reconstruction with one fixed standard deviation."""

    name: ClassVar[str] = "vae"
    summary: ClassVar[str] = "variational autoencoder, Gaussian pixels"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"width": 16}}

    class Options(zoo.Options):
        """Settings of the variational autoencoder."""

        width: int = pydantic.Field(64, ge=4, description="channels of the first stage")
        pixel_sd: float = pydantic.Field(
            0.1, gt=0, description="standard deviation of a pixel; larger weighs KL more"
        )

    options: Options

    def __init__(self, size: zoo.FrameSize, options: Options) -> None:
        super().__init__(size, options)
        self.encoder = Down(size, options.width, 2 * options.latent)
        self.decoder = Up(size, options.width, options.latent)

    def posterior(self, frames: Tensor) -> Posterior:
        """Frames (B, 3, H, W) to their posterior over latents."""
        return Posterior.of(self.encoder(frames))

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) to the means of their posteriors (B, L)."""
        return self.posterior(frames).mean

    def decode(self, latent: Tensor) -> Tensor:
        """Latents (B, L) to frames (B, 3, H, W)."""
        return self.decoder(latent)  # type: ignore[no-any-return]

    def kl_weight(self) -> float:
        """What KL weighs against a mean squared error: the negative ELBO, rescaled."""
        return 2 * self.options.pixel_sd**2 / (3 * self.size.pixels)

    def losses(self, frames: Tensor, step: Step) -> Losses:
        """The negative evidence lower bound, divided by what makes its first term the MSE."""
        posterior = self.posterior(frames)
        drawn = self.decode(posterior.sample(step))
        return {
            "autoencoder": Loss(
                {
                    "pixel": F.mse_loss(drawn, frames),
                    "kl": self.kl_weight() * posterior.kl(),
                }
            )
        }


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """The variational autoencoder."""
    return [VariationalAutoencoder]
