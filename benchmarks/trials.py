"""Trainings for a table: models on films with seeds and options, side by side, each on one core.

Earlier trainings are found again, so that an interrupted table is resumed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from zoo.api.autoencoder import Autoencoder
from zoo.base import devices
from zoo.base.numbers import counted
from zoo.base.records import Part
from zoo.base.workspace import Workspace
from zoo.evaluation.codec_runs import codec_config, ensure_encoded, evaluate_codec
from zoo.evaluation.inference import (
    batch_slices,
    encode_film,
    reconstruct_frames,
    round_to_8_bits,
    samples_of,
)
from zoo.evaluation.latents import Quantiser
from zoo.evaluation.metrics import MetricSet, score_reconstruction
from zoo.evaluation.model_summary import decoder_bytes
from zoo.films.catalogue import Catalogue
from zoo.films.ingest import open_film
from zoo.films.ingested_film import Film
from zoo.plugins.registry import registry
from zoo.training.settings import Settings
from zoo.training.trained_models import ensure_trained, load_model

PARTS: tuple[Part, ...] = ("seen", "held_out")
CLIPS = ("bikes", "bigbuckbunny", "carphone")
TUNING = (
    "\nThese are tuning films: defaults of the models were chosen on them, held-out frames "
    "included.\n"
)


@dataclass(frozen=True)
class Trial:
    """One model, trained on one film from one seed with options of its own."""

    model: str
    film: str
    seed: int = 0
    options: tuple[tuple[str, str], ...] = ()
    preset: str = "quick"
    size: str | None = None
    latent: int | None = None
    budget: str | None = None
    batch: int | None = None
    holdout: float = 0.1

    def settings(self, device: str) -> Settings:
        """The options that `zoo train` would get."""
        return Settings.choose(
            self.preset,
            size=self.size,
            latent=self.latent,
            budget=self.budget,
            batch=self.batch,
            threads=1 if device == "cpu" else None,
            seed=self.seed,
            device=device,
            options=dict(self.options),
        )


@dataclass(frozen=True)
class Outcome:
    """The scores and sizes of a trial."""

    trial: Trial
    seen: dict[str, float] = field(default_factory=dict)
    """Mean over the frames that were trained on, by metric."""
    held_out: dict[str, float] = field(default_factory=dict)
    everywhere: dict[str, float] = field(default_factory=dict)
    """Mean over all frames of the film."""
    spread: float = 0.0
    """Standard deviation over frames, averaged over pixels: reconstructions' over originals'."""
    decoder_numbers: int = 0
    """How many numbers a reconstruction needs in addition to the latent."""
    bytes_per_frame: float = 0.0
    """Size of the film's latents, or of its stream, after lossless coding."""


def conduct(
    trials: Sequence[Trial], work: Path, workers: int, device: str = "cpu"
) -> Iterator[Outcome]:
    """Train and score every trial in `work`, in their order, `workers` at a time."""
    work.mkdir(parents=True, exist_ok=True)
    if workers == 1:
        yield from (attempt(trial, work, device) for trial in trials)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(attempt, trials, [work] * len(trials), [device] * len(trials))


def attempt(trial: Trial, work: Path, device: str) -> Outcome:
    """Train what is not trained yet and score it."""
    settings = trial.settings(device)
    film, model = trained(trial, work, device)
    metric_set = _metric_set(settings)
    encoded = encode_film(model, film, settings.device)
    latents = encoded.quantised(Quantiser.spanning(encoded.numbers))
    samples = samples_of(film, model)
    pictures = (
        reconstruct_frames(model, samples, frames, latents) for frames in batch_slices(film)
    )
    scores = score_reconstruction(film, pictures, metric_set.metrics, latents.levels.device)
    drawn = np.empty(film.store.array.shape, dtype=np.uint8)
    with torch.inference_mode():
        for indices in batch_slices(film):
            shown = round_to_8_bits(model.decode(latents.dequantised(indices))) * 255
            drawn[indices] = shown.round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return Outcome(
        trial,
        seen=_means(scores, film.split.seen),
        held_out=_means(scores, film.split.held_out),
        everywhere=_means(scores, np.arange(len(film))),
        spread=_spread(drawn) / _spread(film.store.array),
        decoder_numbers=decoder_bytes(model, latents.dequantised(slice(0, 1))) // 4,
        bytes_per_frame=latents.bytes_per_frame,
    )


