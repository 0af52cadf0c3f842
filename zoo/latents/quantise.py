"""Latents as they would be stored: each number in a few bits, on a scale of its own dimension."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BITS = 8
"""What every score is measured at, unless it says otherwise."""


def are_codes(numbers: Tensor) -> bool:
    """Whether latents are whole numbers that a byte holds: names, and no quantities."""
    within = (numbers >= 0) & (numbers < 2**BITS)
    return bool(((numbers == numbers.round()) & within).all())


@dataclass(frozen=True)
class Quantiser:
    """A uniform scale a latent dimension, over the range that the training film spans."""

    lowest: Tensor
    """(L,)"""
    step: Tensor
    """(L,); zero where the dimension never changes."""
    bits: int = BITS

    @classmethod
    def spanning(cls, numbers: Tensor, bits: int = BITS) -> Quantiser:
        """Fit to latents (N, L): 2 to the `bits` levels, from the lowest to the highest number.

        Codes have their own levels at 8 bits, from 0 to 255: cut to the range of one film, a code
        of another would become a code that has nothing to do with it.
        """
        if not 1 <= bits <= 8:
            raise ValueError(f"latents have from 1 to 8 bits a number; not {bits}")
        if not numbers.numel():
            empty = numbers.new_zeros(numbers.shape[1])
            return cls(empty, empty, bits)
        if bits == BITS and are_codes(numbers):
            nothing = numbers.new_zeros(numbers.shape[1])
            return cls(nothing, nothing + 1, bits)
        lowest, highest = numbers.aminmax(dim=0)
        return cls(lowest, (highest - lowest) / (2**bits - 1), bits)

    def levels(self, numbers: Tensor) -> Tensor:
        """Latents (N, L) to whole numbers from 0, uint8 (N, L); what lies outside is cut."""
        scale = torch.where(self.step > 0, self.step, torch.ones_like(self.step))
        return ((numbers - self.lowest) / scale).round().clamp(0, 2**self.bits - 1).byte()

    def numbers(self, levels: Tensor) -> Tensor:
        """Whole numbers, uint8 (N, L), back to latents, float32 (N, L)."""
        return levels.float() * self.step + self.lowest
