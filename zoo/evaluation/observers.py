"""What is gathered beside the scores while a drawn film goes by, once, frame after frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from zoo.base.records import SpreadWithinShots
from zoo.evaluation.watch import batches, film_batch
from zoo.films.film import Film, Shot
from zoo.matching.pdq import HashBuffer, Hashes, pdq

STILL = 4
"""The quarter of the shots that change least are the still ones."""


class Observer(Protocol):
    """Something that looks at every batch of a film as it was drawn."""

    def see(self, indices: slice, drawn: Tensor) -> None:
        """Look at frames `indices`, as they would be shown: (B, 3, H, W) in [0, 1]."""


def observed(
    film: Film, batches_drawn: Iterable[Tensor], observers: Sequence[Observer]
) -> Iterator[Tensor]:
    """Hand on a film's batches while the observers look at them."""
    for indices, drawn in zip(batches(film), batches_drawn, strict=True):
        for observer in observers:
            observer.see(indices, drawn)
        yield drawn


class Hasher:
    """Hashes every frame as a content-matching system would."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._gathered = HashBuffer()

    def see(self, indices: slice, drawn: Tensor) -> None:
        """Hash a batch."""
        self._gathered.add(pdq(drawn))

    @property
    def hashes(self) -> Hashes:
        """The hashes of all frames that went by."""
        return self._gathered.hashes(self._device)


class ShotSpread:
    """How much frames change within each shot, in the film and as it was drawn.

    For each shot the standard deviation over its frames, averaged over samples, in 8-bit levels.
    Frames go by in order, and only one shot's sums are held.
    """

    def __init__(self, film: Film, device: torch.device) -> None:
        self._film, self._device = film, device
        self._shots = iter(film.shots)
        self._shot: Shot = next(self._shots)
        self._sums = _Sums(), _Sums()
        self._spreads: list[tuple[int, float, float]] = []

    def see(self, indices: slice, drawn: Tensor) -> None:
        """Add frames to the sums of their shots."""
        originals = film_batch(self._film, indices, self._device)
        start = indices.start
        while start < indices.stop:
            stop = min(indices.stop, self._shot.stop)
            inside = slice(start - indices.start, stop - indices.start)
            for sums, frames in zip(self._sums, (originals, drawn), strict=True):
                sums.add(frames[inside] * 255)
            if stop == self._shot.stop:
                source, redrawn = (sums.spread() for sums in self._sums)
                self._spreads.append((len(self._shot), source, redrawn))
                self._sums = _Sums(), _Sums()
                self._shot = next(self._shots, self._shot)
            start = stop

    def collapse(self, only_still: bool) -> SpreadWithinShots | None:
        """The spreads of all shots of several frames, or of the stillest quarter; None of none."""
        spreads = sorted(
            (source, drawn) for frames, source, drawn in self._spreads if frames > 1 and source > 0
        )
        if only_still:
            spreads = spreads[: -(-len(spreads) // STILL)]
        if not spreads:
            return None
        source, drawn = np.mean(spreads, axis=0).tolist()
        return SpreadWithinShots(
            shots=len(spreads),
            source_spread=source,
            reconstructed_spread=drawn,
            ratio=drawn / source,
        )


class _Sums:
    """Running mean and sum of squared deviations of frames, sample by sample (Welford, 1962)."""

    def __init__(self) -> None:
        self._count = 0
        self._mean = self._squares = torch.zeros(())

    def add(self, frames: Tensor) -> None:
        count, mean = len(frames), frames.mean(dim=0)
        squares = (frames - mean).square().sum(dim=0)
        if not self._count:
            self._count, self._mean, self._squares = count, mean, squares
            return
        total = self._count + count
        apart = mean - self._mean
        self._mean = self._mean + apart * (count / total)
        self._squares = self._squares + squares + apart.square() * (self._count * count / total)
        self._count = total

    def spread(self) -> float:
        return float((self._squares / self._count).sqrt().mean())
