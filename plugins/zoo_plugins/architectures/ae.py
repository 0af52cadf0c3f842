"""A plain convolutional autoencoder: the baseline every other architecture has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
from torch import Tensor, nn

import zoo
from zoo import Batch, Loss, Losses, Optimizer, Step, hookimpl
from zoo_plugins.architectures.blocks.gaussian import pixel_nats
from zoo_plugins.architectures.blocks.layers import Down, Up

PIXEL_SD = 0.05
"""What a squared error is measured against. It moves no minimum, but gradients are clipped at a
norm of 1, and a model whose losses are in other units would be trained differently."""


class PlainAutoencoder(zoo.Autoencoder):
    """Squared error on pixels and nothing else."""

    name: ClassVar[str] = "ae"
    summary: ClassVar[str] = "plain autoencoder, squared error on pixels"
    unequal_terms: ClassVar[tuple[str, ...]] = (
        "the loss is the squared error that PSNR is computed from.",
    )
    tuned_on: ClassVar[tuple[str, ...]] = ("bikes", "bigbuckbunny", "carphone")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"width": 16, "lr": 4e-3}}

    class Options(zoo.Options):
        """Settings of the plain autoencoder."""

        width: int = pydantic.Field(64, ge=4, description="channels of the first stage")
        lr: float = pydantic.Field(1e-3, gt=0, description="highest learning rate")

    options: Options

    def __init__(self, size: zoo.FrameSize, options: Options) -> None:
        super().__init__(size, options)
        self.encoder, self.decoder = self.networks()

    def networks(self) -> tuple[nn.Module, nn.Module]:
        """What encodes frames to latents, and what decodes latents to frames."""
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
        drawn = self.decode(self.encode(frames))
        return {"autoencoder": Loss({"pixel": pixel_nats(drawn, frames, PIXEL_SD)})}


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """The plain autoencoder."""
    return [PlainAutoencoder]
