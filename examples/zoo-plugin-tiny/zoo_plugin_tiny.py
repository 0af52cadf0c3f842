"""The model `tiny`: two convolutions down to the latent, two up again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
from torch import Tensor, nn

import zoo

# Optional: the contract that this was written for. A film-zoo with another one then says so at
# once; without the line the module loads there, and may fail oddly.
zoo_contract = 2


class Tiny(zoo.Autoencoder):
    """A small convolutional autoencoder; its loss is the squared error of the pixels."""

    name = "tiny"
    summary = "two convolutions down to the latent, two up again"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"width": 16}}

    class Options(zoo.Options):
        """Each field is an option of the command line: `--set width=64`."""

        width: int = pydantic.Field(32, ge=4, description="channels of the first convolution")

    def __init__(self, size: zoo.FrameSize, options: Options) -> None:
        super().__init__(size, options)
        width, deep = options.width, 2 * options.width
        # Two strides of two, each rounding up: any size will do.
        smallest = (deep, math.ceil(size.height / 4), math.ceil(size.width / 4))
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, kernel_size=3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, deep, kernel_size=3, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(math.prod(smallest), options.latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(options.latent, math.prod(smallest)),
            nn.Unflatten(1, smallest),
            nn.GroupNorm(1, deep),
            nn.SiLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(deep, width, kernel_size=3, padding=1),
            nn.SiLU(),
            nn.Upsample(size=(size.height, size.width)),
            nn.Conv2d(width, 3, kernel_size=3, padding=1),
            nn.Sigmoid(),
        )

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) in [0, 1] to latents (B, L)."""
        return self.encoder(frames)

    def decode(self, latent: Tensor) -> Tensor:
        """Latents (B, L) to frames (B, 3, H, W) in [0, 1]; it may see nothing else."""
        return self.decoder(latent)

    def losses(self, batch: zoo.Batch, step: zoo.Step) -> zoo.Losses:
        """One player and one term."""
        reconstruction = self.decode(self.encode(batch.frames))
        error = (reconstruction - batch.frames).square().mean()
        return {"autoencoder": zoo.Loss({"pixel": error})}

    def optimizer(self, player: str) -> zoo.Optimizer:
        """AdamW, faster than by default: the network is small."""
        return zoo.Optimizer(lr=4e-3)


@zoo.hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """Return the model."""
    return [Tiny]
