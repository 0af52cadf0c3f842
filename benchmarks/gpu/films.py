"""Stage `films`: models trained for what time is left, with records, strips and short videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.gpu.material import (
    architectures,
    ingested,
    longest_film,
    part_of,
    settings,
    trained_model_of,
)
from benchmarks.gpu.worker import Here, Work
from zoo.api.film_entry import FilmEntry
from zoo.base.atomic_files import atomic_write
from zoo.base.errors import ZooError
from zoo.base.gpu_records import FilmResult, Item
from zoo.base.records import Record, write_json
from zoo.base.workspace import Workspace
from zoo.evaluation.evaluate import evaluate
from zoo.evaluation.metrics import MetricSet
from zoo.films.film import Film
from zoo.reconstruct.model_loader import TrainedModel
from zoo.reconstruct.reconstruct_film import (
    Original,
    Panel,
    Reconstruction,
    film_range,
    reconstruct,
)
from zoo.reconstruct.video.mp4_writer import EncoderSettings
from zoo.training.trained_models import ensure_trained

MODELS = ("vaegan", "perceptual", "best")
FILM_SECONDS = {False: 60.0, True: 1.5}
"""Of the film: what an evaluation takes grows with it."""
TRAINING = 0.5
"""Share of a model's time that is training; evaluation and pictures have the rest."""
VIDEO_SECONDS = 8.0
COLUMNS = 6
"""Of a strip: frames spread evenly over the film."""
QUALITY = 85
LARGEST = 1_500_000
"""Bytes of a picture or a video."""
COARSER = (24, 30, 36, 42)
"""Rate factors of the video, the first that keeps it small enough."""


def works(here: Here) -> dict[str, Work]:
    """An item for each model."""
    known = architectures(here)
    names = [name for name in MODELS if name in known] or list(known)[:1]
    entry = part_of(longest_film(here), FILM_SECONDS[here.tiny])
    return {name: _work(here, entry, name, len(names) - at) for at, name in enumerate(names)}


def _work(here: Here, entry: FilmEntry, name: str, left: int) -> Work:
    def trained(item: Item[FilmResult]) -> None:
        seconds = max(1.0, TRAINING * here.seconds_left / left)
        budget = "8steps" if here.tiny else f"{seconds:.0f}s"
        chosen = settings(here, "film", budget=budget)
        film = ingested(here, entry, chosen.size)
        config = chosen.config(architectures(here)[name], film)
        workspace = Workspace(here.work)
        folder = ensure_trained(workspace, config, film, here.device)
        run = folder.read()
        assert run is not None and run.training is not None, "it was trained to its end"
        taken = run.training.seconds or 0.0
        result = item.result = FilmResult(
            model=name,
            film=film.source,
            licence=film.licence,
            size=str(film.size),
            latent=chosen.latent,
            film_frames=len(film),
            film_seconds=(float(film.frame_seconds[0]), float(film.times.ends)),
            batch=config.batch,
            precision=config.precision,
            steps=run.training.steps,
            train_seconds=taken,
            frames_per_second=run.training.frames / taken if taken else None,
            scores={},
            coded_bytes=None,
            record=None,
            strip=None,
            video=None,
        )
        here.save()
        metric_set = MetricSet.load(here.device, "psnr" if here.tiny else "default")
        record = evaluate(workspace, folder, config, film, metric_set, here.device)
        result.scores = _means(record)
        result.coded_bytes = record.latent.coded_bytes if record.latent else None
        trained = trained_model_of(here, folder, config)
        out = here.setup.out
        result.record = _named(name, "json")
        write_json(out / result.record, record)
        here.save()
        result.strip = _named(name, "webp")
        draw_strip(out / result.strip, film, trained)
        here.save()
        write_video(out / _named(name, "mp4"), entry, film, trained)
        result.video = _named(name, "mp4")

    return trained


def _named(model: str, suffix: str) -> str:
    """A file of a model's, relative to the device's folder."""
    return f"films/{model}.{suffix}"


def _means(record: Record) -> dict[str, dict[str, float | None]]:
    """Mean of each metric by part of the film."""
    found: dict[str, dict[str, float | None]] = {}
    for metric, parts in record.scores.items():
        for part, summary in parts.items():
            found.setdefault(part, {})[metric] = summary.mean
    return found


def draw_strip(path: Path, film: Film, trained: TrainedModel) -> None:
    """Draw frames spread over a film, and below each its reconstruction from 8-bit latents."""
    chosen = np.linspace(0, len(film) - 1, 2 * COLUMNS + 1).round().astype(int)[1::2]
    panels: list[Panel] = [Original(film), Reconstruction(film, trained.config.model, trained)]
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
