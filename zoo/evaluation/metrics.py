"""Metrics over a film: the set that can be measured here, scores per frame, and their means.

Neighbouring frames are nearly copies of one another, so shots, not frames, are
independent samples: the 95 % interval of a mean comes from the spread of the means of shots.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import stdtrit
from torch import Tensor

from zoo.api.metric import Metric, TemporalMetric, Unavailable, build_metric, sharing_results
from zoo.base.errors import BadInput
from zoo.base.records import MIN_SHOTS, Part, Summary
from zoo.base.safe_text import describe_value, did_you_mean, error_line
from zoo.evaluation.inference import batch_slices, film_batch
from zoo.films.ingested_film import Film
from zoo.plugins.entry_points import file_hint
from zoo.plugins.registry import registry

CONFIDENCE = 0.95
Frames = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MetricSet:
    """Requested metrics: those that can be measured here, and why the others cannot."""

    metrics: list[Metric]
    unavailable: dict[str, str]
    """Reasons by the metric's name."""
    requested: list[type[Metric]]
    """Every metric that was requested, available or not."""

    @classmethod
    def load(cls, device: torch.device, metrics: str = "default") -> MetricSet:
        """Load metrics onto the device: `default`, `all`, or names separated by commas.

        Raises BadInput on an unknown name, or on none.
        """
        loaded: list[Metric] = []
        unavailable = {}
        requested = _requested(metrics)
        for name, metric in requested.items():
            try:
                loaded.append(build_metric(metric, device))
            except Unavailable as reason:
                unavailable[name] = str(reason)
            except (Exception, SystemExit) as error:
                # If a plugin's metric fails, only its own column is missing.
                unavailable[name] = error_line(error)
        return cls(loaded, unavailable, list(requested.values()))


def _requested(text: str) -> dict[str, type[Metric]]:
    """Metrics by name, in the order of the registry."""
    known = registry().metrics
    words = {word.strip() for word in text.split(",") if word.strip()}
    if not words:
        raise BadInput(f"no metric is named; there are: {', '.join(known)}")
    for word in sorted(words - {"default", "all"} - known.keys()):
        hint = did_you_mean(word, [*known, "default", "all"])
        raise BadInput(
            f"no metric is called {word!r}{hint}; there are: {', '.join(known)}, and the words "
            f"default and all. {file_hint(word)}"
        )
    return {
        name: metric
        for name, metric in known.items()
        if "all" in words or name in words or ("default" in words and metric.default)
    }


@torch.inference_mode()
def score_reconstruction(
    film: Film,
    reconstructed_batches: Iterable[Tensor],
    metrics: Sequence[Metric],
    device: torch.device,
) -> dict[str, np.ndarray]:
    """Every metric on every frame of a film: float64 (N,) per metric, NaN where not defined.

    `reconstructed_batches` are one per slice of `batch_slices`, rounded to 8 bits: (B, 3, H, W).
    """
    originals = (film_batch(film, indices, device) for indices in batch_slices(film))
    firsts = [shot.start for shot in film.shots]
    return score_pairs(zip(originals, reconstructed_batches, strict=True), firsts, metrics)


@torch.inference_mode()
def score_pairs(
    pairs: Iterable[tuple[Tensor, Tensor]], firsts: Sequence[int], metrics: Sequence[Metric]
) -> dict[str, npt.NDArray[np.float64]]:
    """Every metric on every frame: float64 (N,) per metric, NaN where it is not defined.

    `pairs` are batches of originals and reconstructions in the film's order, float (B, 3, H, W)
    in [0, 1]; `firsts` are the first frames of its shots. Raises ValueError if a batch has
    reconstructions of another shape than the originals, or a metric returns another shape.
    """
    found: dict[str, list[Tensor]] = {metric.name: [] for metric in metrics}
    temporal = any(isinstance(metric, TemporalMetric) for metric in metrics)
    last: tuple[Tensor, ...] = ()
    for originals, reconstructions in pairs:
        if originals.shape != reconstructions.shape:
            raise ValueError(
                f"reconstructions {tuple(reconstructions.shape)} against originals "
                f"{tuple(originals.shape)}"
            )
        # Arithmetic on two memory layouts is slow, and so is LPIPS in any but this one.
        both = originals, reconstructions
        frames = tuple(f.contiguous(memory_format=torch.channels_last) for f in both)
        if temporal:
            last = last or tuple(f[:1] for f in frames)
            previous = tuple(torch.cat([b, f[:-1]]) for b, f in zip(last, frames, strict=True))
            last = tuple(f[-1:] for f in frames)
        with sharing_results():
            for metric in metrics:
                arguments = (*frames, *previous) if isinstance(metric, TemporalMetric) else frames
                values = metric(*arguments)
                _check_values(metric, values, (len(originals), *metric.frame_shape))
                found[metric.name].append(values)
    return {metric.name: _over_film(metric, found[metric.name], firsts) for metric in metrics}


def _over_film(
    metric: Metric, parts: Sequence[Tensor], firsts: Sequence[int]
) -> npt.NDArray[np.float64]:
    values = torch.cat(list(parts))
    if isinstance(metric, TemporalMetric):
        values[list(firsts)] = float("nan")
    one_a_frame = metric.over_film(values)
    _check_values(metric, one_a_frame, (len(values),))
    return one_a_frame.double().cpu().numpy()


def _check_values(metric: Metric, values: object, expected: tuple[int, ...]) -> None:
    if not isinstance(values, Tensor):
        raise ValueError(
            f"the metric {metric.name} gave {describe_value(values)}; "
            f"it must give a tensor of shape {expected}"
        )
    if tuple(values.shape) != expected or not values.is_floating_point():
        shown = f"{values.dtype} {tuple(values.shape)}".removeprefix("torch.")
        raise ValueError(
            f"the metric {metric.name} gave a tensor {shown}; "
            f"it must give floats of shape {expected}"
        )


def parts_of(film: Film, trained_on: str) -> dict[Part, Frames]:
    """The frames of each part of a film for a model; on another film all frames are `other`.

    Frames in the gaps between seen and held-out ones are in no part.
    """
    if film.name != trained_on:
        return {"other": np.arange(len(film), dtype=np.int64)}
    parts: dict[Part, Frames] = {"seen": film.split.seen, "held_out": film.split.held_out}
    return {part: frames for part, frames in parts.items() if len(frames)}


def summarise(values: Values, frames: Frames, film: Film, ratio: bool = False) -> Summary | None:
    """Summarise a metric's values (N,) over some frames; None if none of them has a value.

    The mean of a `ratio`, and its interval, are geometric: 0.5 and 2 average to 1. There
    is no interval for fewer than `MIN_SHOTS` shots.
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
    """The mean of the finite values, geometric for a ratio; None if there are none."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    if ratio:
        return math.exp(np.log(finite).mean()) if (finite > 0).all() else 0.0
    return float(finite.mean())


def shot_numbers(film: Film) -> npt.NDArray[np.int64]:
    """The number of each frame's shot: (N,), from 0."""
    return np.repeat(np.arange(len(film.shots)), [len(shot) for shot in film.shots])


def _interval(values: Values, shots: npt.NDArray[np.int64]) -> tuple[float, float] | None:
    """The t interval of a mean over frames, from the means of shots; None for too few shots.

    Shots are weighted by their frames. The variance is the unbiased one of a weighted mean (CR2),
    and there are fewer degrees of freedom if a few long shots have most frames (Bell and McCaffrey,
    Survey Methodology 28(2), 2002, for a mean).
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
