"""Checks before a comparison: that its results can be read back and replace no others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from zoo.api.codec import FilmCodec
from zoo.base.errors import BadInput
from zoo.base.records import Record, Results
from zoo.base.text import one_line
from zoo.compare.cells import Cell, config_of
from zoo.films.ingested_film import Film
from zoo.report.results_folder import MERGE_MARKER, RESULTS, TEXTS, read_results
from zoo.training.settings import Settings

_NAMED = 4
_OWN, _OWN_OF_A_METRIC, _OWN_OF_A_FILM = 10_000, 3_400, 60
_FOREIGN, _FOREIGN_OF_A_METRIC = 2_600, 250
"""The most bytes of a record: of a model on its own film, and on another."""

Row = tuple[str, str, str, int, str, tuple[str, str]]
"""Model, training film, evaluation film, seed, options as JSON, (precision, compile mode)."""


def check_results_size(films: int, cells: Sequence[Cell], metrics: int) -> None:
    """Raise BadInput where the results of so many cells would be too large to be read again."""
    own = sum(cell.own for cell in cells)
    taken = own * (_OWN + _OWN_OF_A_METRIC * metrics + _OWN_OF_A_FILM * films)
    taken += (len(cells) - own) * (_FOREIGN + _FOREIGN_OF_A_METRIC * metrics)
    if taken > Results.largest:
        raise BadInput(
            f"the results of {len(cells):,} cells would take about {taken >> 20:,} MiB, and "
            f"{Results.largest >> 20} MiB are read: compare fewer films at once, or with --own"
        )


def refuse_other_comparison(
    folder: Path,
    films: Sequence[Film],
    cells: Sequence[Cell],
    settings: Settings,
    metrics: Iterable[str],
) -> None:
    """Raise BadInput if a folder holds results that this comparison does not include.

    It may replace results all of whose films, settings, metrics and rows it has itself: its own
    earlier results, with or without failures, and smaller ones. The versions of film-zoo and of
    plugins may differ.
    """
    found = _what_is_there(folder)
    if isinstance(found, Results):
        lost = _difference(found, films, cells, settings, set(metrics))
        found = f"another comparison ({lost})" if lost else None
    if found:
        raise BadInput(
            f"{folder} holds {found}: --out FOLDER writes this comparison to another, --overwrite "
            "replaces what is there"
        )


def _what_is_there(folder: Path) -> Results | str | None:
    """The results in a folder, or in words what else of a report is there; None if nothing is."""
    if (folder / MERGE_MARKER).exists():
        return "a merge of several results"
    if not (folder / RESULTS).exists():
        texts = [name for name in TEXTS if (folder / name).exists()]
        return f"a {texts[0]} of something else" if texts else None
    try:
        return read_results(folder)
    except BadInput as error:
        return f"results that cannot be read ({error})"


def _difference(
    earlier: Results,
    films: Sequence[Film],
    cells: Sequence[Cell],
    settings: Settings,
    metrics: set[str],
) -> str | None:
    here = {film.name: film for film in films}
    if gone := [film.name for film in earlier.films if film.name not in here]:
        return f"of {_listed(gone)}"
    for film in earlier.films:
        now = here[film.name]
        if (film.fingerprint, film.size) != (now.fingerprint, str(now.size)):
            return f"{one_line(film.name, 60)} has other frames, another size or split there"
    for name, there, wanted in (
        ("preset", earlier.preset, settings.preset),
        ("budget", earlier.budget, str(settings.budget)),
        ("batch", earlier.batch, settings.batch),
    ):
        if there != wanted:
            return f"its {name} is {one_line(str(there), 60)}, and not {wanted}"
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
