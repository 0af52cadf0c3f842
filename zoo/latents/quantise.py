"""Latents as they would be stored: each number in 8 bits, then coded without loss."""

from __future__ import annotations

import lzma
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BITS = 8
LEVELS = 2**BITS - 1


@dataclass(frozen=True)
class Quantiser:
    """A uniform scale a latent dimension, over the range that the training film spans."""

    lowest: Tensor
    """(L,)"""
    step: Tensor
    """(L,); zero where the dimension never changes."""

    @classmethod
    def spanning(cls, latents: Tensor) -> Quantiser:
        """Fit to latents (N, L)."""
        if not latents.numel():
            empty = latents.new_zeros(latents.shape[1])
            return cls(empty, empty)
        lowest, highest = latents.aminmax(dim=0)
        return cls(lowest, (highest - lowest) / LEVELS)

    def levels(self, latents: Tensor) -> Tensor:
        """Latents (N, L) to whole numbers from 0 to 255, uint8 (N, L); what lies outside is cut."""
        scale = torch.where(self.step > 0, self.step, torch.ones_like(self.step))
        return ((latents - self.lowest) / scale).round().clamp(0, LEVELS).byte()

    def latents(self, levels: Tensor) -> Tensor:
        """Whole numbers, uint8 (N, L), back to latents, float32 (N, L)."""
        return levels.float() * self.step + self.lowest


def coded_bytes(levels: Tensor) -> int:
    """Bytes of quantised latents, uint8 (N, L) in the film's order, after LZMA.

    Each dimension is laid out through time, as values or as differences from the frame before,
    whichever codes shorter.
    """
    through_time = np.ascontiguousarray(levels.cpu().numpy().T)
    if not through_time.size:
        return 0
    first = np.zeros((through_time.shape[0], 1), dtype=np.uint8)
    differences = np.diff(through_time, axis=1, prepend=first)
    return min(len(lzma.compress(rows.tobytes())) for rows in (through_time, differences))
