"""Pack many coordinates into few bytes: each has its own levels, and several share a byte.

Most coordinates of a frame do not need eight bits. So a number from 0 to 255 is read as mixed-radix
digits, each with its own base, and every digit selects a level of one coordinate.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

LEVELS_OF_A_BYTE = 256
COUNTS = (*range(1, 17), 18, 20, 24, 28, 32, 36, 42, 51, 64, 85, 128, 256)
"""Allowed numbers of levels: all small ones, and larger ones that use a byte well."""
ROUNDS = 25


def placed(values: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Place `count` levels for each of N coordinates; return them with their squared errors.

    `values` (S, N) are samples of the coordinates, each sorted; `weights` (S, N) are the weights of
    the samples. Returns levels (N, `count`), ascending, and weighted mean squared errors (N,).
    """
    rows, weights = values.T.contiguous(), weights.T
    # Cumulative sums of weights, weighted values and weighted squares.
    sums = [
        F.pad((weights * power).cumsum(dim=1), (1, 0))
        for power in (torch.ones_like(rows), rows, rows.square())
    ]
    # Initial levels: the average of evenly spaced quantiles and evenly spaced values.
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
    """From cumulative sums (N, S + 1), sum the samples (N, S) nearest to each level (N, K)."""
    ends = torch.searchsorted(rows, middles(levels))
    ends = F.pad(F.pad(ends, (1, 0)), (0, 1), value=rows.shape[1])
    return [total.gather(1, ends).diff(dim=1) for total in sums]


def middles(levels: Tensor) -> Tensor:
    """Midpoints (N, K - 1) between neighbouring levels (N, K)."""
    return ((levels[:, 1:] + levels[:, :-1]) / 2).contiguous()


@dataclass
class LevelAllocation:
    """How the levels that L bytes can hold are allocated to N coordinates."""

    counts: list[int]
    """Number of levels of each coordinate; 1 if the coordinate is not stored."""
    byte: list[int]
    """The byte that stores each coordinate; meaningless for one that is not stored."""
    taken: list[int]
    """Combinations of levels that each byte's coordinates have together, at most 256."""

    def keeps(self, coordinate: int, byte: int) -> bool:
        """Whether a byte stores a coordinate."""
        return self.counts[coordinate] > 1 and self.byte[coordinate] == byte

    def room(self, coordinate: int, byte: int) -> int:
        """How many levels a coordinate could have in a byte that it shares with others there."""
        own = self.counts[coordinate] if self.keeps(coordinate, byte) else 1
        return LEVELS_OF_A_BYTE // (self.taken[byte] // own)

    def give(self, coordinate: int, byte: int, count: int) -> None:
        """Give a coordinate `count` levels, and move it to this byte."""
        self.taken[self.byte[coordinate]] //= self.counts[coordinate]
        self.taken[byte] *= count
        self.counts[coordinate], self.byte[coordinate] = count, byte


@dataclass(order=True)
class Candidate:
    """An increase in a coordinate's levels; sorts by gain per bit, the highest first."""

    cost: float
    """The change of the error per bit, below 0."""
    coordinate: int = field(compare=False)
    choice: int = field(compare=False)
    """Index of the new number of levels in `COUNTS`."""


def allocate_levels(errors: Sequence[Sequence[float]], numbers: int) -> LevelAllocation:
    """Allocate the levels of `numbers` bytes to coordinates, greedily.

    `errors` has each coordinate's error at each of `COUNTS`, in units that can be added.
    """
    allocation = LevelAllocation([1] * len(errors), [0] * len(errors), [1] * numbers)
    candidates = [candidate for n, row in enumerate(errors) if (candidate := _candidate(n, row, 0))]
    heapq.heapify(candidates)
    while candidates:
        candidate = heapq.heappop(candidates)
        coordinate = candidate.coordinate
        # Try the coordinate's current byte first, then the bytes with the most room.
        places = sorted(
            range(numbers),
            key=lambda byte: (not allocation.keeps(coordinate, byte), allocation.taken[byte]),
        )
        wanted = COUNTS[candidate.choice]
        roomy = (byte for byte in places if allocation.room(coordinate, byte) >= wanted)
        byte = next(roomy, max(places, key=lambda byte: allocation.room(coordinate, byte)))
        choice = candidate.choice
        while COUNTS[choice] > max(
            allocation.room(coordinate, byte), allocation.counts[coordinate]
        ):
            choice -= 1
        if COUNTS[choice] > allocation.counts[coordinate]:
            allocation.give(coordinate, byte, COUNTS[choice])
            if another := _candidate(coordinate, errors[coordinate], choice):
                heapq.heappush(candidates, another)
    return allocation


