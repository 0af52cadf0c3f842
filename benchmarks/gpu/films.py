"""Stage `films`: train models in the time left; write records, strips and short videos.

References put the scores in perspective: principal components with as many numbers as the models'
latents, and codecs at as many bytes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.gpu.coding import Coding
from benchmarks.gpu.material import (
    architectures,
    ingested,
    main_part,
    metric_set,
    settings,
    trained_model_of,
)
from benchmarks.gpu.stages import read_stage, stage_file
from benchmarks.gpu.worker import Here, Work
from zoo.api.film_entry import FilmEntry
from zoo.base.atomic_files import atomic_write, write_json
from zoo.base.errors import ZooError
from zoo.base.gpu_records import FilmResult, Item, MediaResult
from zoo.base.records import Record
from zoo.base.workspace import Workspace
from zoo.evaluation.codec_runs import evaluate_codec
from zoo.evaluation.evaluate import evaluate
from zoo.evaluation.metrics import MetricSet
from zoo.films.ingested_film import Film
from zoo.plugins.registry import registry
from zoo.reconstruct.model_loader import TrainedModel
from zoo.reconstruct.reconstruct_film import (
    Original,
    Panel,
    Reconstruction,
    film_range,
    reconstruct,
)
from zoo.reconstruct.video_writers import EncoderSettings
from zoo.training.run_folder import RunFolder, TrainingConfig
from zoo.training.trained_models import ensure_trained

MODELS = ("vaegan", "perceptual", "coded_pca")
FITTED = "pca"
CODECS = ("x264", "x265")
UNMEASURED = 0.5
"""Share of a model's time that is training, where no evaluation on this film was timed."""
MARGIN = 1.5
"""Time kept for everything but training, as a multiple of the longest of other models."""
FEWEST_SECONDS = 1.0
"""The shortest training."""
VIDEO_SECONDS = 8.0
COLUMNS = 6
"""Columns of a strip: frames spread evenly over the film."""
QUALITY = 85
LARGEST = 1_500_000
"""The most bytes of a picture or a video."""
COARSER = (24, 30, 36, 42)
"""Rate factors of the video; the first one that keeps it small enough is used."""


@dataclass
class Show:
    """The film on which all are compared, and the division of the remaining time."""

    here: Here
    entry: FilmEntry
    models: list[str]
    codecs: dict[str, Coding] = field(default_factory=dict)
    """Codecs that run in processes of their own."""
    fitted: TrainedModel | None = None
    """The principal components, once they are fitted."""
    evaluations: dict[str, float] = field(default_factory=dict)
    """Seconds that each model's evaluation may take, estimated from the stage `media`."""
    longest_rest: float | None = None
    """The most seconds of everything but training so far: preparations, evaluation, pictures."""

    def film(self) -> Film:
        """The film at the size of the `film` preset."""
        return ingested(self.here, self.entry, settings(self.here, "film").size)

    def metric_set(self) -> MetricSet:
        """The metrics to measure."""
        return metric_set(self.here.device, "psnr" if self.here.tiny else "default")

    def training_seconds(self, name: str) -> float:
        """How long a model may train, so that it and all after it can be evaluated as well."""
        models = self.models[self.models.index(name) :]
        left, rest = self.here.seconds_left, self.longest_rest
        if rest is None:
            return max(FEWEST_SECONDS, UNMEASURED * left / len(models))
        kept = sum(self._rest(each, rest) for each in models) + rest * len(self.codecs)
        return max(FEWEST_SECONDS, (left - kept) / len(models))

    def _rest(self, name: str, longest: float) -> float:
        """Seconds kept for everything but the training of a model."""
        if name in self.evaluations:
            return longest + self.evaluations[name]
        return MARGIN * longest

    def took(self, seconds: float) -> None:
        """Record how long everything but the training of a model took."""
        self.longest_rest = max(seconds, self.longest_rest or 0.0)


def works(here: Here) -> dict[str, Work]:
    """Items for the principal components, each model, and each available codec."""
    known = architectures(here)
    names = [name for name in MODELS if name in known] or list(known)[:1]
    show = Show(here, main_part(here), names)
    show.evaluations = evaluations(here, len(show.film()))
    for codec in (name for name in CODECS if name in registry().codecs):
        show.codecs[codec] = Coding.begin(here, show.entry, codec)
    return {
        **({FITTED: _fitted(show)} if FITTED in registry().references else {}),
        **{name: _trained(show, name) for name in names},
        **{name: _coded(show, name) for name in show.codecs},
    }


def evaluations(here: Here, frames: int) -> dict[str, float]:
    """Estimate seconds of models' evaluations on so many frames, from the stage `media`.

    They include the few steps of training before the evaluation, with their preparations.
    """
    found: dict[str, float] = {}
    if not stage_file(here.setup.out, "media").exists():
        return found
    for item in read_stage(here.setup.out, "media").items:
        result: MediaResult | None = item.result
        if result and result.task == "evaluate" and item.seconds and result.frames_per_second:
            before = item.seconds - (result.seconds or 0.0)
            found[result.subject] = before + frames / result.frames_per_second
    return found


def _fitted(show: Show) -> Work:
    def fitted(item: Item[FilmResult]) -> None:
        began = time.monotonic()
        here, film = show.here, show.film()
        config = settings(here, "film").config(registry().architecture(FITTED), film)
        folder = ensure_trained(Workspace(here.work), config, film, here.device)
        seconds = time.monotonic() - began
        item.result = _result(film, config, settings(here, "film").latent)
        item.result.train_seconds = seconds
        here.save()
        evaluated(show, item.result, film, config)
        show.fitted = trained_model_of(here, folder, config)
        draw(show, item.result, film, show.fitted)
        show.took(time.monotonic() - began - seconds)

    return fitted


