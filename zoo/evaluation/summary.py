"""Means of a metric over the parts of a film, with 95 % intervals over shots.

Neighbouring frames are nearly copies of one another, so frames are no independent samples and shots
are: an interval comes from how far the means of shots lie apart.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from zoo.base.records import MIN_SHOTS, Part, Summary
from zoo.films.film import Film

CONFIDENCE = 0.95

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
    There is no interval for fewer than `MIN_SHOTS` shots.
    """
    frames = frames[np.isfinite(values[frames])]
    if not len(frames):
        return None
    chosen = values[frames]
    shots = shot_numbers(film)[frames]
    positive = not ratio or bool((chosen > 0).all())
    interval = _interval(np.log(chosen) if ratio else chosen, shots) if positive else None
    if interval and ratio:
        interval = math.exp(interval[0]), math.exp(interval[1])
    return Summary(
        frames=len(frames),
        shots=len(np.unique(shots)),
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
    if ratio:
        return math.exp(np.log(finite).mean()) if (finite > 0).all() else 0.0
    return float(finite.mean())


def shot_numbers(film: Film) -> npt.NDArray[np.int64]:
    """Which shot each frame belongs to: (N,), from 0."""
    return np.repeat(np.arange(len(film.shots)), [len(shot) for shot in film.shots])


def _interval(values: Values, shots: npt.NDArray[np.int64]) -> tuple[float, float] | None:
    """The t interval of a mean over frames, from the means of shots; None of too few shots.

    Shots weigh by their frames. The variance is the unbiased one of a weighted mean (CR2), and the
    degrees of freedom are fewer where a few long shots hold most frames (Bell and McCaffrey, Survey
    Methodology 28(2), 2002, for a mean).
    """
    _, shot = np.unique(shots, return_inverse=True)
    counts = np.bincount(shot).astype(np.float64)
    if len(counts) < MIN_SHOTS:
        return None
    weights = counts / counts.sum()
    means = np.bincount(shot, weights=values) / counts
    mean = float(weights @ means)
    # The variance is a quadratic form of the shots' means, y' M' A M y with M y their residuals.
    left = 1 - 2 * weights + weights @ weights
    share = weights**2 / left
    variance = float(share @ (means - mean) ** 2)
    centre = np.eye(len(counts)) - weights
    form = (centre.T * share) @ centre
    freedom = np.trace(form) ** 2 / (form**2).sum()
    reach = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(variance)
    return mean - reach, mean + reach