def _candidate(coordinate: int, errors: Sequence[float], choice: int) -> Candidate | None:
    """The increase in a coordinate's levels that gains most per bit; None if none gains."""
    costs = [
        ((errors[more] - errors[choice]) / math.log2(COUNTS[more] / COUNTS[choice]), more)
        for more in range(choice + 1, len(COUNTS))
    ]
    cost, more = min(costs, default=(0.0, choice))
    return Candidate(cost, coordinate, more) if cost < 0 else None


BLOCK = 64
"""Coordinates whose levels are placed in one block."""
UNFITTED = 3.0
"""Range of levels on both sides of 0 before they are fitted."""


class ByteCode(nn.Module):
    """Converts coordinates (B, N) to digits (B, N) to bytes, as float (B, L), and back."""

    def __init__(self, coordinates: int, numbers: int) -> None:
        super().__init__()
        self.numbers = numbers
        self.levels: Tensor
        self.base: Tensor
        self.byte: Tensor
        self.place: Tensor
        # Until levels are fitted, each of the first coordinates has a byte of its own.
        kept = torch.arange(coordinates) < numbers
        levels = torch.linspace(-UNFITTED, UNFITTED, LEVELS_OF_A_BYTE).repeat(coordinates, 1)
        self.register_buffer("levels", torch.where(kept[:, None], levels, 0.0))
        self.register_buffer("base", torch.where(kept, LEVELS_OF_A_BYTE, 1))
        self.register_buffer("byte", torch.where(kept, torch.arange(coordinates), 0))
        self.register_buffer("place", torch.ones(coordinates, dtype=torch.long))

    @property
    def coordinates(self) -> int:
        """The number of coordinates, N."""
        return len(self.base)

    def fit(self, values: Tensor, weights: Tensor, worth: Tensor) -> None:
        """Allocate levels and place them, from samples (S, N) of the coordinates.

        `weights` (S,) weigh samples, `worth` (N,) weighs coordinates' squared errors.
        Of coordinates that share a byte, the first has the most significant digit.
        """
        levels_by_count, errors_by_count = _tried(values, weights)
        errors = worth.double()[:, None] * errors_by_count
        allocation = allocate_levels(errors.tolist(), self.numbers)
        filled = [1] * self.numbers
        for coordinate in reversed(range(self.coordinates)):
            base, byte = allocation.counts[coordinate], allocation.byte[coordinate]
            levels = levels_by_count[COUNTS.index(base)][coordinate].float()
            # Entries after the last level are never selected.
            self.levels[coordinate] = levels[-1]
            self.levels[coordinate, :base] = levels
            self.base[coordinate], self.byte[coordinate] = base, byte
            self.place[coordinate] = filled[byte]
            filled[byte] *= base

    def nearest(self, coordinates: Tensor) -> Tensor:
        """Coordinates (B, N) to the digits (B, N) of the nearest levels."""
        digits = torch.searchsorted(middles(self.levels), coordinates.T.contiguous()).T
        return torch.minimum(digits, self.base - 1)

    def levels_of(self, digits: Tensor) -> Tensor:
        """Digits (B, N) to coordinates (B, N)."""
        return self.levels.gather(1, digits.T).T.contiguous()

    def pack(self, digits: Tensor) -> Tensor:
        """Digits (B, N) to bytes, as float (B, L)."""
        numbers = digits.new_zeros(len(digits), self.numbers)
        return numbers.index_add_(1, self.byte, digits * self.place).float()

    def unpack(self, numbers: Tensor) -> Tensor:
        """Numbers (B, L), rounded to whole bytes here, to digits (B, N)."""
        whole = numbers.round().clamp(0, LEVELS_OF_A_BYTE - 1).long()
        return whole[:, self.byte] // self.place % self.base


