"""A table before anybody draws it: headings, cells and notes, all plain text, made of columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from zoo.records import FilmInfo, Record, Results, Throughput
from zoo.report import numbers
from zoo.report.ranking import Ranking, valued
from zoo.report.standings import Measure, Standing, Value, machines
from zoo.report.text import one_line

REASON_LENGTH = 160


@dataclass(frozen=True)
class Cell:
    """One number, or what stands in for it; of several lines where it has a spread."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A model or a reference."""

    name: str
    role: str
    cells: tuple[Cell, ...]
    note: str = ""
    """What a reader must know about this row, such as why it failed."""


@dataclass(frozen=True)
class Table:
    """Headings (each of one or more lines), rows and the notes below them."""

    columns: tuple[tuple[str, ...], ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Column:
    """A heading and what stands under it in a row."""

    heading: tuple[str, ...]
    text: Callable[[Standing], str]
    best: Ranking | None = None
    """What makes a cell of it the best."""


def draw(
    rows: Sequence[Standing],
    columns: Sequence[Column],
    films: Sequence[FilmInfo],
    notes: Sequence[str] = (),
) -> Table:
    """Fill in the cells; a row of which nothing worked has dashes, and its reason as a note."""
    best = [
        _best([row for row in rows if _comparable(row, films, column.best)], column.best)
        for column in columns
    ]
    drawn = []
    for row in rows:
        cells = [
            Cell(column.text(row), row.name in winners)
            if row.records
            else Cell(numbers.NOT_APPLICABLE)
            for column, winners in zip(columns, best, strict=True)
        ]
        drawn.append(Row(shown_name(row), row.role, tuple(cells), failure_note(row, films)))
    headings = (("",), *(column.heading for column in columns))
    return Table(headings, tuple(drawn), tuple(notes))


def shown_name(row: Standing) -> str:
    """A row's name with what it is, unless it is a model."""
    if row.role == "model":
        return row.name
    return f"{row.name} ({'codec' if row.codec else row.role})"


def _comparable(row: Standing, films: Sequence[FilmInfo], rank: Ranking | None) -> bool:
    """Whether a row may be the best: over every film, and on frames held out of what it saw."""
    held_out = rank is not None and rank.part == "held_out"
    return len(row.films) == len(films) and not (held_out and row.codec)


def _best(rows: list[Standing], rank: Ranking | None) -> set[str]:
    """The best rows of a column: those that the best one does not beat, or prints the same as."""
    ordered = valued(rows, rank) if rank else []
    if not rank or not ordered:
        return set()
    _, first = ordered[0]

    def printed(value: Value) -> float:
        return round(value.mean, rank.metric.digits)

    found = {
        row.name
        for row, value in ordered
        if printed(value) == printed(first) or not rank.beats(first, value)
    }
    # Where nothing is better than anything else, nothing is best.
    return found if len(found) < len(ordered) else set()


def failure_note(row: Standing, films: Sequence[FilmInfo]) -> str:
    """Why not every run of a row is in its numbers; nothing where they all are."""
    if not row.failed:
        missing = len(films) - len(row.films)
        return f"{len(row.films)} of {len(films)} films" if missing else ""
    reason = one_line(row.failed[0].reason or "no reason was recorded", REASON_LENGTH)
    if not row.records:
        return f"failed: {reason}"
    if len(row.films) < len(films):
        return f"{len(row.films)} of {len(films)} films; failed: {reason}"
    done = len(row.records) + len(row.failed)
    return f"{len(row.failed)} of {done} runs failed: {reason}"


def with_spread(value: Value | None, write: Callable[[float], str], between: str = "\n± ") -> str:
    """Write a value, and its spread over seeds where it is known, on a line of its own."""
    if value is None:
        return numbers.NOT_AVAILABLE
    text = write(value.mean)
    return text if value.spread is None else f"{text}{between}{write(value.spread)}"


def fixed(value: Value | None, digits: int, between: str = "\n± ") -> str:
    """Write a value with so many digits after the point: `24.13`, `± 0.05`."""
    return with_spread(value, lambda number: numbers.fixed(number, digits), between)


def said(value: Value, rank: Ranking) -> str:
    """Write a value in a sentence: `24.13 ± 0.05 dB`."""
    return fixed(value, rank.metric.digits, " ± ") + rank.unit


def pair(first: str, second: str) -> str:
    """Two numbers of one cell, one above the other; a single dash where neither applies."""
    neither = first == second == numbers.NOT_APPLICABLE
    return first if neither else f"{first} /\n{second}"


def unless_codec(row: Standing, text: str) -> str:
    """A codec has no latent of a frame, no weights and a decoder that knows nothing of the film."""
    return numbers.NOT_APPLICABLE if row.codec else text


def mean(row: Standing, measure: Measure) -> float | None:
    """A measure's mean over seeds and films."""
    value = row.value(measure)
    return value.mean if value else None


def throughput(kind: str) -> Measure:
    """The median frames per second of `train`, `encode_one` or any other timing of a cost."""

    def measure(record: Record) -> float | None:
        timing: Throughput | None = getattr(record.cost, kind) if record.cost else None
        return timing.median if timing else None

    return measure


def machine_column(results: Results) -> list[Column]:
    """Which machine a row is of, where there are several."""
    if len(machines(results)) < 2:
        return []
    return [Column(("on",), lambda row: row.machine)]
