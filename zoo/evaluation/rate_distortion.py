"""Rate and distortion: scores at fewer bits per latent number, and per weight of the decoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from zoo.api.autoencoder import Autoencoder
from zoo.api.metric import Metric, TemporalMetric
from zoo.api.samples_and_latents import BATCH
from zoo.base.records import DecoderPoint, Part, RatePoint
from zoo.evaluation.inference import film_batch, reconstruct_frames, samples_of
from zoo.evaluation.latents import EncodedFilm, Latents, Quantiser
from zoo.evaluation.metrics import Frames, Values, mean_of, score_pairs
from zoo.evaluation.model_summary import decoder_bytes, decoder_matrices
from zoo.films.ingested_film import Film
from zoo.training.weight_rounding import rounded

BIT_DEPTHS = (6, 5, 4, 3)
"""Bits per number beside the 8 of all other scores."""
DECODER_BITS = (16, 8)
"""Bits per weight of the decoder beside the 32 of all other scores."""
MOST_FRAMES = 128
"""The most frames of a part that are scored at each number of bits, evenly sampled."""


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
    still, sampled = _still(metrics), _sampled(parts)
    points: list[RatePoint] = []
    for latents, size in coded:
        if points:
            means = _means_of_parts(model, film, latents, sampled, still, device)
        else:
            means = {
                metric.name: {
                    part: mean_of(scores[metric.name][frames], metric.better == "one")
                    for part, frames in sampled.items()
                }
                for metric in still
            }
        points.append(
            RatePoint(
                bits=latents.quantiser.bits,
                coded_bytes=size,
                kilobits_per_second=size * 8 * len(film) / film.seconds(0, len(film)) / 1000,
                frames={part: len(frames) for part, frames in sampled.items()},
                scores=means,
            )
        )
    return points


def decoder_points(
    model: Autoencoder,
    film: Film,
    latents: Latents,
    parts: Mapping[Part, Frames],
    metrics: Sequence[Metric],
    device: torch.device,
    weight_bits: int,
) -> list[DecoderPoint]:
    """Score the film with its decoder rounded, from the latents of all other scores.

    The frames and metrics are those of `rate_points`. Left out are numbers of bits that are not
    fewer than the `weight_bits` that the kept weights have.
    """
    still, sampled = _still(metrics), _sampled(parts)
    latent = latents.dequantised(slice(0, 1))
    matrices = decoder_matrices(model, latent)
    points = []
    for bits in (bits for bits in DECODER_BITS if bits < weight_bits):
        with rounded(model, matrices, bits):
            means = _means_of_parts(model, film, latents, sampled, still, device)
        size = decoder_bytes(model, latent, bits, matrices)
        points.append(DecoderPoint(weight_bits=bits, decoder_bytes=size, scores=means))
    return points


def coarser_latents(encoded: EncodedFilm, stored: Latents) -> list[Latents]:
    """A film's latents in fewer bits; none for codes, which would become other codes."""
    if stored.quantiser.codes is not None:
        return []
    return [encoded.quantised(Quantiser.spanning(encoded.numbers, bits)) for bits in BIT_DEPTHS]


def _still(metrics: Sequence[Metric]) -> list[Metric]:
    return [metric for metric in metrics if not isinstance(metric, TemporalMetric)]


def _sampled(parts: Mapping[Part, Frames]) -> dict[Part, Frames]:
    """At most `MOST_FRAMES` of the frames of each part."""
    return {
        part: frames[
            np.linspace(0, len(frames) - 1, min(MOST_FRAMES, len(frames))).round().astype(np.int64)
        ]
        for part, frames in parts.items()
    }


@torch.inference_mode()
def _means_of_parts(
    model: Autoencoder,
    film: Film,
    latents: Latents,
    parts: Mapping[Part, Frames],
    metrics: Sequence[Metric],
    device: torch.device,
) -> dict[str, dict[Part, float | None]]:
    """Means of frames decoded from the film's latents, by metric and part."""
    samples = samples_of(film, model)

    def pair(some: Frames) -> tuple[torch.Tensor, torch.Tensor]:
        return film_batch(film, some, device), reconstruct_frames(model, samples, some, latents)

    means: dict[str, dict[Part, float | None]] = {metric.name: {} for metric in metrics}
    for part, frames in parts.items():
        chunks = [frames[start : start + BATCH] for start in range(0, len(frames), BATCH)]
        values = score_pairs(map(pair, chunks), [0], metrics)
        for metric in metrics:
            means[metric.name][part] = mean_of(values[metric.name], metric.better == "one")
    return means
