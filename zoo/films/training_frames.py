"""`TrainingFrames`: a film's training frames and nothing else, for `prepare` and `fit`."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo.base.frame_size import FrameSize
from zoo.films.ingested_film import Film

Pixels = npt.NDArray[np.uint8]


class TrainingFrames:
    """The training frames of a film, in order; held-out frames cannot be reached from here.

    `frames[3]` is uint8 (H, W, 3), RGB, full range; `frames[10:20]`, `frames[[1, 5, 7]]` and
    `frames[mask]` are uint8 (n, H, W, 3), copies that can be written to.
    """

    def __init__(self, film: Film, taken: int | None = None) -> None:
        """Take the first `taken` training frames of a film, or all."""
        self.film: str = film.name
        """The name of the film."""
        self.size: FrameSize = film.size
        """The size of every frame."""
        self.fps: float = film.fps
        """Frames per second, the mean if the rate varies."""
        self.index: npt.NDArray[np.int64] = film.split.seen[:taken].copy()
        """Frame numbers in the film, ascending, (N,)."""
        self.seconds: npt.NDArray[np.float64] = film.frame_seconds[self.index]
        """Frame times, in seconds from the start of the source, (N,)."""
        starts = np.array([shot.start for shot in film.shots])
        self._shot = np.searchsorted(starts, self.index, side="right")
        self._read = functools.partial(_pixels, film.store.array, self.index)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, which: Any) -> Pixels:
        return self._read(which)

    @property
    def runs(self) -> list[range]:
        """Runs of positions whose frames follow one another in one shot of the film."""
        if not len(self):
            return []
        new = (np.diff(self.index) != 1) | (np.diff(self._shot) != 0)
        edges = [0, *(np.flatnonzero(new) + 1).tolist(), len(self)]
        return [range(a, b) for a, b in itertools.pairwise(edges)]

    def batches(
        self,
        count: int,
        device: torch.device | str = "cpu",
        start: int = 0,
        stop: int | None = None,
    ) -> Iterator[Tensor]:
        """Yield frames `[start, stop)` in batches of `count`: float (n, 3, H, W) in [0, 1].

        They are on the device, channels last; all frames by default.
        """
        last = len(self) if stop is None else min(stop, len(self))
        for at in range(start, last, count):
            yield as_floats(torch.from_numpy(self[at : min(at + count, last)]).to(device))


def as_floats(pixels: Tensor) -> Tensor:
    """Convert uint8 (N, H, W, 3) to float (N, 3, H, W) in [0, 1].

    Stored channels last, the permuted view is channels last too, without moving a byte.
    """
    return pixels.permute(0, 3, 1, 2) / 255


def _pixels(array: Pixels, index: npt.NDArray[np.int64], which: Any) -> Pixels:
    return np.array(array[index[which]])
