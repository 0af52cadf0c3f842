"""Rate and distortion: scores at fewer bits per latent number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from zoo.api.autoencoder import Autoencoder
from zoo.api.metric import Metric, TemporalMetric
from zoo.api.sampling import BATCH, FilmSamples
from zoo.base.records import Part, RatePoint
from zoo.evaluation.inference import film_batch, reconstruct_frames, samples_of
from zoo.evaluation.latents import EncodedFilm, Latents, Quantiser
from zoo.evaluation.metrics import Frames, Values, mean_of, score_pairs
from zoo.films.film import Film

BIT_DEPTHS = (6, 5, 4, 3)
"""Bits per number beside the 8 of all other scores."""
MOST_FRAMES = 128
"""The most frames of a part that are scored at each depth, evenly sampled."""


def rate_points(
    model: Autoencoder,
    film: Film,
    coded: Iterable[tuple[Latents, float]],
    scores: Mapping[str, Values],
    parts: Mapping[Part, Frames],
    metrics: Sequence[Metric],
    device: torch.device,
) -> list[RatePoint]:
    """Score the film at several numbers of bits.

    `coded` are its latents with their bytes per frame; the first are those of `scores`. All points
    are of the same frames; temporal metrics, which need neighbours, are left out.
    """
    still = [metric for metric in metrics if not isinstance(metric, TemporalMetric)]
    sampled = {part: _sample(frames) for part, frames in parts.items()}
    samples = samples_of(film, model)
    points: list[RatePoint] = []
    for latents, size in coded:
        found: dict[str, dict[Part, float | None]] = {metric.name: {} for metric in still}
        for part, frames in sampled.items():
            if points:
                values = _score_frames(model, film, samples, frames, latents, still, device)
            else:
                values = {metric.name: scores[metric.name][frames] for metric in still}
            for metric in still:
                found[metric.name][part] = mean_of(values[metric.name], metric.better == "one")
        points.append(
            RatePoint(
                bits=latents.quantiser.bits,
                coded_bytes=size,
                kilobits_per_second=size * 8 * len(film) / film.seconds(0, len(film)) / 1000,
                frames={part: len(frames) for part, frames in sampled.items()},
                scores={name: dict(by_part) for name, by_part in found.items()},
            )
        )
    return points


def coarser_latents(encoded: EncodedFilm, stored: Latents) -> list[Latents]:
    """A film's latents in fewer bits; none for codes, which would become other codes."""
    if stored.quantiser.codes is not None:
        return []
    return [encoded.quantised(Quantiser.spanning(encoded.numbers, bits)) for bits in BIT_DEPTHS]


def _sample(frames: Frames) -> Frames:
    if len(frames) <= MOST_FRAMES:
        return frames
    return frames[np.linspace(0, len(frames) - 1, MOST_FRAMES).round().astype(np.int64)]


@torch.inference_mode()
def _score_frames(
    model: Autoencoder,
    film: Film,
    samples: FilmSamples,
    frames: Frames,
    latents: Latents,
    metrics: Sequence[Metric],
    device: torch.device,
) -> dict[str, Values]:
    """Scores (F,) of frames decoded from the film's latents, by metric."""

    def pair(some: Frames) -> tuple[torch.Tensor, torch.Tensor]:
        return film_batch(film, some, device), reconstruct_frames(model, samples, some, latents)

    chunks = [frames[start : start + BATCH] for start in range(0, len(frames), BATCH)]
    return score_pairs(map(pair, chunks), [0], metrics)
