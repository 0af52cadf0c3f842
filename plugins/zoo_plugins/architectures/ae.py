"""A plain autoencoder: PCA with a convolutional correction, the baseline of all models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
from torch import Tensor, nn

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
from zoo_plugins.architectures.blocks.gaussian import pixel_nats
from zoo_plugins.architectures.blocks.layers import Down, Up

PIXEL_SD = 0.05
"""Scale of pixel errors in the loss. It does not change the minimum, but gradients are clipped at a
norm of 1, so a model with losses in other units would be trained differently."""


class SquaredErrorAutoencoder(zoo.Autoencoder):
    """Base of convolutional autoencoders that minimise the squared error of pixels."""

    unequal_terms: ClassVar[tuple[str, ...]] = (
        "the loss is the squared error that PSNR is computed from.",
    )
    tuned_on: ClassVar[tuple[str, ...]] = ("bikes", "bigbuckbunny", "carphone")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"width": 16, "lr": 4e-3},
        "laptop": {"width": 16, "lr": 2e-3},
    }

    class Options(zoo.Options):
        """Settings of an autoencoder that minimises the squared error."""

        width: int = pydantic.Field(64, ge=4, description="channels of the first stage")
        lr: float = pydantic.Field(1e-3, gt=0, description="highest learning rate")

    options: Options

    def __init__(self, size: zoo.FrameSize, options: Options) -> None:
        super().__init__(size, options)
        self.encoder, self.decoder = self.networks()

    def networks(self) -> tuple[nn.Module, nn.Module]:
        """The convolutional encoder and decoder, with four stages each."""
        width, latent = self.options.width, self.options.latent
        return Down(self.size, width, latent), Up(self.size, width, latent)

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) to latents (B, L)."""
        return self.encoder(frames)

    def decode(self, latent: Tensor) -> Tensor:
        """Latents (B, L) to frames (B, 3, H, W)."""
        return self.decoder(latent)

    def optimizer(self, player: str) -> Optimizer:
        """AdamW at the learning rate of the options."""
        return Optimizer(lr=self.options.lr)

    def losses(self, batch: Batch, step: Step) -> Losses:
        """Squared error on colour values, in the units that the other models use too."""
        frames = batch.frames
        decoded = self.decode(self.encode(frames))
        return {"autoencoder": Loss({"pixel": pixel_nats(decoded, frames, PIXEL_SD)})}


class PlainAutoencoder(SquaredErrorAutoencoder):
    """The plain autoencoder: PCA with a convolutional correction, trained on squared error."""

    name: ClassVar[str] = "ae"
    summary: ClassVar[str] = "plain autoencoder that starts at PCA, squared error on pixels"
    unequal_terms: ClassVar[tuple[str, ...]] = (
        STARTS_AT_PCA,
        *SquaredErrorAutoencoder.unequal_terms,
    )
    tuned_on: ClassVar[tuple[str, ...]] = (
        *SquaredErrorAutoencoder.tuned_on,
        "sintel",
        "tears",
        "popeye",
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"width": 16, "coarse": 1, "lr": 4e-3},
        "laptop": {**LAPTOP, "lr": 2e-3},
    }

    class Options(ComponentOptions, SquaredErrorAutoencoder.Options):
        """Settings of the plain autoencoder."""

        noise: float = pydantic.Field(
            0.02, ge=0, description="noise on latents in training, over their standard deviation"
        )

    options: Options

    def networks(self) -> tuple[nn.Module, nn.Module]:
        """The encoder and the decoder, which start at PCA."""
        return (
            ComponentEncoder(self.size, self.options, self.options.latent),
            ComponentDecoder(self.size, self.options),
        )

    def prepare(self, frames: TrainingFrames) -> None:
        """Start at the principal components of the training frames."""
        assert isinstance(self.encoder, ComponentEncoder)
        assert isinstance(self.decoder, ComponentDecoder)
        if self.options.start == "components":
            start_from_components(self.encoder, self.decoder, frames)

    def decode(self, latent: Tensor) -> Tensor:
        """Latents (B, L) to frames (B, 3, H, W)."""
        return self.decoder(latent).clamp(0, 1)

    def losses(self, batch: Batch, step: Step) -> Losses:
        """Squared error on colour values, in the units that the other models use too."""
        frames = some_warped(batch.frames, self.options.warps, step)
        latent = self.encode(frames)
        noise = self.options.noise * step.randn_like(latent)
        pixel = pixel_nats(self.decoder(latent + noise), frames, PIXEL_SD)
        return {"autoencoder": Loss({"pixel": pixel})}


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """The plain autoencoder."""
    return [PlainAutoencoder]
