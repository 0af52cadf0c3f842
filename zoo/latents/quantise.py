"""Latents as they would be stored: real numbers in a few bits, codes as they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.api.latent_spec import BITS as BITS
from zoo.api.latent_spec import MOST_CODES, LatentSpec, code_bits
from zoo.latents.packing import width_of


@dataclass(frozen=True)
class Quantiser:
    """A uniform scale a latent dimension, over the range that the training film spans."""

    lowest: Tensor
    """(L,)"""
    step: Tensor
    """(L,); zero where the dimension never changes."""
    bits: int = BITS
    codes: int | None = None
    """How many codes there are, where a model declares that its numbers are codes."""

    @classmethod
    def of(cls, spec: LatentSpec, numbers: Tensor) -> Quantiser:
        """What scores are measured at: 8 bits over the range of latents (N, L), or exact codes."""
        if spec.codes is None:
            return cls.spanning(numbers)
        return cls.of_codes(spec.codes, numbers.shape[1], numbers.device)

    @classmethod
    def of_codes(cls, codes: int, numbers: int, device: torch.device | None = None) -> Quantiser:
        """For latents of so many numbers that are codes, from 0 to `codes` - 1: kept exactly."""
        if not 1 <= codes <= MOST_CODES:
            raise ValueError(f"a latent has from 1 to {MOST_CODES:,} codes; not {codes}")
        nothing = torch.zeros(numbers, device=device)
        return cls(nothing, nothing + 1, code_bits(codes), codes)

    @property
    def width(self) -> int:
        """Bytes of a level, where it is kept: 1, 2 or 4."""
        return width_of(self.bits)

    @property
    def bytes(self) -> float:
        """What a latent takes after quantisation and before lossless coding."""
        return self.lowest.numel() * self.bits / 8

    @classmethod
    def spanning(cls, numbers: Tensor, bits: int = BITS) -> Quantiser:
        """Fit to real latents (N, L): 2 to the `bits` levels, from the lowest to the highest."""
        if not 1 <= bits <= 8:
            raise ValueError(f"latents have from 1 to 8 bits a number; not {bits}")
        if not numbers.numel():
            empty = numbers.new_zeros(numbers.shape[1])
            return cls(empty, empty, bits)
        lowest, highest = numbers.aminmax(dim=0)
        return cls(lowest, (highest - lowest) / (2**bits - 1), bits)

    def levels(self, numbers: Tensor) -> Tensor:
        """Latents (N, L) to whole numbers from 0 (N, L); what lies outside is cut.

        uint8, or int32 where levels have more than 8 bits: torch can do little with uint16.
        """
        scale = torch.where(self.step > 0, self.step, torch.ones_like(self.step))
        highest = 2**self.bits - 1 if self.codes is None else self.codes - 1
        levels = ((numbers - self.lowest) / scale).round().clamp(0, highest)
        return levels.byte() if self.width == 1 else levels.int()

    def numbers(self, levels: Tensor) -> Tensor:
        """Whole numbers (N, L) back to latents, float32 (N, L)."""
        return levels.float() * self.step + self.lowest
