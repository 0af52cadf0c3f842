"""The results of a comparison: its records gathered into one self-contained folder.

Gathering adds what only the whole comparison shows: takedown scores (a search of all its films),
overlaps between films, scores over time, pictures and videos. Before a comparison runs, checks
refuse results that could not be read back, or that would replace others.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from zoo.api.codec import FilmCodec
from zoo.api.film_entry import FilmEntry
from zoo.base.atomic_files import atomic_write, write_json
from zoo.base.errors import BadInput
from zoo.base.records import FilmInfo, MetricInfo, Record, Results, Series, SeriesRow, Takedown
from zoo.base.safe_text import one_line, safe_file_names
from zoo.base.untrusted_files import read_arrays
from zoo.base.workspace import Workspace
from zoo.compare.cells import Cell, config_of
from zoo.compare.pictures_and_videos import (
    VIDEO_SECONDS,
    choose_all_frames,
    frame_scores,
    with_pictures_and_videos,
)
from zoo.evaluation.film_scores import HASHES
from zoo.evaluation.metrics import MetricSet
from zoo.films.contact_sheet import barcode
from zoo.films.ingested_film import Film
from zoo.matching.pdq_hashes import MATCHES_WITHIN, HashedFilm, Hashes, hash_film, nearest_distances
from zoo.matching.takedown import takedown
from zoo.plugins.registry import registry
from zoo.report.ranking import principal_first
from zoo.report.results_folder import (
    FIGURES,
    MERGE_MARKER,
    RESULTS,
    SERIES,
    TEXTS,
    read_results,
    within_size_limit,
)
from zoo.training.run_folder import RunFolder
from zoo.training.settings import Settings

SEARCHED_FRAMES = 6000
"""The most frames of a film that are searched: the cost of all pairs grows with its square."""
QUERY_FRAMES = 1000
"""The most frames of a film that are looked for in every other one."""
SERIES_FRAMES = 600
"""The most frames of a film in a series, enough for a plot; fewer if it has very many rows."""
COLUMNS, ROWS = 1200, 72
"""The barcode's size in pixels."""


