"""From the records of a comparison to its results: one folder that stands on its own.

Adds what only the whole comparison can tell: takedown scores (a search of all its films), overlaps
between films, scores over time, pictures and videos.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image

from zoo.base.records import (
    FilmInfo,
    MetricInfo,
    Record,
    Results,
    Series,
    SeriesRow,
    Takedown,
    write_json,
)
from zoo.base.text import file_names
from zoo.base.untrusted_files import read_arrays
from zoo.base.workspace import Workspace, written_aside
from zoo.compare.pictures_and_videos import (
    LONGEST,
    chosen_frames,
    frame_scores,
    with_pictures_and_videos,
)
from zoo.evaluation.film_scores import HASHES
from zoo.evaluation.metrics import Judges
from zoo.films.film import Film
from zoo.matching.film_hashes import HashedFilm, hash_film
from zoo.matching.pdq import MATCHES_WITHIN, Hashes, nearest_distances
from zoo.matching.takedown import takedown
from zoo.plugins.registry import registry
from zoo.report.results_folder import FIGURES, SERIES, within_size_limit
from zoo.training.jobs import Settings
from zoo.training.run_folder import RunFolder

SEARCHED_FRAMES = 6000
"""Of a film that are searched: a search of all pairs takes the square of it."""
MOST_ASKED = 1000
"""Frames of a film that are looked for in every other one."""


def with_takedowns(
    workspace: Workspace, records: Sequence[Record], films: Sequence[Film], device: torch.device
) -> list[Record]:
    """The records, with a score in each good one whose model watched its own film."""
    steps = {film.name: -(-len(film) // SEARCHED_FRAMES) for film in films}
    catalogue = {film.name: _thinned(hash_film(film, device), steps[film.name]) for film in films}
    return [
        record.model_copy(
            update={
                "takedown": _score(workspace, record, catalogue, steps[record.evaluated_on], device)
            }
        )
        if record.status == "ok" and record.evaluated_on == record.trained_on
        else record
        for record in records
    ]


def with_overlaps(
    described: Sequence[FilmInfo], films: Sequence[Film], device: torch.device
) -> list[FilmInfo]:
    """The films, each with the share of its own frames that match a frame of every other one."""
    hashed = {film.name: hash_film(film, device).hashes for film in films}
    return [
        info.model_copy(
            update={
                "overlaps": {
                    name: _shared(hashed[info.name], other)
                    for name, other in hashed.items()
                    if name != info.name
                }
            }
        )
        for info in described
    ]


@torch.inference_mode()
def _shared(one: Hashes, other: Hashes) -> float:
    asked = one.bits[one.comparable]
    asked = asked[:: -(-len(asked) // MOST_ASKED) or 1]
    if not len(asked):
        return 0.0
    nearest = nearest_distances(asked, other.bits[other.comparable])
    return int((nearest <= MATCHES_WITHIN).sum()) / len(asked)


def _score(
    workspace: Workspace,
    record: Record,
    catalogue: dict[str, HashedFilm],
    step: int,
    device: torch.device,
) -> Takedown:
    assert record.run is not None, "a good record has a run"
    place = RunFolder(workspace.root / record.run).evaluation(record.evaluated_on) / HASHES
    held = read_arrays(place, ["bits", "quality"])
    drawn = Hashes.unpacked(held["bits"], held["quality"]).to(device)[::step]
    found = takedown(catalogue[record.evaluated_on], drawn, list(catalogue.values()))
    return Takedown(
        frame_step=step,
        comparable=found.comparable,
        matched=found.matched,
        retrieved=found.retrieved,
        found=found.found,
        film_matches=found.film_matches,
        precision=found.precision,
        false_matches=found.false_matches,
    )


def _thinned(film: HashedFilm, step: int) -> HashedFilm:
    return replace(film, hashes=film.hashes[::step], times=film.times[::step])


SERIES_FRAMES = 5000
"""Of a film that have their scores in a series; fewer where its rows are very many."""
COLUMNS, ROWS = 1200, 72
"""The barcode's size in pixels."""


