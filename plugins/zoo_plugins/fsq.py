"""An autoencoder whose latent is made of whole bytes: finite scalar quantisation.

Mentzer et al., Finite scalar quantization: VQ-VAE made simple, 2024. A byte holds one of 240 codes
of three numbers with 8, 6 and 5 levels, the paper's own choice for eight bits, so that a latent of
L numbers has the same bits as any other here, and nothing is lost when it is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
from torch import Tensor

import zoo
from zoo import Loss, Losses, Optimizer, Step, hookimpl
from zoo_plugins.ae import PIXEL_SD
from zoo_plugins.gaussian import pixel_nats
from zoo_plugins.layers import Down, Up

LEVELS = 8, 6, 5


class QuantisedAutoencoder(zoo.Autoencoder):
    """Squared error on pixels, and a bottleneck of codes that gradients pass straight through."""

    name: ClassVar[str] = "fsq"
    summary: ClassVar[str] = "autoencoder with a quantised latent, one code a byte"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"width": 16, "lr": 4e-3}}

    class Options(zoo.Options):
        """Settings of the quantised autoencoder."""

        width: int = pydantic.Field(64, ge=4, description="channels of the first stage")
        lr: float = pydantic.Field(1e-3, gt=0, description="highest learning rate")

    options: Options

    def __init__(self, size: zoo.FrameSize, options: Options) -> None:
        # Imported where it is used: it takes longer to load than all of the zoo.
        from vector_quantize_pytorch import FSQ

        super().__init__(size, options)
        inside = len(LEVELS) * options.latent
        self.encoder = Down(size, options.width, inside)
        self.decoder = Up(size, options.width, inside)
        self.quantiser = FSQ(list(LEVELS), dim=inside, num_codebooks=options.latent)

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) to the numbers of their codes: (B, L), whole, from 0 to 239."""
        _, codes = self._quantised(frames)
        return codes.flatten(1).float()

    def decode(self, latent: Tensor) -> Tensor:
        """Numbers of codes (B, L), within a half of whole, to frames (B, 3, H, W)."""
        codes = latent.round().long().unsqueeze(1)
        # One code book has no dimension of its own in what the quantiser expects.
        inside = self.quantiser.indices_to_codes(codes if latent.shape[1] > 1 else codes[..., 0])
        return self.decoder(inside.flatten(1))

    def _quantised(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        quantised, codes = self.quantiser(self.encoder(frames).unsqueeze(1))
        return quantised.flatten(1), codes

    def optimizer(self, player: str) -> Optimizer:
        """AdamW at the learning rate of the options."""
        return Optimizer(lr=self.options.lr)

    def losses(self, frames: Tensor, step: Step) -> Losses:
        """Squared error on colour values, in the units that the other models use too."""
        quantised, _ = self._quantised(frames)
        return {
            "autoencoder": Loss({"pixel": pixel_nats(self.decoder(quantised), frames, PIXEL_SD)})
        }


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """The quantised autoencoder."""
    return [QuantisedAutoencoder]
