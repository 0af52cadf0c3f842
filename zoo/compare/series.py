"""What a report shows of a film along its time: its barcode, and its scores frame by frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from zoo.base.records import FilmInfo, MetricInfo, Record, Series, SeriesRow, write_json
from zoo.base.text import file_names
from zoo.base.workspace import Workspace, written_aside
from zoo.compare.pictures import frame_scores
from zoo.films.film import Film
from zoo.report.results_folder import FIGURES, SERIES, within_size_limit

MOST_FRAMES = 5000
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
    frames = np.arange(0, len(film), -(-len(film) // MOST_FRAMES))
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
