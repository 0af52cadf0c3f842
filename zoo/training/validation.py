"""Scores while a model trains: how well it reconstructs a few fixed frames, held out and seen.

The latents are not quantised, and the frames are few: these numbers say how training goes, and the
evaluation of the whole film says what came of it. Scoring leaves every random generator as it was.
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
from zoo.api.sampling import Indices, Sampling, flat_frames, middle_frames
from zoo.base.offline import without_network
from zoo.base.workspace import written_aside
from zoo.evaluation.inference import check_latents, checked_decode, film_batch, round_to_8_bits
from zoo.evaluation.metrics import MetricSet, score_pairs
from zoo.films.film import Film
from zoo.plugins.registry import registry
from zoo.training.callbacks import METRICS, Score, Values

COLUMNS = 6
"""Frames side by side: half of them seen, half held out, where there are held-out frames."""


def write_preview(path: Path, originals: Tensor, drawn: Tensor) -> None:
    """Write frames over what became of them, (N, 3, H, W) in [0, 1] each, as one PNG."""
    rows = [torch.cat(list(batch), dim=2) for batch in (originals, drawn)]
    picture = (torch.cat(rows, dim=1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    with written_aside(path) as aside:
        Image.fromarray(picture).save(aside, format="PNG")


FRAMES = 8
"""Frames of each part that are scored; of a film that has fewer, all."""
SECONDS_BEFORE_LPIPS = 120.0
"""Making it ready takes a second or two, which would be much of a short training."""
MEAN_OF = 256
"""Training frames whose mean stands for the mean frame of a film."""
DISTORTION, PERCEPTUAL = "psnr", "lpips"
WORSE_BY = {DISTORTION: 0.2, PERCEPTUAL: 0.01}
"""How far below the best a score is worse, in the metric's own unit."""
WORSE_FOR = 4
"""Scores in a row that are worse than the best before it is said."""
Strip = tuple[Tensor, Tensor]
"""Frames and their reconstructions, (N, 3, H, W) each: seen ones, then held-out ones."""


@dataclass(frozen=True)
class Part:
    """Fixed samples of one part of a film."""

    samples: Tensor
    """As `encode` takes them."""
    originals: Tensor
    """The frames that are drawn of them: float (N, 3, H, W) in [0, 1]."""
    middles: Tensor
    """One frame of each sample, as previews show it."""


class Scorer:
    """Reconstructs the same few frames over and over, and scores them."""

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
        """Why LPIPS is not scored, once that is known."""

    def add_lpips(self) -> None:
        """Score LPIPS from now on, where its weights lie on this machine; nothing is fetched."""
        if self._tried_lpips:
            return
        self._tried_lpips = True
        with untouched_generators(self.device), without_network("nothing is fetched meanwhile"):
            metric_set = _ready(PERCEPTUAL, self.device)
        self._metrics += metric_set.metrics
        self.unavailable = metric_set.unavailable.get(PERCEPTUAL)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, step: int) -> tuple[Score, Strip]:
        """Score a model in evaluation mode; also returns what a preview shows of it."""
        values: dict[str, Values] = {}
        originals, drawn = [], []
        with untouched_generators(self.device):
            for name, part in self.parts.items():
                latents = model.encode(part.samples)
                check_latents(model, latents, len(part.samples))
                reconstructed = round_to_8_bits(checked_decode(model, latents))
                values[name] = self._scored(part.originals, flat_frames(reconstructed))
                some = _spread(len(part.middles), COLUMNS // len(self.parts))
                originals.append(part.middles[some])
                drawn.append(middle_frames(reconstructed)[some])
        return Score(step, values), (torch.cat(originals), torch.cat(drawn))

    def final(self, score: Score, film: Film) -> dict[str, dict[str, float]]:
        """A score as run.json has it, with that of the mean frame beside it."""
        values = {**score.values, "mean_frame": self._mean_frame(film)}
        return {part: dict(each) for part, each in values.items()}

    @torch.no_grad()
    def _mean_frame(self, film: Film) -> Values:
        """What the mean of some training frames scores in place of each held-out frame."""
        part = self.parts.get("held_out") or self.parts["seen"]
        some = film.split.seen[_spread(len(film.split.seen), MEAN_OF)]
        pixels = film.store.array[some].mean(axis=0, dtype=np.float64) / 255
        mean = torch.from_numpy(pixels).to(self.device, torch.float32).permute(2, 0, 1)
        return self._scored(part.originals, round_to_8_bits(mean.expand_as(part.originals)))

    def _scored(self, originals: Tensor, drawn: Tensor) -> Values:
        found = score_pairs([(originals, drawn)], [0], self._metrics)
        means = {name: float(np.mean(values)) for name, values in found.items()}
        return {name: mean for name, mean in means.items() if math.isfinite(mean)}


class Decline:
    """Notices when held-out frames have been getting worse, and says so once.

    By LPIPS as soon as it is scored, else by PSNR: a model with an adversary may lose a little PSNR
    while its pictures get better.
    """

    def __init__(self, earlier: Sequence[Score] = ()) -> None:
        """`earlier` are scores of the same training from before it was resumed."""
        self._best: dict[str, tuple[int, float]] = {}
        self._worse: dict[str, int] = {}
        for score in earlier:
            self.line(score)

    def line(self, score: Score) -> str | None:
        """What there is to say after one more score; None where it is nothing new."""
        values = score.values.get("held_out", {})
        lines = {
            name: self._of(name, score.step, value)
            for name, value in values.items()
            if name in WORSE_BY
        }
        return lines.get(PERCEPTUAL if PERCEPTUAL in values else DISTORTION)

    def _of(self, metric: str, step: int, value: float) -> str | None:
        label, form, unit = METRICS[metric]
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


@contextmanager
def untouched_generators(device: torch.device) -> Iterator[None]:
    """Put Python's, numpy's and torch's default generators back as they were."""
    numbers, arrays = random.getstate(), np.random.get_state()
    devices = [device.index or 0] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(numbers)
        np.random.set_state(arrays)


def spread_samples(film: Film, indices: Indices, sampling: Sampling, frames: int) -> Indices:
    """Samples (M, K) of about so many frames, evenly spread over those of `indices`.

    No sample reaches over a cut or to a frame that is not among them.
    """
    shot = np.searchsorted([shot.start for shot in film.shots], indices, side="right")
    edges = np.flatnonzero((np.diff(indices) != 1) | (np.diff(shot) != 0)) + 1
    runs = [range(int(run[0]), int(run[-1]) + 1) for run in np.split(indices, edges)]
    samples = sampling.samples(runs)
    return samples[_spread(len(samples), sampling.samples_in(frames))]


def _spread(count: int, wanted: int) -> Indices:
    """Numbers evenly spread over [0, count), at most so many."""
    wanted = min(wanted, count)
    return np.linspace(0, count - 1, 2 * wanted + 1).round().astype(np.int64)[1::2]


def _part(film: Film, indices: Indices, sampling: Sampling, device: torch.device) -> Part:
    chosen = spread_samples(film, indices, sampling, FRAMES)
    samples = sampling.shaped(film_batch(film, chosen.reshape(-1), device))
    return Part(samples, sampling.frames_drawn(samples), sampling.frame_drawn(samples))


def _ready(metric: str, device: torch.device) -> MetricSet:
    """A metric made ready, or why it is not; nothing of one that no plugin brings."""
    return MetricSet.load(device, metric) if metric in registry().metrics else MetricSet([], {}, [])
