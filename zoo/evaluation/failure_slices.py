"""Where a model fails: slices of frames, collapse within shots, plain frames, batch dependence.

Slices are fifths of a film by brightness, contrast, motion and shot length.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder
from zoo.api.metric import Metric, TemporalMetric
from zoo.api.samples_and_latents import Sampling, middle_frames
from zoo.base.records import BatchDependence, PlainFrame, Slice, SpreadWithinShots
from zoo.evaluation.inference import (
    checked_decode,
    encode_samples,
    film_batch,
    round_to_8_bits,
    sample_batch,
    samples_of,
    samples_per_batch,
)
from zoo.evaluation.latents import Quantiser
from zoo.evaluation.metrics import Frames, Values, mean_of, score_pairs
from zoo.films.ingested_film import Film, Shot
from zoo.plugins.model_building import latent_spec

FIFTHS = 5
FRAMES_AT_ONCE = 64
LUMA = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
"""Rec. ITU-R BT.709, on display values."""
STILL_QUARTER = 4
"""One in this many shots counts as still: those that change least."""
PLAIN_LEVELS: dict[Literal["black", "grey", "white"], int] = {"black": 0, "grey": 128, "white": 255}
FRAMES_ALONE = 8
"""Frames that are also encoded alone."""


def frame_properties(film: Film) -> dict[str, Values]:
    """Properties of every frame, (N,) each.

    - brightness: mean luma, 0 to 255
    - contrast: standard deviation of luma over the frame, in levels
    - motion: root mean square change of luma from the frame before, in levels; NaN where a shot
      begins
    - shot length: seconds
    """
    frames = len(film)
    brightness, contrast, motion = np.empty((3, frames))
    last = None
    for start in range(0, frames, FRAMES_AT_ONCE):
        chunk = slice(start, min(start + FRAMES_AT_ONCE, frames))
        luma = np.asarray(film.store.array[chunk]).astype(np.float32) @ LUMA
        brightness[chunk] = luma.mean(axis=(1, 2))
        contrast[chunk] = luma.std(axis=(1, 2))
        change = np.diff(luma, axis=0, prepend=luma[:1] if last is None else last)
        motion[chunk] = np.sqrt(np.square(change).mean(axis=(1, 2)))
        last = luma[-1:]
    lengths = np.empty(frames)
    for shot in film.shots:
        motion[shot.start] = np.nan
        lengths[shot.start : shot.stop] = film.seconds(shot.start, shot.stop)
    return {
        "brightness": brightness,
        "contrast": contrast,
        "motion": motion,
        "shot length": lengths,
    }


def slice_scores(
    properties: Mapping[str, Values],
    scores: Mapping[str, Values],
    frames: Frames,
    ratios: Container[str] = (),
) -> list[Slice]:
    """Scores of some frames by fifths of each property; `ratios` are metrics with geometric means.

    The fifths are those of the whole film, so that seen and held-out frames are sliced alike. A
    fifth without any of the frames is left out, as is a property that is the same everywhere.
    """
    found = []
    for name, values in properties.items():
        every = values[np.isfinite(values)]
        # If each shot is a single frame, the motion of no frame is known.
        edges = np.unique(np.quantile(every, np.linspace(0, 1, FIFTHS + 1))) if len(every) else ()
        if len(edges) < 2:
            continue
        at = values[frames]
        known = np.isfinite(at)
        which = np.full(len(frames), -1)
        which[known] = np.searchsorted(edges[1:-1], at[known], side="right")
        for number in range(len(edges) - 1):
            inside = frames[which == number]
            if len(inside):
                found.append(
                    Slice(
                        by=name,
                        lowest=float(values[inside].min()),
                        highest=float(values[inside].max()),
                        frames=len(inside),
                        scores={
                            metric: mean_of(all_[inside], metric in ratios)
                            for metric, all_ in scores.items()
                        },
                    )
                )
    return found


class ShotSpread:
    """How much frames change within each shot, in the film and in its reconstruction.

    Each shot gets the standard deviation over its frames, averaged over pixels and channels, in
    8-bit levels. Frames are added in order, and only one shot's sums are in memory.
    """

    def __init__(self, film: Film, device: torch.device) -> None:
        self._film, self._device = film, device
        self._shots = iter(film.shots)
        self._shot: Shot = next(self._shots)
        self._sums = _Sums(), _Sums()
        self._spreads: list[tuple[int, float, float]] = []

    def add(self, indices: slice, reconstructed: Tensor) -> None:
        """Add frames to the sums of their shots."""
        originals = film_batch(self._film, indices, self._device)
        start = indices.start
        while start < indices.stop:
            stop = min(indices.stop, self._shot.stop)
            inside = slice(start - indices.start, stop - indices.start)
            for sums, frames in zip(self._sums, (originals, reconstructed), strict=True):
                sums.add(frames[inside] * 255)
            if stop == self._shot.stop:
                source, decoded = (sums.spread() for sums in self._sums)
                self._spreads.append((len(self._shot), source, decoded))
                self._sums = _Sums(), _Sums()
                self._shot = next(self._shots, self._shot)
            start = stop

    def collapse(self, only_still: bool) -> SpreadWithinShots | None:
        """Mean spreads of all shots with several frames, or of the stillest quarter of them."""
        spreads = sorted(
            (source, decoded)
            for frames, source, decoded in self._spreads
            if frames > 1 and source > 0
        )
        if only_still:
            spreads = spreads[: -(-len(spreads) // STILL_QUARTER)]
        if not spreads:
            return None
        source, decoded = np.mean(spreads, axis=0).tolist()
        return SpreadWithinShots(
            shots=len(spreads),
            source_spread=source,
            reconstructed_spread=decoded,
            ratio=decoded / source,
        )


class _Sums:
    """Running mean and sum of squared deviations of frames, per pixel (Welford, 1962)."""

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
        difference = mean - self._mean
        self._mean = self._mean + difference * (count / total)
        self._squares = (
            self._squares + squares + difference.square() * (self._count * count / total)
        )
        self._count = total

    def spread(self) -> float:
        return float((self._squares / self._count).sqrt().mean())


@torch.inference_mode()
def score_plain_frames(
    model: Autoencoder, quantiser: Quantiser, metrics: Sequence[Metric], device: torch.device
) -> list[PlainFrame]:
    """Reconstruct a black, a grey and a white frame, each alone, and score them."""
    found = []
    for name, level in PLAIN_LEVELS.items():
        sampling = Sampling.of(model)
        shape = sampling.frames, 3, model.size.height, model.size.width
        frames = torch.full(shape, level / 255, device=device)
        flat = quantiser.round_trip(encode_samples(model, sampling.shaped(frames)))
        latent = flat.unflatten(1, latent_spec(model).shape)
        decoded = round_to_8_bits(middle_frames(checked_decode(model, latent)))
        frame = frames[:1]
        levels = decoded[0].flatten(1) * 255
        red, green, blue = levels.mean(dim=1).tolist()
        still = [metric for metric in metrics if not isinstance(metric, TemporalMetric)]
        scores = score_pairs([(frame, decoded)], [0], still)
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


@torch.inference_mode()
def batch_dependence(
    model: Autoencoder, film: Film, quantiser: Quantiser, device: torch.device
) -> BatchDependence:
    """Encode and decode frames of a film in a batch and alone, and compare."""
    samples = samples_of(film, model)
    count = min(samples_per_batch(samples.sampling), len(samples))
    # Spread over the film: neighbours are too similar.
    spread = np.arange(count) * len(samples) // count
    together = sample_batch(film, samples, spread, device)
    codes = model.encode(together)
    decoded = round_to_8_bits(model.decode(codes))
    largest, levels, differing, values = 0.0, 0, 0, 0
    # A dimension that is constant over the film has no range; the widest is used for it.
    ranges = quantiser.step * (2**quantiser.bits - 1)
    ranges = torch.where(ranges > 0, ranges, ranges.max()) if len(ranges) else ranges
    alone = min(FRAMES_ALONE, count)
    for index in range(alone):
        code = model.encode(together[index : index + 1])
        change = (code - codes[index : index + 1]).float().flatten(1).abs()
        relative = torch.where(change > 0, change / ranges.clamp_min(1e-12), change)
        largest = max(largest, float(relative.max()) if relative.numel() else 0.0)
        off = (round_to_8_bits(model.decode(code)) - decoded[index : index + 1]).abs() * 255
        levels = max(levels, round(float(off.max())))
        differing += int((off > 1.5).sum())
        values += off.numel()
    return BatchDependence(
        frames=alone, latent_difference=largest, levels=levels, differing=differing / values
    )
