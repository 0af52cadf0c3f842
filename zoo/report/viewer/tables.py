"""The page's tables: the report's columns, and for each cell the number to sort by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from zoo.base import numbers
from zoo.base.records import FilmInfo, MetricInfo, Record, Results
from zoo.report.aggregate import Measure, ResultRow, bytes_per_frame, counted, result_rows
from zoo.report.costs import cost_table
from zoo.report.cross_film_matrix import cross_film_table
from zoo.report.ranking import PART_NAMES, principal_metrics, ranking, sort_rows
from zoo.report.results_folder import RunKey, run_key
from zoo.report.score_tables import (
    decoder_bytes,
    film_rows,
    latent_numbers,
    matched_column,
    matched_share,
    metric_columns,
    size_column,
)
from zoo.report.table import (
    Column,
    Table,
    build_table,
    bytes_column,
    mean_value,
    throughput,
    waiver_notes,
)
from zoo.report.viewer.content import Grid, GridCell, GridColumn, GridRow

CODED_TOO = "In brackets: a codec coded every frame, held-out ones included."


@dataclass(frozen=True)
class _Sortable:
    column: Column
    by: Measure
    better: str | None = None

    def number(self, row: ResultRow) -> float | None:
        """The number that the row is sorted by."""
        rank = self.column.best
        return mean_value(row, self.by, ratio=rank is not None and rank.ratio)


def film_tables(results: Results, film: FilmInfo, entries: Mapping[RunKey, int]) -> list[Grid]:
    """One film's tables: quality, further metrics if there are any, sizes and speeds.

    `entries` has the page's entry of each run.
    """
    rows = film_rows(results, film)
    first = principal_metrics(results)
    more = [metric for metric in results.metrics if metric not in first]
    own = [metric for metric in first if metric.unavailable is None]
    own_more = [metric for metric in more if metric.unavailable is None]
    grids = [_grid("Quality", rows, [*_of_metrics(own), *_matched(results)], [film], entries)]
    if own_more:
        grids.append(_grid("Further metrics", rows, _of_metrics(own_more), [film], entries))
    grids.append(_grid("Size and speed", rows, [*_sizes(), *_speeds(results)], [film], entries))
    return grids


def across_films_table(results: Results) -> Grid | None:
    """Means over films, each film counted once; None if there is only one film."""
    if len(results.films) < 2:
        return None
    results = counted(results)
    rows = sort_rows(result_rows(results), ranking(results), films=len(results.films))
    metrics = [metric for metric in principal_metrics(results) if metric.unavailable is None]
    columns = [*_of_metrics(metrics), *_matched(results)]
    return _grid("Across films", rows, columns, results.films, {})


def crossing_table(results: Results) -> Grid | None:
    """Scores by training and evaluation film; None without evaluation on another film."""
    found = cross_film_table(results)
    return _unsorted("Trained on one film, evaluated on another", found) if found else None


def costs_table(results: Results) -> Grid | None:
    """What each model and reference costs to run; None if nothing was measured."""
    found = cost_table(results)
    return _unsorted("What it costs", found) if found else None


def _unsorted(caption: str, table: Table) -> Grid:
    return Grid(
        caption=caption,
        columns=[GridColumn(heading=list(heading), better=None) for heading in table.columns[1:]],
        rows=[
            GridRow(
                name=row.name,
                note=row.note,
                entry=None,
                cells=[GridCell(text=c.text, value=None, best=c.best) for c in row.cells],
            )
            for row in table.rows
        ],
        notes=list(table.notes),
    )


def _grid(
    caption: str,
    rows: Sequence[ResultRow],
    columns: Sequence[_Sortable],
    films: Sequence[FilmInfo],
    entries: Mapping[RunKey, int],
) -> Grid:
    columns = [_Sortable(bytes_column(), bytes_per_frame), *columns]
    table = build_table(rows, [each.column for each in columns], films)
    ranks = (column.column.best for column in columns)
    unseen = any(rank and rank.part == "held_out" for rank in ranks)
    bracketed = unseen and any(row.codec for row in rows)
    return Grid(
        caption=caption,
        columns=[
            GridColumn(heading=list(each.column.heading), better=each.better) for each in columns
        ],
        rows=[
            GridRow(
                name=shown.name,
                note=shown.note,
                entry=_entry_of(row, entries),
                cells=[
                    GridCell(text=cell.text, value=each.number(row), best=cell.best)
                    for cell, each in zip(shown.cells, columns, strict=True)
                ],
            )
            for shown, row in zip(table.rows, rows, strict=True)
        ],
        notes=[*([CODED_TOO] if bracketed else []), *waiver_notes(rows)],
    )


def _entry_of(row: ResultRow, entries: Mapping[RunKey, int]) -> int | None:
    keys = (run_key(record) for record in row.records)
    return next((entries[key] for key in keys if key and key in entries), None)


def _of_metrics(metrics: Sequence[MetricInfo]) -> list[_Sortable]:
    found = []
    for metric in metrics:
        for column in metric_columns(metric):
            assert column.best is not None, "a metric's column has a best"
            # The page adds the arrow to the heading itself.
            heading = (column.heading[0], PART_NAMES[column.best.part])
            shown = Column(heading, column.text, column.best)
            found.append(_Sortable(shown, column.best.measure, metric.better))
    return found


def _matched(results: Results) -> list[_Sortable]:
    if not any(record.takedown for record in results.records):
        return []
    return [_Sortable(matched_column(), matched_share)]


def _sizes() -> list[_Sortable]:
    def parameters(record: Record) -> float | None:
        return record.parameters

    def size(heading: tuple[str, str], by: Measure, write: Callable[..., str]) -> _Sortable:
        return _Sortable(size_column(heading, by, write), by)

    return [
        size(("numbers", "per frame"), latent_numbers, numbers.whole),
        size(("decoder", "bytes"), decoder_bytes, partial(numbers.scaled, unit="B")),
        size(("parameters", ""), parameters, numbers.scaled),
    ]


def _speeds(results: Results) -> list[_Sortable]:
    """Columns of frames/s; empty if nothing was timed."""
    found = []
    for kind in ("train", "encode", "decode"):
        timed = throughput(kind)
        if any(timed(record) is not None for record in results.records):
            found.append(_Sortable(Column((kind, "frames/s"), _speed(timed)), timed))
    return found


def _speed(timed: Measure) -> Callable[[ResultRow], str]:
    def text(row: ResultRow) -> str:
        value = mean_value(row, timed)
        return numbers.NOT_APPLICABLE if value is None else numbers.significant(value)

    return text