def _tried(values: Tensor, weights: Tensor) -> tuple[list[Tensor], Tensor]:
    """Place every number of levels on samples (S, N); return levels (N, K) for each, errors (N, C).

    Works in double precision, since errors of many levels are small differences of large sums; in
    blocks of a few coordinates, to save memory.
    """
    levels, left = [], []
    for block in values.split(BLOCK, dim=1):
        ordered, order = block.double().sort(dim=0)
        found = [placed(ordered, weights.double()[order], count) for count in COUNTS]
        levels.append([placed_there for placed_there, _ in found])
        left.append(torch.stack([error for _, error in found], dim=1))
    return [torch.cat(of_count) for of_count in zip(*levels, strict=True)], torch.cat(left)


WORTHWHILE = 0.3
"""Minimum gain of a move, as a share of the gain of the best move in its frame."""


def deterministic() -> AbstractContextManager[None]:
    """Use deterministic cuDNN kernels, because a search amplifies small differences."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)


def searched(
    error: nn.Module,
    code: ByteCode,
    digits: Tensor,
    targets: list[Tensor],
    curvature: Tensor,
    steps: int,
) -> Tensor:
    """Move digits (B, N) to reduce `error(coordinates, *targets)` (B,); return the best digits.

    `curvature` (N,) is about the second derivative of a frame's error with respect to each
    coordinate. No frame's error increases. Also works under `torch.inference_mode`, with weights
    and targets that were made in it, and does not change the gradients of weights.
    """
    with torch.inference_mode(False), torch.enable_grad(), deterministic():
        # Autograd refuses tensors made in inference mode, but accepts clones of them.
        weights = {
            name: (value.clone() if value.is_inference() else value).detach()
            for name, value in error.state_dict(keep_vars=True).items()
        }
        best, *targets = (tensor.detach().clone() for tensor in (digits, *targets))

        def error_and_slope(at: Tensor) -> tuple[Tensor, Tensor]:
            place = code.levels_of(at).detach().clone().requires_grad_()
            errors = functional_call(error, weights, (place, *targets))
            # Not autograd.grad, because then torch cannot count the operations of a module.
            errors.sum().backward()
            assert place.grad is not None
            return errors.detach()[:, None], place.grad

        least, slope = error_and_slope(best)
        share = torch.full_like(least, WORTHWHILE)
        for _ in range(steps):
            moved = _moved(code, best, slope, curvature, share)
            error_there, slope_there = error_and_slope(moved)
            better = error_there < least
            best = torch.where(better, moved, best)
            least = torch.where(better, error_there, least)
            slope = torch.where(better, slope_there, slope)
            share = torch.where(better, share, (1 + share) / 2)
    return best


def _moved(
    code: ByteCode, digits: Tensor, slope: Tensor, curvature: Tensor, share: Tensor
) -> Tensor:
    """Digits (B, N) after all moves by one level whose expected gain is large enough."""
    ways = [(digits - 1).clamp_min(0), torch.minimum(digits + 1, code.base - 1)]
    lengths = torch.stack([code.levels_of(way) for way in ways]) - code.levels_of(digits)
    gains = -(slope + 0.5 * curvature * lengths) * lengths
    gain, way = gains.max(dim=0)
    enough = (gain > 0) & (gain >= share * gain.amax(dim=1, keepdim=True))
    return torch.where(enough, torch.where(way == 0, ways[0], ways[1]), digits)
