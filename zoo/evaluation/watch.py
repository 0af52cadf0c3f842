"""A model watches a film: every frame is encoded, stored in 8 bits a number, and drawn again."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo.autoencoder import Autoencoder
from zoo.errors import BadInput, ZooError
from zoo.evaluation.scoring import score_pairs
from zoo.films.film import Film
from zoo.latents.latents import Encoded, Latents
from zoo.metric import Metric, Unavailable
from zoo.plain_text import error_line
from zoo.plugins import registry

BATCH = 32

Pixels = npt.NDArray[np.uint8]


def film_batch(film: Film, indices: slice | Sequence[int], device: torch.device) -> Tensor:
    """Frames of a film: float (B, 3, H, W) in [0, 1], channels last, on the device."""
    frames = torch.from_numpy(np.array(film.store.array[indices]))
    return frames.to(device).permute(0, 3, 1, 2).float() / 255


def batches(film: Film) -> Iterator[slice]:
    """The whole film in order, a batch at a time."""
    for start in range(0, len(film), BATCH):
        yield slice(start, min(start + BATCH, len(film)))


@torch.inference_mode()
def encode_film(model: Autoencoder, film: Film, device: torch.device) -> Encoded:
    """Encode every frame; raises ZooError if a latent is not finite."""
    parts = []
    shape: tuple[int, ...] = ()
    for indices in batches(film):
        latent = model.encode(film_batch(film, indices, device))
        shape = tuple(latent.shape[1:])
        parts.append(latent.float().flatten(1))
    numbers = torch.cat(parts)
    if not numbers.isfinite().all():
        raise ZooError("the model gives latents that are not finite")
    return Encoded(numbers, shape)


def as_shown(drawn: Tensor) -> Tensor:
    """Clamp to [0, 1] and round to 8 bits: what a screen would show, as floats."""
    return (drawn.float().clamp(0, 1) * 255).round() / 255


@torch.inference_mode()
def drawn(model: Autoencoder, latents: Tensor) -> Pixels:
    """What a model draws from latents (N, ...), as it would be shown: uint8 (N, H, W, 3), RGB."""
    shown = as_shown(model.decode(latents)) * 255
    return shown.round().byte().permute(0, 2, 3, 1).cpu().numpy()


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
    """Every metric on every frame: float64 (N,) a metric, NaN where it is not defined.

    `batches_drawn` are the film's `batches` in order, as they would be shown: (B, 3, H, W).
    """
    originals = (film_batch(film, indices, device) for indices in batches(film))
    firsts = [shot.start for shot in film.shots]
    return score_pairs(zip(originals, batches_drawn, strict=True), firsts, metrics)


@dataclass(frozen=True)
class Judges:
    """The metrics of this installation: those that can be measured here, and why others cannot."""

    metrics: list[Metric]
    unavailable: dict[str, str]
    """The reason by the metric's name."""
    asked: list[type[Metric]]
    """Both: every metric that was asked for."""

    @classmethod
    def open(cls, device: torch.device, metrics: str = "default") -> Judges:
        """Make metrics ready on the device: `default`, `all`, or names between commas.

        Raises BadInput on a name that no metric has, or on none.
        """
        ready: list[Metric] = []
        unavailable = {}
        asked = _asked(metrics)
        for name, metric in asked.items():
            try:
                ready.append(metric(device))
            except Unavailable as reason:
                unavailable[name] = str(reason)
            except (Exception, SystemExit) as error:
                # A stranger's metric that fails costs its own column and no other.
                unavailable[name] = error_line(error)
        return cls(ready, unavailable, list(asked.values()))


def _asked(text: str) -> dict[str, type[Metric]]:
    """Metrics by name, in the order of the registry."""
    known = registry().metrics
    words = {word.strip() for word in text.split(",") if word.strip()}
    if not words:
        raise BadInput(f"no metric is named; there are: {', '.join(known)}")
    for word in sorted(words - {"default", "all"} - known.keys()):
        close = difflib.get_close_matches(word, [*known, "default", "all"], n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise BadInput(
            f"no metric is called {word!r}{hint}; there are: {', '.join(known)}, and the words "
            "default and all"
        )
    return {
        name: metric
        for name, metric in known.items()
        if "all" in words or name in words or ("default" in words and metric.default)
    }
