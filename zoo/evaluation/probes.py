"""What a model makes of frames that are put to it: grey ones, and the same frame in company."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder
from zoo.api.metric import Metric, TemporalMetric
from zoo.api.sampling import Sampling, middle_frames
from zoo.base.records import BatchDependence, PlainFrame
from zoo.evaluation.latents import Quantiser
from zoo.evaluation.scoring import score_pairs
from zoo.evaluation.summary import mean_of
from zoo.evaluation.watch import (
    as_shown,
    decoded,
    encode_samples,
    sample_batch,
    samples_at_once,
    samples_of,
)
from zoo.films.film import Film
from zoo.plugins.model_building import latent_spec

LEVELS: dict[Literal["black", "grey", "white"], int] = {"black": 0, "grey": 128, "white": 255}
ALONE = 8
"""Frames that are encoded alone as well."""


@torch.inference_mode()
def plain_frames(
    model: Autoencoder, quantiser: Quantiser, metrics: Sequence[Metric], device: torch.device
) -> list[PlainFrame]:
    """Have a model draw a black, a grey and a white frame, each alone."""
    found = []
    for name, level in LEVELS.items():
        sampling = Sampling.of(model)
        shape = sampling.frames, 3, model.size.height, model.size.width
        frames = torch.full(shape, level / 255, device=device)
        drawn = as_shown(middle_frames(_round_trip(model, sampling.shaped(frames), quantiser)))
        frame = frames[:1]
        levels = drawn[0].flatten(1) * 255
        red, green, blue = levels.mean(dim=1).tolist()
        still = [metric for metric in metrics if not isinstance(metric, TemporalMetric)]
        scores = score_pairs([(frame, drawn)], [0], still)
        found.append(
            PlainFrame(
                name=name,
                level=level,
                reconstructed=(red, green, blue),
                reconstructed_sd=float(levels.var(dim=1, correction=0).mean().sqrt()),
                scores={metric: mean_of(values) for metric, values in scores.items()},
            )
        )
    return found


def _round_trip(model: Autoencoder, frames: Tensor, quantiser: Quantiser) -> Tensor:
    flat = quantiser.round_trip(encode_samples(model, frames))
    return decoded(model, flat.unflatten(1, latent_spec(model).shape))


@torch.inference_mode()
def batch_dependence(
    model: Autoencoder, film: Film, quantiser: Quantiser, device: torch.device
) -> BatchDependence:
    """Encode and decode frames of a film beside others and alone, and compare."""
    samples = samples_of(film, model)
    count = min(samples_at_once(samples.sampling), len(samples))
    # Spread over the film: neighbours would be poor company.
    spread = np.arange(count) * len(samples) // count
    together = sample_batch(film, samples, spread, device)
    codes = model.encode(together)
    drawn = as_shown(model.decode(codes))
    apart, levels, differing, values = 0.0, 0, 0, 0
    # A dimension that is the same all over the film has no range; the widest stands in for it.
    ranges = quantiser.step * (2**quantiser.bits - 1)
    ranges = torch.where(ranges > 0, ranges, ranges.max()) if len(ranges) else ranges
    alone = min(ALONE, count)
    for index in range(alone):
        code = model.encode(together[index : index + 1])
        change = (code - codes[index : index + 1]).float().flatten(1).abs()
        relative = torch.where(change > 0, change / ranges.clamp_min(1e-12), change)
        apart = max(apart, float(relative.max()) if relative.numel() else 0.0)
        off = (as_shown(model.decode(code)) - drawn[index : index + 1]).abs() * 255
        levels = max(levels, round(float(off.max())))
        differing += int((off > 1.5).sum())
        values += off.numel()
    return BatchDependence(
        frames=alone, latent_difference=apart, levels=levels, differing=differing / values
    )
