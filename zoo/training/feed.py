"""Batches of a film's training frames: the same frames in the same order for every model."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zoo.films.film import Film

LARGEST_SHARE_OF_MEMORY = 0.5
"""A film lies on the device if it takes no more than this share of the memory that is free."""


class FrameFeed:
    """A film's training frames in an order fixed by the seed, each once an epoch.

    Batches are cut from the endless sequence of shuffled epochs, so that all are full and the
    batch of a step depends on nothing but the seed and the step's number: nothing has to be
    saved to resume. `rank` of `ranks` gets its slice of each batch.
    """

    def __init__(
        self, film: Film, batch: int, seed: int, device: torch.device, rank: int, ranks: int
    ) -> None:
        self.indices = film.split.seen
        self.batch = batch
        self.seed = seed
        self.device = device
        self.slice = slice(rank * batch // ranks, (rank + 1) * batch // ranks)
        self._order: tuple[int, np.ndarray] = (-1, self.indices)
        self._array = film.store.array
        self._resident = self._place_on_device(film)

    def _place_on_device(self, film: Film) -> Tensor | None:
        """The training frames on an accelerator if they fit there, else None."""
        if self.device.type != "cuda":
            return None
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
        stream = np.arange(step * self.batch, (step + 1) * self.batch)[self.slice]
        return np.array([self._shuffled(int(at) // count)[int(at) % count] for at in stream])

    def _shuffled(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.indices))
            self._order = (epoch, order)
        return self._order[1]

    def __call__(self, step: int) -> Tensor:
        """The batch of `step`: float (B, 3, H, W) in [0, 1], channels last, on the device."""
        positions = self.positions(step)
        if self._resident is not None:
            frames = self._resident[torch.from_numpy(positions).to(self.device)]
        else:
            frames = torch.from_numpy(self._array[self.indices[positions]]).to(self.device)
        # Stored (N, H, W, 3), the permuted view is channels last without moving a byte.
        return frames.permute(0, 3, 1, 2).float().div_(255)
