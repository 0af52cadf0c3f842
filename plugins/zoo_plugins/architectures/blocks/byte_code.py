"""Many coordinates in few bytes: each at one of its own levels, several as the digits of a number.

Eight bits are more than most coordinates of a frame are worth. So a number from 0 to 255 is read as
digits, each with a base of its own, and every digit names a level of one coordinate.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo_plugins.architectures.blocks.levels import COUNTS, LEVELS_OF_A_BYTE, deal, middles, placed

BLOCK = 64
"""Coordinates whose levels are placed at once."""
UNFITTED = 3.0
"""How far levels reach to both sides before they are fitted."""


class ByteCode(nn.Module):
    """Coordinates (B, N) to digits (B, N) to whole numbers, float (B, L), up to 255; and back."""

    def __init__(self, coordinates: int, numbers: int) -> None:
        super().__init__()
        self.numbers = numbers
        self.levels: Tensor
        self.base: Tensor
        self.byte: Tensor
        self.place: Tensor
        # Until levels are fitted, the first coordinates have a byte each.
        kept = torch.arange(coordinates) < numbers
        levels = torch.linspace(-UNFITTED, UNFITTED, LEVELS_OF_A_BYTE).repeat(coordinates, 1)
        self.register_buffer("levels", torch.where(kept[:, None], levels, 0.0))
        self.register_buffer("base", torch.where(kept, LEVELS_OF_A_BYTE, 1))
        self.register_buffer("byte", torch.where(kept, torch.arange(coordinates), 0))
        self.register_buffer("place", torch.ones(coordinates, dtype=torch.long))

    @property
    def coordinates(self) -> int:
        """N."""
        return len(self.base)

    def fit(self, values: Tensor, weights: Tensor, worth: Tensor) -> None:
        """Deal out levels and place them by samples (S, N) of the coordinates, in their order.

        `weights` (S,) say what a sample counts, `worth` (N,) what a coordinate's squared error is.
        Of coordinates that share a byte the first has the highest place.
        """
        levels_by_count, errors_by_count = _tried(values, weights)
        errors = worth.double()[:, None] * errors_by_count
        dealt = deal(errors.tolist(), self.numbers)
        filled = [1] * self.numbers
        for coordinate in reversed(range(self.coordinates)):
            base, byte = dealt.counts[coordinate], dealt.byte[coordinate]
            levels = levels_by_count[COUNTS.index(base)][coordinate].float()
            # What follows the last level is never named.
            self.levels[coordinate] = levels[-1]
            self.levels[coordinate, :base] = levels
            self.base[coordinate], self.byte[coordinate] = base, byte
            self.place[coordinate] = filled[byte]
            filled[byte] *= base

    def nearest(self, coordinates: Tensor) -> Tensor:
        """The digits (B, N) of the levels that are nearest to coordinates (B, N)."""
        digits = torch.searchsorted(middles(self.levels), coordinates.T.contiguous()).T
        return torch.minimum(digits, self.base - 1)

    def levels_of(self, digits: Tensor) -> Tensor:
        """The coordinates (B, N) that digits (B, N) name."""
        return self.levels.gather(1, digits.T).T.contiguous()

    def pack(self, digits: Tensor) -> Tensor:
        """Digits (B, N) to numbers, float (B, L)."""
        numbers = digits.new_zeros(len(digits), self.numbers)
        return numbers.index_add_(1, self.byte, digits * self.place).float()

    def unpack(self, numbers: Tensor) -> Tensor:
        """Numbers (B, L), within a half of whole, to digits (B, N)."""
        whole = numbers.round().clamp(0, LEVELS_OF_A_BYTE - 1).long()
        return whole[:, self.byte] // self.place % self.base


def _tried(values: Tensor, weights: Tensor) -> tuple[list[Tensor], Tensor]:
    """Every number of levels on coordinates (S, N): levels (N, K) a number, what they leave (N, C).

    A few coordinates at a time, which is all that has to be held in double precision: what many
    levels leave is a small difference of large sums.
    """
    levels, left = [], []
    for block in values.split(BLOCK, dim=1):
        ordered, order = block.double().sort(dim=0)
        found = [placed(ordered, weights.double()[order], count) for count in COUNTS]
        levels.append([placed_there for placed_there, _ in found])
        left.append(torch.stack([error for _, error in found], dim=1))
    return [torch.cat(of_count) for of_count in zip(*levels, strict=True)], torch.cat(left)
