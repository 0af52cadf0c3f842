"""A film as its hashes, kept beside its frames once they are made."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from zoo.base.atomic_files import kept_if_possible, written_aside
from zoo.base.errors import BadInput
from zoo.base.untrusted_files import read_arrays
from zoo.films.film import Film
from zoo.films.store import MANIFEST
from zoo.matching.hashes import HashBuffer, Hashes
from zoo.matching.pdq import pdq

BATCH = 64
KEPT = "pdq.npz"
"""In a film's store: `bits`, uint8 (N, 32), and `quality`, uint8 (N,)."""


@dataclass(frozen=True)
class HashedFilm:
    """The hashes of a film's frames, and when they are shown."""

    name: str
    hashes: Hashes
    times: npt.NDArray[np.float64]
    """Seconds, (N,), ascending."""
    scenes: tuple[tuple[float, float], ...]
    """Shots `[start, stop)` in seconds, in order."""

    def __len__(self) -> int:
        return len(self.hashes)


def hash_film(film: Film, device: torch.device) -> HashedFilm:
    """Hash every frame of an ingested film, or read what was hashed before.

    Hashes that are damaged are made again; where they cannot be kept, a line says so.
    """
    hashes = _read(film)
    if hashes is None:
        buffer = HashBuffer()
        for start in range(0, len(film), BATCH):
            frames = torch.from_numpy(np.array(film.store.array[start : start + BATCH]))
            buffer.add(pdq(frames.to(device).permute(0, 3, 1, 2)))
        hashes = buffer.hashes(device)
        # A film that was made in memory has no folder.
        if (film.store.folder / MANIFEST).exists():
            _write(film, hashes)
    return HashedFilm(
        film.name,
        hashes.to(device),
        film.time_codes,
        scene_times([(shot.start, shot.stop) for shot in film.shots], film.time_codes),
    )


def scene_times(
    shots: Iterable[tuple[int, int]], times: npt.NDArray[np.float64]
) -> tuple[tuple[float, float], ...]:
    """Shots in frames as shots in seconds; the last frame is shown as long as is usual."""
    usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    begins = [float(times[start]) for start, _ in shots]
    return tuple(itertools.pairwise([*begins, float(times[-1]) + usual]))


def _write(film: Film, hashes: Hashes) -> None:
    bits, quality = hashes.packed()
    with (
        kept_if_possible(f"the hashes of {film.name}"),
        written_aside(film.store.folder / KEPT) as aside,
        aside.open("wb") as file,
    ):
        np.savez(file, allow_pickle=False, bits=bits, quality=quality)


def _read(film: Film) -> Hashes | None:
    """The hashes that were kept; None where there are none, or they are damaged."""
    try:
        held = read_arrays(film.store.folder / KEPT, ("bits", "quality"))
        bits, quality = held["bits"], held["quality"]
    except (BadInput, KeyError, OSError):
        return None
    whole = bits.shape == (len(film), 32) and quality.shape == (len(film),)
    if not whole or bits.dtype != np.uint8 or quality.dtype != np.uint8:
        return None
    return Hashes.unpacked(bits, quality)
