"""A model watches a film: every frame is encoded, stored in 8 bits a number, and drawn again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zoo.autoencoder import Autoencoder
from zoo.evaluation.quantise import Quantiser
from zoo.films.film import Film
from zoo.metric import Metric, Unavailable
from zoo.plugins import registry

BATCH = 32


@dataclass(frozen=True)
class Latents:
    """A film in numbers."""

    levels: Tensor
    """uint8 (N, L), in the film's order."""
    shape: tuple[int, ...]
    """Of one frame's latent as the model gives it."""
    quantiser: Quantiser

    def restored(self, indices: slice) -> Tensor:
        """What `decode` gets for those frames: float32 (B, ...)."""
        return self.quantiser.latents(self.levels[indices]).unflatten(1, self.shape)


def film_batch(film: Film, indices: slice | Sequence[int], device: torch.device) -> Tensor:
    """Frames of a film: float (B, 3, H, W) in [0, 1], channels last, on the device."""
    frames = torch.from_numpy(np.array(film.store.array[indices]))
    return frames.to(device).permute(0, 3, 1, 2).float() / 255


def batches(film: Film) -> Iterator[slice]:
    """The whole film in order, a batch at a time."""
    for start in range(0, len(film), BATCH):
        yield slice(start, min(start + BATCH, len(film)))


@torch.inference_mode()
def encode_film(model: Autoencoder, film: Film, device: torch.device) -> Latents:
    """Encode every frame and quantise over the range that this film spans."""
    parts = []
    shape: tuple[int, ...] = ()
    for indices in batches(film):
        latent = model.encode(film_batch(film, indices, device))
        shape = tuple(latent.shape[1:])
        parts.append(latent.float().flatten(1))
    latents = torch.cat(parts)
    quantiser = Quantiser.spanning(latents)
    return Latents(quantiser.levels(latents), shape, quantiser)


def as_shown(drawn: Tensor) -> Tensor:
    """Clamp to [0, 1] and round to 8 bits: what a screen would show, as floats."""
    return (drawn.float().clamp(0, 1) * 255).round() / 255


@torch.inference_mode()
def score_film(
    model: Autoencoder, film: Film, latents: Latents, metrics: Sequence[Metric]
) -> dict[str, np.ndarray]:
    """Every metric on every frame that a model draws: float64 (N,) a metric."""
    drawn = (as_shown(model.decode(latents.restored(indices))) for indices in batches(film))
    return score_drawn(film, drawn, metrics, latents.levels.device)


@torch.inference_mode()
def score_drawn(
    film: Film, batches_drawn: Iterable[Tensor], metrics: Sequence[Metric], device: torch.device
) -> dict[str, np.ndarray]:
    """Every metric on every frame: float64 (N,) a metric.

    `batches_drawn` are the film's `batches` in order, as they would be shown: (B, 3, H, W).
    """
    scores: dict[str, list[Tensor]] = {metric.name: [] for metric in metrics}
    for indices, drawn in zip(batches(film), batches_drawn, strict=True):
        originals = film_batch(film, indices, device)
        for metric in metrics:
            scores[metric.name].append(metric(originals, drawn))
    return {name: torch.cat(parts).double().cpu().numpy() for name, parts in scores.items()}


@dataclass(frozen=True)
class Judges:
    """The metrics of this installation: those that can be measured here, and why others cannot."""

    metrics: list[Metric]
    unavailable: dict[str, str]

    @classmethod
    def open(cls, device: torch.device) -> Judges:
        """Make every metric ready on the device."""
        metrics: list[Metric] = []
        unavailable = {}
        for name, metric in registry().metrics.items():
            try:
                metrics.append(metric(device))
            except Unavailable as reason:
                unavailable[name] = str(reason)
            except (Exception, SystemExit) as error:
                # A stranger's metric that fails costs its own column and no other.
                unavailable[name] = " ".join(f"{type(error).__name__}: {error}".split())
        return cls(metrics, unavailable)
