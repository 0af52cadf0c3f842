"""Trained on one film, shown another: the matrix of every model, as numbers and as sentences."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from zoo.records import Part, Record, Results
from zoo.report import numbers
from zoo.report.ranking import Ranking, in_order, measured, ranking
from zoo.report.standings import Standing, Value, crossings
from zoo.report.table import Cell, Row, Table, fixed, said, shown_name
from zoo.report.text import one_line


@dataclass(frozen=True)
class Crossed:
    """What a model makes of one film after it was trained on one."""

    value: Value | None
    part: Part
    """What of the film the value is of."""
    failed: bool
    """Whether there is no value because the cell failed, or the training before it."""


@dataclass(frozen=True)
class Matrix:
    """One model's cells, by the film it was trained on and the film it watched."""

    row: Standing
    rank: Ranking
    cells: dict[tuple[str, str], Crossed]

    @property
    def foreign(self) -> list[float]:
        """What it makes of films that it was not trained on."""
        return [cell.value.mean for (a, b), cell in self.cells.items() if a != b and cell.value]

    @property
    def complete(self) -> bool:
        """Whether no cell is missing."""
        return all(cell.value for cell in self.cells.values())

    def elsewhere(self) -> Value | None:
        """The mean over all pairs of different films, with its spread over seeds."""
        pairs = [(a, b) for a, b in self.cells if a != b]
        seeds = sorted({record.seed for record in self.row.records})
        means = []
        for seed in seeds:
            found = [self._value(a, b, "other", partial(_seed_is, seed)) for a, b in pairs]
            if all(value is not None for value in found):
                means.append(statistics.fmean(value.mean for value in found if value))
        if not means:
            return None
        spread = statistics.stdev(means) if len(means) > 1 else None
        return Value(statistics.fmean(means), spread, len(pairs))

    def _value(
        self, own: str, seen: str, part: Part, also: Callable[[Record], bool]
    ) -> Value | None:
        there = self.row.only(lambda r: r.trained_on == own and r.watched == seen and also(r))
        return there.value(Ranking(self.rank.metric, part).measure)


def _seed_is(seed: int, record: Record) -> bool:
    return record.seed == seed


def matrices(results: Results) -> list[Matrix]:
    """A matrix for every model, in the order of the tables; none unless models saw other films."""
    rank = ranking(results)
    if len(results.films) < 2 or not rank or not measured(results, rank.metric, "other"):
        return []
    names = [film.name for film in results.films]
    rows = {row.name: row for row in crossings(results)}
    own = [row.only(lambda r: r.trained_on == r.watched) for row in rows.values()]
    order = in_order(own, rank, films=len(results.films))
    return [_matrix(rows[row.name], rank, names) for row in order]


def _matrix(row: Standing, rank: Ranking, names: list[str]) -> Matrix:
    cells = {}
    failed = {(record.trained_on, record.watched) for record in row.failed}
    for own in names:
        for seen in names:
            there = row.only(lambda r, a=own, b=seen: r.trained_on == a and r.watched == b)  # type: ignore[misc]
            parts: tuple[Part, ...] = ("held_out", "seen") if own == seen else ("other",)
            values = [(there.value(Ranking(rank.metric, part).measure), part) for part in parts]
            value, part = next(((v, p) for v, p in values if v), (None, parts[-1]))
            bad = value is None and bool({(own, seen), (own, own)} & failed)
            cells[own, seen] = Crossed(value, part, bad)
    return Matrix(row, rank, cells)


def crossing_table(results: Results) -> Table | None:
    """All cells of all models; None where no model watched another film."""
    every = matrices(results)
    if not every:
        return None
    names = [film.name for film in results.films]
    rows = []
    for matrix in every:
        for own in names:
            cells = [_cell(matrix, own, seen) for seen in names]
            name = f"{shown_name(matrix.row)}, trained on {one_line(own, 40)}"
            rows.append(Row(name, matrix.row.role, tuple(cells)))
    headings = (("",), *(("watching", one_line(name, 40)) for name in names))
    return Table(headings, tuple(rows))


def _cell(matrix: Matrix, own: str, seen: str) -> Cell:
    cell = matrix.cells[own, seen]
    if cell.value is None:
        return Cell("failed" if cell.failed else numbers.NOT_APPLICABLE)
    text = fixed(cell.value, matrix.rank.metric.digits)
    if own != seen:
        return Cell(text)
    words = "held out" if cell.part == "held_out" else "seen"
    return Cell(f"{text}\n({words})")


def crossing_findings(results: Results) -> list[str]:
    """By how much other films are worse, and which model carries over best."""
    models = [m for m in matrices(results) if m.row.role == "model" and m.complete]
    if not models:
        return []
    rank = models[0].rank
    pairs = [(_own(matrix), statistics.fmean(matrix.foreign), matrix) for matrix in models]
    own = statistics.fmean(pair[0] for pair in pairs)
    foreign = statistics.fmean(pair[1] for pair in pairs)
    digits = rank.metric.digits
    frames = "held-out frames" if rank.part == "held_out" else "frames"
    who = "the model" if len(models) == 1 else f"all {len(models)} models"
    told = (
        f"Over {who}, {rank.label} is {numbers.fixed(foreign, digits)}{rank.unit} on films that "
        f"were not trained on and {numbers.fixed(own, digits)}{rank.unit} on {frames} of the film "
        "that was"
    )
    if rank.metric.better == "lower" and own > 0:
        told += f", {numbers.significant(foreign / own, 2)} times as much"
    return [f"{told}.", *_best_abroad(models, rank)]


def _own(matrix: Matrix) -> float:
    return statistics.fmean(
        cell.value.mean for (a, b), cell in matrix.cells.items() if a == b and cell.value
    )


def _best_abroad(models: list[Matrix], rank: Ranking) -> list[str]:
    known = [(value, matrix.row.name) for matrix in models if (value := matrix.elsewhere())]
    known.sort(key=lambda pair: (rank.key(pair[0].mean), pair[1]))
    if len(known) < 2:
        return []
    (best, first), (next_best, second) = known[:2]
    best_said, next_said = said(best, rank), said(next_best, rank)
    if rank.beats(best, next_best):
        return [
            f"{first} carries over best, with {best_said} on other films, before {second} with "
            f"{next_said}."
        ]
    return [
        f"None carries over best: {first} ({best_said}) and {second} ({next_said}) are within two "
        "standard deviations over seeds of one another."
    ]
