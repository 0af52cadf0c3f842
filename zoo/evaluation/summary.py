"""From one value a frame to what a table prints: means by part, with intervals by shot.

Neighbouring frames are nearly copies of one another, so what the mean of a film could have been is
asked by drawing whole shots again and not frames: the bootstrap over clusters (Davison and Hinkley,
Bootstrap Methods and their Application, 1997, section 3.8).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from zoo.films.film import Film
from zoo.records import Part, Summary

RESAMPLES = 2000
SHARE = 0.95

Frames = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


def parts_of(film: Film, trained_on: str) -> dict[Part, Frames]:
    """The frames of each part that a film has for a model: those of another film are all `other`.

    What lies in the gaps between seen and held-out frames is in no part.
    """
    if film.name != trained_on:
        return {"other": np.arange(len(film), dtype=np.int64)}
    parts: dict[Part, Frames] = {"seen": film.split.seen, "held_out": film.split.held_out}
    return {part: frames for part, frames in parts.items() if len(frames)}


def summarise(values: Values, frames: Frames, film: Film, ratio: bool = False) -> Summary | None:
    """Summarise a metric's values (N,) over some frames; None where none of these has a value.

    The mean of a `ratio`, and its interval, are geometric: a half and a double are as far from 1.
    """
    frames = frames[np.isfinite(values[frames])]
    if not len(frames):
        return None
    chosen = values[frames]
    shots = shot_numbers(film)[frames]
    interval = _interval(np.log(chosen) if ratio else chosen, shots)
    if interval and ratio:
        interval = math.exp(interval[0]), math.exp(interval[1])
    return Summary(
        frames=len(frames),
        mean=mean_of(chosen, ratio),
        sd=float(chosen.std()),
        lowest=float(chosen.min()),
        highest=float(chosen.max()),
        interval=interval,
    )


def mean_of(values: Values, ratio: bool = False) -> float | None:
    """The mean of what is finite, geometric for a ratio; None where nothing is."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    return math.exp(np.log(finite).mean()) if ratio else float(finite.mean())


def shot_numbers(film: Film) -> npt.NDArray[np.int64]:
    """Which shot each frame belongs to: (N,), from 0."""
    return np.repeat(np.arange(len(film.shots)), [len(shot) for shot in film.shots])


def _interval(values: Values, shots: npt.NDArray[np.int64]) -> tuple[float, float] | None:
    """Percentiles of the mean over frames when as many shots are drawn with replacement."""
    _, shot = np.unique(shots, return_inverse=True)
    counts = np.bincount(shot).astype(np.float64)
    if len(counts) < 2:
        return None
    sums = np.bincount(shot, weights=values)
    # Seeded: the same film gives the same interval.
    drawn = np.random.default_rng(0).integers(len(counts), size=(RESAMPLES, len(counts)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)