def trained(trial: Trial, work: Path, device: str) -> tuple[Film, Autoencoder]:
    """A trial's film and its model, trained if it was not yet."""
    workspace, settings = Workspace(work), trial.settings(device)
    settings.pin_threads()
    film = _film_of(trial, settings, workspace)
    config = settings.config(registry().architecture(trial.model), film)
    folder = ensure_trained(workspace, config, film, settings.device)
    return film, load_model(folder, config, settings.device)


def coded(codec: str, trial: Trial, work: Path, device: str = "cpu") -> Outcome:
    """Code a trial's film by a codec at the bytes of its latents; no model is trained."""
    workspace, settings = Workspace(work), trial.settings(device)
    settings.pin_threads()
    film = _film_of(trial, settings, workspace)
    config = codec_config(registry().codecs[codec], film, settings)
    folder = ensure_encoded(workspace, config, film)
    record = evaluate_codec(workspace, folder, config, film, _metric_set(settings), settings.device)
    means = {
        part: {
            name: mean
            for name, found in record.scores.items()
            if part in found and (mean := found[part].mean) is not None
        }
        for part in PARTS
    }
    assert record.latent and record.latent.coded_bytes
    return Outcome(
        trial,
        seen=means["seen"],
        held_out=means["held_out"],
        bytes_per_frame=record.latent.coded_bytes,
    )


def _film_of(trial: Trial, settings: Settings, workspace: Workspace) -> Film:
    (entry,) = Catalogue.open(workspace).choose(trial.film)
    return open_film(entry, settings.size, workspace, holdout=trial.holdout)


def _metric_set(settings: Settings) -> MetricSet:
    metric_set = MetricSet.load(settings.device)
    if metric_set.unavailable:
        raise SystemExit(f"not every metric can be measured: {metric_set.unavailable}")
    return metric_set


def _means(scores: dict[str, np.ndarray], frames: np.ndarray) -> dict[str, float]:
    if not len(frames):
        return {}
    return {name: float(values[frames].mean()) for name, values in scores.items()}


def _spread(frames: np.ndarray) -> float:
    """Standard deviation over frames, averaged over pixels and colours."""
    return float(np.asarray(frames).astype(np.float32).std(axis=0).mean())


def parser(description: str) -> argparse.ArgumentParser:
    """Arguments that every table takes."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--films", default=",".join(CLIPS), help="names, separated by commas")
    arguments.add_argument("--seeds", type=int, default=1, help="seeds, from 0 up")
    arguments.add_argument("--budget", help="as for `zoo train`; the preset's otherwise")
    arguments.add_argument("--workers", type=int, default=2, help="trainings at once")
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--work", type=Path, required=True, help="folder for films and runs")
    arguments.add_argument("--out", type=Path, help="file for the table; it is printed anyway")
    return arguments


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown: the first column to the left, the others to the right."""
    lines = [headings, [":--", *["--:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def spread_of(values: Sequence[float], digits: int) -> str:
    """A median with its range, or the one value that there is."""
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def provenance(arguments: argparse.Namespace) -> str:
    """The command and the machine, as a line under a table."""
    device = devices.choose_device(arguments.device)
    where = devices.describe(device, devices.default_precision(device))
    words = [Path(sys.argv[0]).stem, *sys.argv[1:]]
    shown = {str(arguments.work): "DIR", str(arguments.out): "FILE"}
    # A film given by its path is shown by its name, because folders are private.
    shown |= {word: Path(word).name for word in words if "/" in word and word not in shown}
    command = " ".join(shown.get(word, word) for word in words)
    return (
        f"\n`python -m benchmarks.{command}` on {where.device_name}, torch {where.torch}, "
        f"{counted(arguments.workers, 'training')} at once.\n{_tuning(arguments)}"
    )


def _tuning(arguments: argparse.Namespace) -> str:
    """Return a note if defaults were chosen on all of these films, else an empty string."""
    films = getattr(arguments, "films", None) or ",".join(CLIPS)
    tuned = {film for model in registry().models.values() for film in model.tuned_on}
    return TUNING if set(films.split(",")) <= tuned else ""


def publish(text: str, out: Path | None) -> None:
    """Print a table, and write it to `out` if given."""
    print(text)  # noqa: T201 - what the command is run for
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
