"""Validation during training: PSNR and LPIPS of a few fixed frames, held out and seen.

Latents are not quantised and the frames are few: these scores show how training goes, and the
evaluation of the whole film gives the result. Scoring leaves every random generator unchanged.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo.api.autoencoder import Autoencoder
from zoo.api.recipe_and_events import METRIC_FORMATS, Score, Values
from zoo.api.samples_and_latents import Indices, Sampling, flat_frames, middle_frames
from zoo.base.atomic_files import atomic_write
from zoo.base.network import without_network
from zoo.evaluation.inference import check_latents, checked_decode, film_batch, round_to_8_bits
from zoo.evaluation.metrics import MetricSet, score_pairs
from zoo.films.ingested_film import Film
from zoo.plugins.registry import registry
from zoo.training.training_frames import runs_within_shots

FRAMES = 8
"""How many frames of each part are scored; all, if it has fewer."""
COLUMNS = 6
"""Frames side by side in a preview: half seen, half held out, if any are held out."""
SECONDS_BEFORE_LPIPS = 120.0
"""LPIPS is scored from then on: loading it takes a second or two, much of a short training."""
MEAN_OF = 256
"""Training frames whose mean is taken as a film's mean frame."""
DISTORTION, PERCEPTUAL = "psnr", "lpips"
WORSE_BY = {DISTORTION: 0.2, PERCEPTUAL: 0.01}
"""How far a score must be from the best to count as worse, in the metric's unit."""
WORSE_FOR = 4
"""Worse scores in a row before a message is given."""

Strip = tuple[Tensor, Tensor]
"""Frames and their reconstructions, (N, 3, H, W) each: seen frames, then held-out ones."""


@dataclass(frozen=True)
class Part:
    """Fixed samples of one part of a film."""

    samples: Tensor
    """In the form that `encode` takes."""
    originals: Tensor
    """The frames to reconstruct from them: float (N, 3, H, W) in [0, 1]."""
    middles: Tensor
    """One frame of each sample, for previews."""


