"""Batches of a film's training frames: the same frames in the same order for every model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from zoo.films.film import Film
from zoo.training.prefetch import read_ahead

LARGEST_SHARE_OF_MEMORY = 0.5
"""A film lies on the device if it takes no more than this share of the memory that is free."""


class FrameFeed:
    """A film's training frames in an order fixed by the seed, each once an epoch.

    Batches are cut from the endless sequence of shuffled epochs, so that all are full and the
    batch of a step depends on nothing but the seed and the step's number: nothing has to be
    saved to resume. `rank` of `ranks` gets its slice of each batch. Of the training frames the
    first `taken` are used, if that is given.
    """

    def __init__(
        self,
        film: Film,
        batch: int,
        seed: int,
        device: torch.device,
        rank: int,
        ranks: int,
        taken: int | None = None,
    ) -> None:
        self.indices = film.split.seen[:taken]
        self.batch = batch
        self.seed = seed
        self.device = device
        self.slice = slice(rank * batch // ranks, (rank + 1) * batch // ranks)
        self._order: tuple[int, np.ndarray] = (-1, self.indices)
        self._array = film.store.array
        self._resident = self._place_on_device(film)

    @property
    def resident(self) -> bool:
        """Whether all training frames lie on the accelerator."""
        return self._resident is not None

    def _place_on_device(self, film: Film) -> Tensor | None:
        """The training frames on an accelerator if they fit there, else None."""
        if self.device.type != "cuda":
            return None
        # What earlier work in this process left in torch's cache is free, too.
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(self.device)
        if len(self.indices) * film.size.pixels * 3 > free * LARGEST_SHARE_OF_MEMORY:
            return None
        resident = torch.empty(
            (len(self.indices), *self._array.shape[1:]), dtype=torch.uint8, device=self.device
        )
        for start in range(0, len(self.indices), 1024):
            chunk = self._array[self.indices[start : start + 1024]]
            resident[start : start + len(chunk)] = torch.from_numpy(chunk)
        return resident

    def positions(self, step: int) -> np.ndarray:
        """Positions, among the training frames, of this rank's part of the batch of `step`."""
        count = len(self.indices)
        at, stop = step * self.batch + self.slice.start, step * self.batch + self.slice.stop
        parts = []
        while at < stop:
            epoch, begin = divmod(at, count)
            parts.append(self._shuffled(epoch)[begin : begin + stop - at])
            at += len(parts[-1])
        return np.concatenate(parts)

    def _shuffled(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.indices))
            self._order = (epoch, order)
        return self._order[1]

    @contextmanager
    def from_step(self, first: int) -> Iterator[Callable[[int], Tensor]]:
        """Yield a function from a step to its batch, to be asked for `first` and then in order.

        A batch is float (B, 3, H, W) in [0, 1], channels last, on the device.
        """
        if self._resident is not None:
            resident = self._resident
            with read_ahead(self._positions_tensor, first, self.device) as positions_of:
                yield lambda step: _as_frames(
                    resident[positions_of(step).to(self.device, non_blocking=True)]
                )
        else:
            with read_ahead(self.pixels, first, self.device) as pixels_of:
                yield lambda step: _as_frames(pixels_of(step).to(self.device, non_blocking=True))

    def _positions_tensor(self, step: int) -> Tensor:
        return torch.from_numpy(self.positions(step))

    def pixels(self, step: int) -> Tensor:
        """The batch of `step` as it lies on disk: uint8 (B, H, W, 3), on the host."""
        return torch.from_numpy(self._array[self.indices[self.positions(step)]])


def _as_frames(pixels: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) to float (B, 3, H, W) in [0, 1].

    Stored channels last, the permuted view is channels last too, without moving a byte.
    """
    return pixels.permute(0, 3, 1, 2) / 255
