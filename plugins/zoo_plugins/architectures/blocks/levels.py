"""How many levels each coordinate of a frame is worth, and where they lie.

A coordinate that varies much deserves more levels than one that hardly does. Levels are placed
where coordinates are found (Lloyd, Least squares quantization in PCM, 1982), and dealt out to the
coordinate that gains most from them a bit (after Shoham and Gersho, Efficient bit allocation for an
arbitrary set of quantizers, 1988), as many as a given number of bytes can tell apart.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS_OF_A_BYTE = 256
COUNTS = (*range(1, 17), 18, 20, 24, 28, 32, 36, 42, 51, 64, 85, 128, 256)
"""Numbers of levels to choose from: all small ones, and larger ones that leave a byte full."""
ROUNDS = 25


def placed(values: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """`count` levels for each of N coordinates, and what squared error they leave.

    `values` (S, N) are samples of the coordinates, each sorted; `weights` (S, N) say what a sample
    counts. Gives levels (N, `count`), ascending, and weighted mean squares (N,).
    """
    rows, weights = values.T.contiguous(), weights.T
    # Of weights, values and squares: what all samples before one come to.
    sums = [
        F.pad((weights * power).cumsum(dim=1), (1, 0))
        for power in (torch.ones_like(rows), rows, rows.square())
    ]
    # To begin with, half by how often values are found and half by how far apart they are.
    shares = (torch.arange(count, dtype=rows.dtype, device=rows.device) + 0.5) / count
    often = rows[:, (shares * (rows.shape[1] - 1)).long()]
    levels = (often + rows[:, :1] + (rows[:, -1:] - rows[:, :1]) * shares) / 2
    for _ in range(ROUNDS):
        weight, value, _ = _of_each_level(sums, rows, levels)
        levels = torch.where(weight > 0, value / weight.clamp_min(1e-12), levels)
        levels = levels.sort(dim=1).values
    weight, value, square = _of_each_level(sums, rows, levels)
    left = square - 2 * levels * value + levels.square() * weight
    return levels, left.sum(dim=1).clamp_min(0) / sums[0][:, -1]


def _of_each_level(sums: Sequence[Tensor], rows: Tensor, levels: Tensor) -> list[Tensor]:
    """Sums (N, S + 1) over those of sorted samples (N, S) that are nearest to each level (N, K)."""
    ends = torch.searchsorted(rows, middles(levels))
    ends = F.pad(F.pad(ends, (1, 0)), (0, 1), value=rows.shape[1])
    return [total.gather(1, ends).diff(dim=1) for total in sums]


def middles(levels: Tensor) -> Tensor:
    """Halfway between neighbouring levels (N, K): (N, K - 1)."""
    return ((levels[:, 1:] + levels[:, :-1]) / 2).contiguous()


@dataclass
class Deal:
    """What N coordinates were dealt of the levels that L bytes can tell apart."""

    counts: list[int]
    """Levels of each coordinate: 1 for one that is not kept."""
    byte: list[int]
    """The byte in which each is kept; that of one that is not kept means nothing."""
    taken: list[int]
    """What a byte's coordinates can tell apart together, at most 256."""

    def keeps(self, coordinate: int, byte: int) -> bool:
        """Whether a byte keeps a coordinate."""
        return self.counts[coordinate] > 1 and self.byte[coordinate] == byte

    def room(self, coordinate: int, byte: int) -> int:
        """How many levels a coordinate could have in a byte, beside the others there."""
        own = self.counts[coordinate] if self.keeps(coordinate, byte) else 1
        return LEVELS_OF_A_BYTE // (self.taken[byte] // own)

    def give(self, coordinate: int, byte: int, count: int) -> None:
        """Let a coordinate have so many levels, in that byte and no other."""
        self.taken[self.byte[coordinate]] //= self.counts[coordinate]
        self.taken[byte] *= count
        self.counts[coordinate], self.byte[coordinate] = count, byte


@dataclass(order=True)
class Wish:
    """More levels for a coordinate; those that gain most a bit come first."""

    cost: float
    """The change of the error a bit, below 0."""
    coordinate: int = field(compare=False)
    choice: int = field(compare=False)
    """Of `COUNTS`."""


def deal(errors: Sequence[Sequence[float]], numbers: int) -> Deal:
    """Deal the levels of so many bytes to coordinates, one wish after the other.

    `errors` are what each of `COUNTS` leaves of each coordinate, in units that add up.
    """
    dealt = Deal([1] * len(errors), [0] * len(errors), [1] * numbers)
    wishes = [wish for n, row in enumerate(errors) if (wish := _wish(n, row, 0))]
    heapq.heapify(wishes)
    while wishes:
        wish = heapq.heappop(wishes)
        coordinate = wish.coordinate
        # Where it is kept now; without room there, and to begin with, where there is most.
        places = sorted(
            range(numbers),
            key=lambda byte: (not dealt.keeps(coordinate, byte), dealt.taken[byte]),
        )
        wanted = COUNTS[wish.choice]
        roomy = (byte for byte in places if dealt.room(coordinate, byte) >= wanted)
        byte = next(roomy, max(places, key=lambda byte: dealt.room(coordinate, byte)))
        choice = wish.choice
        while COUNTS[choice] > max(dealt.room(coordinate, byte), dealt.counts[coordinate]):
            choice -= 1
        if COUNTS[choice] > dealt.counts[coordinate]:
            dealt.give(coordinate, byte, COUNTS[choice])
            if another := _wish(coordinate, errors[coordinate], choice):
                heapq.heappush(wishes, another)
    return dealt


def _wish(coordinate: int, errors: Sequence[float], choice: int) -> Wish | None:
    """The number of levels that gains most a bit over the one that a coordinate has."""
    costs = [
        ((errors[more] - errors[choice]) / math.log2(COUNTS[more] / COUNTS[choice]), more)
        for more in range(choice + 1, len(COUNTS))
    ]
    cost, more = min(costs, default=(0.0, choice))
    return Wish(cost, coordinate, more) if cost < 0 else None