class Scorer:
    """Reconstructs the same few frames again and again, and scores them."""

    def __init__(self, film: Film, sampling: Sampling, device: torch.device) -> None:
        self.device = device
        self.parts = {
            name: _part(film, indices, sampling, device)
            for name, indices in (("seen", film.split.seen), ("held_out", film.split.held_out))
            if len(indices)
        }
        self._metrics = _ready(DISTORTION, device).metrics
        self._tried_lpips = False
        self.unavailable: str | None = None
        """Why LPIPS is not scored; None until that is known."""

    def add_lpips(self) -> None:
        """Score LPIPS from now on if its weights are on this machine; nothing is downloaded."""
        if self._tried_lpips:
            return
        self._tried_lpips = True
        with preserve_rng_state(self.device), without_network("nothing is fetched meanwhile"):
            metric_set = _ready(PERCEPTUAL, self.device)
        self._metrics += metric_set.metrics
        self.unavailable = metric_set.unavailable.get(PERCEPTUAL)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, step: int) -> tuple[Score, Strip]:
        """Score a model in evaluation mode; also returns the strip for its preview."""
        values: dict[str, Values] = {}
        originals, reconstructions = [], []
        with preserve_rng_state(self.device):
            for name, part in self.parts.items():
                latents = model.encode(part.samples)
                check_latents(model, latents, len(part.samples))
                reconstructed = round_to_8_bits(checked_decode(model, latents))
                values[name] = self._means(part.originals, flat_frames(reconstructed))
                shown = _spread(len(part.middles), COLUMNS // len(self.parts))
                originals.append(part.middles[shown])
                reconstructions.append(middle_frames(reconstructed)[shown])
        return Score(step, values), (torch.cat(originals), torch.cat(reconstructions))

    @torch.no_grad()
    def of_reference(self, model: Autoencoder) -> dict[str, Values]:
        """Return the scores, by part, of a single-frame model on the same frames."""
        return {
            name: self._means(
                part.originals,
                round_to_8_bits(checked_decode(model, model.encode(part.originals))),
            )
            for name, part in self.parts.items()
        }

    def final(self, score: Score, film: Film) -> dict[str, dict[str, float]]:
        """A score for run.json, with the score of the mean frame beside it."""
        values = {**score.values, "mean_frame": self._mean_frame(film)}
        return {part: dict(each) for part, each in values.items()}

    @torch.no_grad()
    def _mean_frame(self, film: Film) -> Values:
        """Score the mean of some training frames in place of each held-out (or else seen) frame."""
        part = self.parts.get("held_out") or self.parts["seen"]
        averaged = film.split.seen[_spread(len(film.split.seen), MEAN_OF)]
        pixels = film.store.array[averaged].mean(axis=0, dtype=np.float64) / 255
        mean = torch.from_numpy(pixels).to(self.device, torch.float32).permute(2, 0, 1)
        return self._means(part.originals, round_to_8_bits(mean.expand_as(part.originals)))

    def _means(self, originals: Tensor, reconstructions: Tensor) -> Values:
        scores = score_pairs([(originals, reconstructions)], [0], self._metrics)
        means = {name: float(np.mean(values)) for name, values in scores.items()}
        return {name: mean for name, mean in means.items() if math.isfinite(mean)}


class OverfittingMonitor:
    """Detects that scores of held-out frames have been getting worse, and reports it once.

    It uses PSNR until LPIPS is scored, and then LPIPS: a model with a discriminator may lose some
    PSNR while its reconstructions get better.
    """

    def __init__(self, earlier: Sequence[Score] = ()) -> None:
        """`earlier` are the scores from before the training was resumed."""
        self._best: dict[str, tuple[int, float]] = {}
        self._worse: dict[str, int] = {}
        for score in earlier:
            self.add(score)

    def add(self, score: Score) -> str | None:
        """Add a score; returns a message if there is something new to report."""
        values = score.values.get("held_out", {})
        messages = {
            name: self._add(name, score.step, value)
            for name, value in values.items()
            if name in WORSE_BY
        }
        return messages.get(PERCEPTUAL if PERCEPTUAL in values else DISTORTION)

    def _add(self, metric: str, step: int, value: float) -> str | None:
        label, form, unit = METRIC_FORMATS[metric]
        sign = -1.0 if metric == PERCEPTUAL else 1.0
        at, best = self._best.setdefault(metric, (step, value))
        if sign * (value - best) >= 0:
            self._best[metric], self._worse[metric] = (step, value), 0
        elif sign * (best - value) > WORSE_BY[metric]:
            self._worse[metric] = self._worse.get(metric, 0) + 1
            if self._worse[metric] == WORSE_FOR:
                return (
                    f"held-out frames have been getting worse since step {at:,}: {label} was "
                    f"{best:{form}}{unit} there and is {value:{form}}{unit} at step {step:,}; "
                    "training goes on"
                )
        elif self._worse.get(metric, 0) < WORSE_FOR:
            self._worse[metric] = 0
        return None


def write_preview(path: Path, originals: Tensor, reconstructions: Tensor) -> None:
    """Write originals over reconstructions, (N, 3, H, W) in [0, 1] each, as one PNG."""
    rows = [torch.cat(list(batch), dim=2) for batch in (originals, reconstructions)]
    picture = (torch.cat(rows, dim=1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    with atomic_write(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


@contextmanager
def preserve_rng_state(device: torch.device) -> Iterator[None]:
    """Restore the state of Python's, numpy's and torch's default generators after the block."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    devices = [device.index or 0] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def spread_samples(film: Film, indices: Indices, sampling: Sampling, frames: int) -> Indices:
    """Samples (M, K) of about `frames` frames, spread evenly over `indices`.

    No sample crosses a cut or contains a frame outside `indices`.
    """
    samples = sampling.samples(runs_within_shots(film, indices))
    return indices[samples[_spread(len(samples), sampling.samples_in(frames))]]


def _spread(count: int, wanted: int) -> Indices:
    """At most `wanted` numbers, spread evenly over [0, count)."""
    wanted = min(wanted, count)
    return np.linspace(0, count - 1, 2 * wanted + 1).round().astype(np.int64)[1::2]


def _part(film: Film, indices: Indices, sampling: Sampling, device: torch.device) -> Part:
    chosen = spread_samples(film, indices, sampling, FRAMES)
    samples = sampling.shaped(film_batch(film, chosen.reshape(-1), device))
    return Part(samples, sampling.target_frames(samples), sampling.target_frame(samples))


def _ready(metric: str, device: torch.device) -> MetricSet:
    """A loaded metric, or why it is unavailable; empty if no plugin provides it."""
    return MetricSet.load(device, metric) if metric in registry().metrics else MetricSet([], {}, [])