def with_takedowns(
    workspace: Workspace, records: Sequence[Record], films: Sequence[Film], device: torch.device
) -> list[Record]:
    """Return the records, with a takedown score in each good one on its training film.

    The score depends on which films are searched. So a run keeps only the hashes of its frames, and
    every comparison searches anew.
    """
    steps = {film.name: -(-len(film) // SEARCHED_FRAMES) for film in films}
    catalogue = {film.name: _every_nth(hash_film(film, device), steps[film.name]) for film in films}
    return [
        record.model_copy(
            update={
                "takedown": _takedown(
                    workspace, record, catalogue, steps[record.evaluated_on], device
                )
            }
        )
        if record.status == "ok" and record.evaluated_on == record.trained_on
        else record
        for record in records
    ]


def with_overlaps(
    described: Sequence[FilmInfo], films: Sequence[Film], device: torch.device
) -> list[FilmInfo]:
    """The films, each with the shares of its frames that match a frame of each other film."""
    hashed = {film.name: hash_film(film, device).hashes for film in films}
    return [
        info.model_copy(
            update={
                "overlaps": {
                    name: _overlap(hashed[info.name], other)
                    for name, other in hashed.items()
                    if name != info.name
                }
            }
        )
        for info in described
    ]


@torch.inference_mode()
def _overlap(one: Hashes, other: Hashes) -> float:
    query = one.bits[one.comparable]
    query = query[:: -(-len(query) // QUERY_FRAMES) or 1]
    if not len(query):
        return 0.0
    nearest = nearest_distances(query, other.bits[other.comparable])
    return int((nearest <= MATCHES_WITHIN).sum()) / len(query)


def _takedown(
    workspace: Workspace,
    record: Record,
    catalogue: dict[str, HashedFilm],
    step: int,
    device: torch.device,
) -> Takedown:
    assert record.run is not None, "a good record has a run"
    path = RunFolder(workspace.root / record.run).evaluation(record.evaluated_on) / HASHES
    packed = read_arrays(path, ["bits", "quality"])
    hashes = Hashes.unpacked(packed["bits"], packed["quality"]).to(device)[::step]
    found = takedown(catalogue[record.evaluated_on], hashes, list(catalogue.values()))
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


def _every_nth(film: HashedFilm, step: int) -> HashedFilm:
    return replace(film, hashes=film.hashes[::step], times=film.times[::step])


def with_series(
    workspace: Workspace,
    films: Sequence[Film],
    records: Sequence[Record],
    metrics: Sequence[MetricInfo],
    results: Path,
) -> list[FilmInfo]:
    """Write every film's barcode and series into a new results folder; returns their paths."""
    stems = safe_file_names(film.name for film in films)
    described = []
    for film in films:
        barcode_path = PurePosixPath(FIGURES, f"barcode-{stems[film.name]}.png")
        series = PurePosixPath(SERIES, f"{stems[film.name]}.json")
        # One frame per column: reading dozens would take minutes for a whole film.
        with atomic_write(results / barcode_path) as temporary:
            barcode(film, COLUMNS, ROWS, in_column=1).save(temporary, format="PNG")
        scores = within_size_limit(film_series(workspace, film, records, metrics))
        write_json(results / series, scores, indent=None)
        described.append(
            film.info().model_copy(
                update={"barcode": barcode_path.as_posix(), "series": series.as_posix()}
            )
        )
    return described


def film_series(
    workspace: Workspace,
    film: Film,
    records: Sequence[Record],
    metrics: Sequence[MetricInfo],
) -> Series:
    """The scores of a film's frames in every good record that is trained and evaluated on it."""
    frames = np.arange(0, len(film), -(-len(film) // SERIES_FRAMES))
    rows = []
    for record in records:
        own = record.evaluated_on == record.trained_on == film.name
        if own and record.status == "ok" and record.run:
            scores = {}
            for metric in metrics:
                values = frame_scores(workspace, record, metric.name)
                if values is not None:
                    # One digit more than in tables, so that their means can be recomputed.
                    kept = np.round(values[frames], metric.digits + 1).tolist()
                    scores[metric.name] = [v if math.isfinite(v) else None for v in kept]
            rows.append(SeriesRow(run=record.run, scores=scores))
    return Series(
        film=film.name,
        frames=frames.tolist(),
        seconds=np.round(film.frame_seconds[frames], 3).tolist(),
        rows=rows,
    )


def gather(
    workspace: Workspace,
    entries: Sequence[FilmEntry],
    films: Sequence[Film],
    records: Sequence[Record],
    settings: Settings,
    metric_set: MetricSet,
    command: str,
    folder: Path,
    device: torch.device,
    longest: float = VIDEO_SECONDS,
) -> Results:
    """Everything that a report is made from; pictures, videos and series go into `folder`.

    `entries` are those of the `films`. Frames are reconstructed on `device`; videos have the first
    `longest` seconds of each film.
    """
    metrics = _metric_infos(metric_set, records)
    measured = [metric for metric in metrics if metric.unavailable is None]
    chooses = next(iter(principal_first(measured)), None)
    searched = with_takedowns(workspace, records, films, device)
    chosen = choose_all_frames(workspace, searched, films, chooses)
    described = with_series(workspace, films, searched, measured, folder)
    described = with_overlaps(described, films, device)
    shown, final = with_pictures_and_videos(
        workspace, entries, films, described, searched, chosen, folder, device, longest
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


def _metric_infos(metric_set: MetricSet, records: Sequence[Record]) -> list[MetricInfo]:
    """The metrics that were requested, and those that earlier evaluations measured."""
    wanted = {metric.name for metric in metric_set.requested}
    wanted |= {name for record in records for name in record.scores}
    good = [record for record in records if record.status == "ok"]
    everywhere = {name for name in wanted if good and all(name in each.scores for each in good)}
    return [
        MetricInfo(
            name=metric.name,
            label=metric.label,
            unit=metric.unit,
            better=metric.better,
            digits=min(max(metric.digits, 0), 15),
            source=metric.source,
            # A metric that is in every record is not reported as unavailable.
            unavailable=None
            if metric.name in everywhere
            else metric_set.unavailable.get(metric.name),
        )
        for metric in registry().metrics.values()
        if metric.name in wanted
    ]


_NAMED = 4
_OWN, _OWN_OF_A_METRIC, _OWN_OF_A_FILM = 10_000, 3_400, 60
_FOREIGN, _FOREIGN_OF_A_METRIC = 2_600, 250
"""The most bytes of a record, fixed, per metric and per film, on its own film and on others."""

Row = tuple[str, str, str, int, str, tuple[str, str]]
"""Model, training film, evaluation film, seed, options as JSON, (precision, compile mode)."""


def check_results_size(films: int, cells: Sequence[Cell], metrics: int) -> None:
    """Raise BadInput if the results of so many cells would be too large to be read again."""
    own = sum(cell.own for cell in cells)
    taken = own * (_OWN + _OWN_OF_A_METRIC * metrics + _OWN_OF_A_FILM * films)
    taken += (len(cells) - own) * (_FOREIGN + _FOREIGN_OF_A_METRIC * metrics)
    if taken > Results.largest:
        raise BadInput(
            f"the results of {len(cells):,} cells would take about {taken >> 20:,} MiB; at most "
            f"{Results.largest >> 20} MiB can be read: compare fewer films at once, or with --own"
        )


def refuse_other_comparison(
    folder: Path,
    films: Sequence[Film],
    cells: Sequence[Cell],
    settings: Settings,
    metrics: Iterable[str],
) -> None:
    """Raise BadInput if a folder holds results that this comparison does not include.

    A comparison may replace results if it has all of their films, settings, metrics and rows: its
    own earlier results, with or without failures, and smaller ones. The versions of film-zoo and of
    plugins may differ. `metrics` are those that the report will have.
    """
    names = {film.name for film in films}

    def difference(earlier: Results) -> str | None:
        return _other_settings(earlier, names, settings) or _difference(
            earlier, films, cells, set(metrics)
        )

    _refuse(folder, difference)


def refuse_other_settings(folder: Path, films: Iterable[str], settings: Settings) -> None:
    """Raise BadInput if a folder holds results of other films, or under another protocol.

    These checks of `refuse_other_comparison` need no open film; `films` are names.
    """
    names = set(films)
    _refuse(folder, lambda earlier: _other_settings(earlier, names, settings))


def _refuse(folder: Path, difference: Callable[[Results], str | None]) -> None:
    found = _what_is_there(folder)
    if isinstance(found, Results):
        lost = difference(found)
        found = f"another comparison ({lost})" if lost else None
    if found:
        raise BadInput(
            f"{folder} holds {found}: --out FOLDER writes this comparison to another, --overwrite "
            "replaces what is there"
        )


def _what_is_there(folder: Path) -> Results | str | None:
    """Return the results in a folder, or a description of other content; None if there is none."""
    if (folder / MERGE_MARKER).exists():
        return "a merge of several results"
    if not (folder / RESULTS).exists():
        texts = [name for name in TEXTS if (folder / name).exists()]
        return f"a {texts[0]} of something else" if texts else None
    try:
        return read_results(folder)
    except BadInput as error:
        return f"results that cannot be read ({error})"


def _other_settings(earlier: Results, films: set[str], settings: Settings) -> str | None:
    if gone := [film.name for film in earlier.films if film.name not in films]:
        return f"of {_listed(gone)}"
    for name, there, wanted in (
        ("preset", earlier.preset, settings.preset),
        ("budget", earlier.budget, str(settings.budget)),
        ("batch", earlier.batch, settings.batch),
    ):
        if there != wanted:
            return f"its {name} is {one_line(str(there), 60)}, not {wanted}"
    return None


def _difference(
    earlier: Results, films: Sequence[Film], cells: Sequence[Cell], metrics: set[str]
) -> str | None:
    here = {film.name: film for film in films}
    for film in earlier.films:
        now = here[film.name]
        if (film.fingerprint, film.size) != (now.fingerprint, str(now.size)):
            return f"{one_line(film.name, 60)} has different frames, size or split there"
    measured = [metric.name for metric in earlier.metrics if metric.unavailable is None]
    if gone := [name for name in measured if name not in metrics]:
        return f"it measured {_listed(gone)}"
    models = {cell.architecture.name for cell in cells}
    if gone := [record.model for record in earlier.records if record.model not in models]:
        return f"it has {_listed(gone)}"
    rows = {_row_of_cell(cell) for cell in cells}
    if gone := [record.model for record in earlier.records if _row(record) not in rows]:
        count = f"{len(gone)} of its {len(earlier.records)} rows"
        return f"{count} have other seeds, options or films, such as {_listed(gone)}"
    return None


def _listed(names: Iterable[str]) -> str:
    distinct = [one_line(name, 60) for name in dict.fromkeys(names)]
    more = len(distinct) - _NAMED
    return ", ".join(distinct[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _row(record: Record) -> Row:
    where = record.environment
    trained = record.role == "model"
    return (
        record.model,
        record.trained_on,
        record.evaluated_on,
        record.seed,
        json.dumps(record.options, sort_keys=True),
        (where.precision, where.compile) if trained else ("", ""),
    )


def _row_of_cell(cell: Cell) -> Row:
    try:
        config = config_of(cell)
        options, compiled = config.options, config.compile
    except BadInput:  # a row with its reason
        options, compiled = {}, "none"
    codec = issubclass(cell.architecture, FilmCodec)
    trained = not codec and cell.architecture.role == "model"
    return (
        cell.architecture.name,
        cell.trained_on.name,
        cell.evaluated_on.name,
        cell.settings.seed,
        json.dumps(options, sort_keys=True),
        (cell.settings.precision, compiled) if trained else ("", ""),
    )
