"""A variational autoencoder: the posterior of its latents is kept near a standard normal.

Kingma and Welling, Auto-Encoding Variational Bayes, 2014.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor

import zoo
from zoo import Batch, Loss, Losses, Optimizer, Step, TrainingFrames, hookimpl
from zoo_plugins.architectures.blocks.component_networks import (
    LAPTOP,
    STARTS_AT_PCA,
    ComponentDecoder,
    ComponentEncoder,
    ComponentOptions,
    some_warped,
    start_from_components,
)
from zoo_plugins.architectures.blocks.gaussian import Posterior, pixel_nats


class VariationalAutoencoder(zoo.Autoencoder):
    """A VAE with Gaussian pixels of one fixed standard deviation; it starts at PCA."""

    name: ClassVar[str] = "vae"
    summary: ClassVar[str] = "variational autoencoder that starts at PCA, Gaussian pixels"
    unequal_terms: ClassVar[tuple[str, ...]] = (
        STARTS_AT_PCA,
        "the loss contains the squared error that PSNR is computed from.",
    )
    tuned_on: ClassVar[tuple[str, ...]] = (
        "bikes",
        "bigbuckbunny",
        "carphone",
        "sintel",
        "tears",
        "popeye",
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"width": 16, "coarse": 1, "lr": 4e-3},
        "laptop": {**LAPTOP, "lr": 2e-3},
    }

    class Options(ComponentOptions):
        """Settings of the variational autoencoder."""

        lr: float = pydantic.Field(1e-3, gt=0, description="highest learning rate")
        pixel_sd: float = pydantic.Field(
            0.05, gt=0, description="standard deviation of a colour value; larger weighs KL more"
        )

    options: Options

    def __init__(self, size: zoo.FrameSize, options: Options) -> None:
        super().__init__(size, options)
        self.encoder = ComponentEncoder(size, options, outputs=2 * options.latent)
        self.decoder = ComponentDecoder(size, options)
        self.log_variance: Tensor
        self.register_buffer("log_variance", torch.zeros(options.latent))

    @torch.no_grad()
    def prepare(self, frames: TrainingFrames) -> None:
        """Start as probabilistic PCA (Tipping and Bishop, 1999), with the same posterior."""
        if self.options.start == "components":
            explained = start_from_components(self.encoder, self.decoder, frames)
            self.log_variance.copy_(-torch.log1p(explained / self.options.pixel_sd**2))

    def posterior(self, frames: Tensor) -> Posterior:
        """Frames (B, 3, H, W) to their posterior over latents."""
        return Posterior.of(self.encoder(frames), self.log_variance)

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) to the means of their posteriors (B, L)."""
        return self.posterior(frames).mean

    def decode(self, latent: Tensor) -> Tensor:
        """Latents (B, L) to frames (B, 3, H, W)."""
        return self.decoder(latent).clamp(0, 1)

    def sample_prior(self, count: int, generator: torch.Generator) -> Tensor:
        """Latents (count, L) from the standard normal."""
        shape = count, self.options.latent
        return torch.randn(shape, generator=generator, device=generator.device)

    def optimizer(self, player: str) -> Optimizer:
        """AdamW at the learning rate of the options."""
        return Optimizer(lr=self.options.lr)

    def evidence_terms(
        self, frames: Tensor, posterior: Posterior, decoded: Tensor
    ) -> dict[str, Tensor]:
        """The terms of the negative evidence lower bound, in nats per colour value."""
        return {
            "pixel": pixel_nats(decoded, frames, self.options.pixel_sd),
            "kl": posterior.kl(3 * self.size.pixels),
        }

    def losses(self, batch: Batch, step: Step) -> Losses:
        """The negative evidence lower bound."""
        frames = some_warped(batch.frames, self.options.warps, step)
        posterior = self.posterior(frames)
        decoded = self.decoder(posterior.sample(step))
        return {"autoencoder": Loss(self.evidence_terms(frames, posterior, decoded))}


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """The variational autoencoder."""
    return [VariationalAutoencoder]