def with_series(
    workspace: Workspace,
    films: Sequence[Film],
    records: Sequence[Record],
    metrics: Sequence[MetricInfo],
    results: Path,
) -> list[FilmInfo]:
    """Write every film's barcode and series into a new results folder, and say where they are."""
    stems = file_names(film.name for film in films)
    described = []
    for film in films:
        barcode = PurePosixPath(FIGURES, f"barcode-{stems[film.name]}.png")
        series = PurePosixPath(SERIES, f"{stems[film.name]}.json")
        draw_barcode(film, results / barcode)
        scores = within_size_limit(series_of(workspace, film, records, metrics))
        write_json(results / series, scores, indent=None)
        described.append(
            film.info().model_copy(
                update={"barcode": barcode.as_posix(), "series": series.as_posix()}
            )
        )
    return described


def series_of(
    workspace: Workspace,
    film: Film,
    records: Sequence[Record],
    metrics: Sequence[MetricInfo],
) -> Series:
    """The scores of a film's frames by every good record that was trained on it and watched it."""
    frames = np.arange(0, len(film), -(-len(film) // SERIES_FRAMES))
    rows = []
    for record in records:
        own = record.evaluated_on == record.trained_on == film.name
        if own and record.status == "ok" and record.run:
            scores = {}
            for metric in metrics:
                values = frame_scores(workspace, record, metric.name)
                if values is not None:
                    # One digit more than tables have, so that their means can be made again.
                    kept = np.round(values[frames], metric.digits + 1).tolist()
                    scores[metric.name] = [v if math.isfinite(v) else None for v in kept]
            rows.append(SeriesRow(run=record.run, scores=scores))
    return Series(
        film=film.name,
        frames=frames.tolist(),
        seconds=np.round(film.frame_seconds[frames], 3).tolist(),
        rows=rows,
    )


def draw_barcode(film: Film, path: Path) -> None:
    """A film at a glance: each column is a moment, its frame squeezed to the width of a pixel."""
    columns = min(COLUMNS, len(film))
    at = np.linspace(0, len(film) - 1, columns).round().astype(int)
    squeezed = np.stack([film.store.array[i].mean(axis=1) for i in at], axis=1)
    picture = Image.fromarray(squeezed.round().astype(np.uint8))
    with written_aside(path) as aside:
        picture.resize((COLUMNS, ROWS), Image.Resampling.BILINEAR).save(aside, format="PNG")


CHOOSES = "lpips"
"""The metric that chooses the pictures, where it could be measured."""


def gather(
    workspace: Workspace,
    films: Sequence[Film],
    records: Sequence[Record],
    settings: Settings,
    judges: Judges,
    command: str,
    folder: Path,
    device: torch.device,
    longest: float = LONGEST,
) -> Results:
    """Everything that a report is made from; what is no number is written into `folder`.

    Pictures are drawn on `device`, and of each film `longest` seconds as videos.
    """
    metrics = _described(judges, records)
    measured = [metric for metric in metrics if metric.unavailable is None]
    chooses = min(measured, key=lambda metric: metric.name != CHOOSES, default=None)
    searched = with_takedowns(workspace, records, films, device)
    chosen = chosen_frames(workspace, searched, films, chooses)
    described = with_series(workspace, films, searched, measured, folder)
    described = with_overlaps(described, films, device)
    shown, final = with_pictures_and_videos(
        workspace, films, described, searched, chosen, folder, device, longest
    )
    return Results(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=command,
        preset=settings.preset,
        budget=str(settings.budget),
        batch=settings.batch,
        films=shown,
        metrics=metrics,
        records=final,
    )


def _described(judges: Judges, records: Sequence[Record]) -> list[MetricInfo]:
    """The metrics that were asked for, and those that were measured when they could be."""
    wanted = {metric.name for metric in judges.asked}
    wanted |= {name for record in records for name in record.scores}
    return [
        MetricInfo(
            name=metric.name,
            label=metric.label,
            unit=metric.unit,
            better=metric.better,
            digits=min(max(metric.digits, 0), 15),
            source=metric.source,
            unavailable=judges.unavailable.get(metric.name),
        )
        for metric in registry().metrics.values()
        if metric.name in wanted
    ]
