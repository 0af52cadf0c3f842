"""A variational autoencoder: latents with a posterior, held near a standard normal.

Kingma and Welling, Auto-Encoding Variational Bayes, 2014.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor

import zoo
from zoo import Batch, Loss, Losses, Optimizer, Step, hookimpl
from zoo_plugins.architectures.blocks.gaussian import Posterior, pixel_nats
from zoo_plugins.architectures.blocks.layers import Down, Up


class VariationalAutoencoder(zoo.Autoencoder):
    """Pixels are normal around the reconstruction with one fixed standard deviation."""

    name: ClassVar[str] = "vae"
    summary: ClassVar[str] = "variational autoencoder, Gaussian pixels"
    unequal_terms: ClassVar[tuple[str, ...]] = (
        "the loss contains the squared error that PSNR is computed from.",
    )
    tuned_on: ClassVar[tuple[str, ...]] = ("bikes", "bigbuckbunny", "carphone")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"width": 16, "lr": 4e-3}}

    class Options(zoo.Options):
        """Settings of the variational autoencoder."""

        width: int = pydantic.Field(64, ge=4, description="channels of the first stage")
        lr: float = pydantic.Field(1e-3, gt=0, description="highest learning rate")
        pixel_sd: float = pydantic.Field(
            0.05, gt=0, description="standard deviation of a colour value; larger weighs KL more"
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
        return self.decoder(latent)

    def sample_prior(self, count: int, generator: torch.Generator) -> Tensor:
        """Latents (count, L) from the standard normal."""
        shape = count, self.options.latent
        return torch.randn(shape, generator=generator, device=generator.device)

    def optimizer(self, player: str) -> Optimizer:
        """AdamW at the learning rate of the options."""
        return Optimizer(lr=self.options.lr)

    def evidence_terms(
        self, frames: Tensor, posterior: Posterior, drawn: Tensor
    ) -> dict[str, Tensor]:
        """The terms of the negative evidence lower bound, in nats a colour value."""
        return {
            "pixel": pixel_nats(drawn, frames, self.options.pixel_sd),
            "kl": posterior.kl(3 * self.size.pixels),
        }

    def losses(self, batch: Batch, step: Step) -> Losses:
        """The negative evidence lower bound."""
        frames = batch.frames
        posterior = self.posterior(frames)
        drawn = self.decode(posterior.sample(step))
        return {"autoencoder": Loss(self.evidence_terms(frames, posterior, drawn))}


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """The variational autoencoder."""
    return [VariationalAutoencoder]