def _trained(show: Show, name: str) -> Work:
    def trained(item: Item[FilmResult]) -> None:
        began = time.monotonic()
        here, film = show.here, show.film()
        budget = "8steps" if here.tiny else f"{show.training_seconds(name):.0f}s"
        chosen = settings(here, "film", budget=budget)
        config = chosen.config(architectures(here)[name], film)
        folder = ensure_trained(Workspace(here.work), config, film, here.device)
        run = folder.read()
        assert run is not None and run.training is not None, "it was trained to its end"
        taken = run.training.seconds or 0.0
        result = item.result = _result(film, config, chosen.latent)
        result.batch, result.precision = config.batch, config.precision
        result.steps, result.train_seconds = run.training.steps, taken
        result.frames_per_second = run.training.frames / taken if taken else None
        here.save()
        evaluated(show, result, film, config)
        draw(show, result, film, trained_model_of(here, folder, config))
        show.took(time.monotonic() - began - taken)

    return trained


def _coded(show: Show, name: str) -> Work:
    def coded(item: Item[FilmResult]) -> None:
        here, film = show.here, show.film()
        coding = show.codecs[name]
        folder = coding.finished(here, film, show.longest_rest or 0.0)
        item.result = _result(film, coding.config, None)
        record = evaluate_codec(
            Workspace(here.work), folder, coding.config, film, show.metric_set(), here.device
        )
        keep(show, item.result, record)

    return coded


def _result(film: Film, config: TrainingConfig, latent: int | None) -> FilmResult:
    """What is known before anything is trained."""
    return FilmResult(
        model=config.model,
        film=film.source,
        licence=film.licence,
        size=str(film.size),
        latent=latent,
        film_frames=len(film),
        film_seconds=(float(film.frame_seconds[0]), float(film.times.ends)),
        batch=None,
        precision=None,
        steps=None,
        train_seconds=None,
        frames_per_second=None,
        scores={},
        coded_bytes=None,
        record=None,
        strip=None,
        video=None,
    )


def evaluated(show: Show, result: FilmResult, film: Film, config: TrainingConfig) -> None:
    """Evaluate a run on the film, as `zoo compare` does."""
    here = show.here
    workspace = Workspace(here.work)
    folder = RunFolder.of(workspace, config)
    keep(show, result, evaluate(workspace, folder, config, film, show.metric_set(), here.device))


def keep(show: Show, result: FilmResult, record: Record) -> None:
    """Write a record next to the results, and copy its means into the result."""
    result.scores = _means(record)
    result.coded_bytes = record.latent.coded_bytes if record.latent else None
    result.record = _named(result.model, "json")
    write_json(show.here.setup.out / result.record, record)
    show.here.save()


def draw(show: Show, result: FilmResult, film: Film, trained: TrainedModel) -> None:
    """Draw the strip, and write the video."""
    out = show.here.setup.out
    fitted = show.fitted
    below = [trained] if fitted is None or fitted is trained else [trained, fitted]
    strip = _named(result.model, "webp")
    draw_strip(out / strip, film, below)
    result.strip = strip
    show.here.save()
    if trained is not fitted:
        write_video(out / _named(result.model, "mp4"), show.entry, film, trained)
        result.video = _named(result.model, "mp4")


def _named(model: str, suffix: str) -> str:
    """Name a file of a model, relative to the device's folder."""
    return f"films/{model}.{suffix}"


def _means(record: Record) -> dict[str, dict[str, float | None]]:
    """Mean of each metric by part of the film."""
    found: dict[str, dict[str, float | None]] = {}
    for metric, parts in record.scores.items():
        for part, summary in parts.items():
            found.setdefault(part, {})[metric] = summary.mean
    return found


def draw_strip(path: Path, film: Film, trained: Sequence[TrainedModel]) -> None:
    """Draw frames spread over a film, and below each its reconstructions from 8-bit latents."""
    chosen = np.linspace(0, len(film) - 1, 2 * COLUMNS + 1).round().astype(int)[1::2]
    panels: list[Panel] = [Original(film)]
    panels += [Reconstruction(film, each.config.model, each) for each in trained]
    rows = []
    for panel in panels:
        frames = [panel.decode(panel.read(slice(at, at + 1)))[0] for at in chosen.tolist()]
        rows.append(np.concatenate(frames, axis=1))
    with atomic_write(path) as temporary:
        Image.fromarray(np.concatenate(rows)).save(temporary, format="WEBP", quality=QUALITY)


def write_video(path: Path, entry: FilmEntry, film: Film, trained: TrainedModel) -> None:
    """Write some seconds from the middle, original beside reconstruction, small enough."""
    begin, end = float(film.frame_seconds[0]), float(film.times.ends)
    middle = (begin + end) / 2
    span = film_range(
        entry,
        film,
        max(begin, middle - VIDEO_SECONDS / 2),
        min(end, middle + VIDEO_SECONDS / 2),
    )
    panels: list[Panel] = [Original(film), Reconstruction(film, trained.config.model, trained)]
    path.parent.mkdir(parents=True, exist_ok=True)
    for crf in COARSER:
        reconstruct(entry, panels, span, path, settings=EncoderSettings("libx264", crf))
        if path.stat().st_size <= LARGEST:
            return
    path.unlink()
    raise ZooError(f"the video is larger than {LARGEST:,} bytes at the coarsest quality")
