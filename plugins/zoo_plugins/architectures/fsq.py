"""Finite scalar quantisation: an autoencoder whose latent consists of whole bytes.

Mentzer et al., Finite scalar quantization: VQ-VAE made simple, 2024. Each byte holds one of 240
codes, made of three numbers with 8, 6 and 5 levels, as the paper recommends for eight bits. So a
latent of L numbers takes the same bits as other latents here, and storing it loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

import zoo
from zoo import Batch, LatentSpec, Loss, Losses, Step, hookimpl
from zoo.base.extras import missing_extra
from zoo_plugins.architectures.ae import PIXEL_SD, SquaredErrorAutoencoder
from zoo_plugins.architectures.blocks.gaussian import pixel_nats
from zoo_plugins.architectures.blocks.layers import Down, Up

LEVELS = 8, 6, 5


class QuantisedAutoencoder(SquaredErrorAutoencoder):
    """A convolutional autoencoder with quantised codes; gradients pass straight through."""

    name: ClassVar[str] = "fsq"
    summary: ClassVar[str] = "autoencoder with a quantised latent, one code a byte"
    extras: ClassVar[Mapping[str, str]] = {"vector_quantize_pytorch": "fsq"}

    def networks(self) -> tuple[nn.Module, nn.Module]:
        """The convolutional encoder and decoder, with the three numbers of every code."""
        # Imported here, because it takes longer to load than the rest of film-zoo.
        try:
            from vector_quantize_pytorch import FSQ
        except ImportError:
            raise zoo.BadInput(missing_extra("fsq", "fsq")) from None

        width, codes = self.options.width, self.options.latent
        inside = len(LEVELS) * codes
        self.quantiser = FSQ(list(LEVELS), dim=inside, num_codebooks=codes)
        return Down(self.size, width, inside), Up(self.size, width, inside)

    def latent_spec(self) -> LatentSpec:
        """L codes, one per byte."""
        return LatentSpec((self.options.latent,), codes=math.prod(LEVELS))

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) to code indices (B, L), whole numbers from 0 to 239."""
        _, codes = self._quantised(frames)
        return codes.flatten(1).float()

    def decode(self, latent: Tensor) -> Tensor:
        """Code indices (B, L), rounded to whole numbers here, to frames (B, 3, H, W)."""
        return self.decoder(self.to_coordinates(latent))

    def to_coordinates(self, numbers: Tensor) -> Tensor:
        """Code indices (N, L), rounded to whole numbers here, to the codes (N, 3 L)."""
        codes = numbers.round().long().unsqueeze(1)
        # With a single codebook, the quantiser expects indices without a codebook dimension.
        return self.quantiser.indices_to_codes(
            codes if numbers.shape[1] > 1 else codes[..., 0]
        ).flatten(1)

    def from_coordinates(self, coordinates: Tensor) -> Tensor:
        """Coordinates (N, 3 L) to the indices (N, L) of the nearest codes."""
        levels, places = self.quantiser._levels, self.quantiser._basis
        # Levels are equally spaced, and the middle one (or the next above it) is at zero.
        digits = (coordinates.unflatten(1, (-1, len(LEVELS))) + 1) * (levels // 2)
        digits = torch.minimum(digits.round().clamp_min(0), levels - 1)
        return (digits * places).sum(dim=2)

    def _quantised(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        quantised, codes = self.quantiser(self.encoder(frames).unsqueeze(1))
        return quantised.flatten(1), codes

    def losses(self, batch: Batch, step: Step) -> Losses:
        """Squared error of colour values, in the same units as other models."""
        frames = batch.frames
        quantised, _ = self._quantised(frames)
        return {
            "autoencoder": Loss({"pixel": pixel_nats(self.decoder(quantised), frames, PIXEL_SD)})
        }


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """The quantised autoencoder."""
    return [QuantisedAutoencoder]
