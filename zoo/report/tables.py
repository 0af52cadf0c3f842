"""The tables of a report before anybody draws them: headings, cells, notes, all plain text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from zoo.records import FilmInfo, Part, Record, Results
from zoo.report import numbers
from zoo.report.standings import (
    Measure,
    Ranking,
    Standing,
    Value,
    bytes_a_frame,
    in_order,
    machines,
    ranking,
    score,
    standings,
)
from zoo.report.text import one_line

PART_NAMES: dict[Part, str] = {"seen": "seen", "held_out": "held out"}

REASON_LENGTH = 160


@dataclass(frozen=True)
class Cell:
    """One number, or what stands in for it."""

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
class _Column:
    heading: tuple[str, ...]
    text: Callable[[Standing], str]
    measure: Ranking | None = None


def film_table(results: Results, film: FilmInfo) -> Table:
    """Everything that was measured on one film, one row a model or reference."""
    rows = in_order(standings(results, film.name), ranking(results, film.name), films=1)
    return _table(results, rows, [film])


def across_table(results: Results) -> Table:
    """Means over films, each film counted once; models as trained on the film they are shown."""
    rows = in_order(standings(results), ranking(results), films=len(results.films))
    return _table(results, rows, results.films)


def _table(results: Results, rows: list[Standing], films: list[FilmInfo]) -> Table:
    columns = _columns(results)
    best = {
        index: _best(_comparable(rows, films, column.measure), column.measure)
        for index, column in enumerate(columns)
        if column.measure
    }
    drawn = []
    for row in rows:
        cells = (
            tuple(
                Cell(column.text(row), best=index in best and row.name in best[index])
                for index, column in enumerate(columns)
            )
            if row.records
            else tuple(Cell(numbers.NOT_APPLICABLE) for _ in columns)
        )
        drawn.append(Row(_name(row), row.role, cells, _note(row, films)))
    headings = (("",), *(column.heading for column in columns))
    return Table(headings, tuple(drawn), tuple(_notes(results, rows, films)))


def _name(row: Standing) -> str:
    if row.role == "model":
        return row.name
    return f"{row.name} ({'codec' if row.codec else row.role})"


def _comparable(
    rows: list[Standing], films: list[FilmInfo], rank: Ranking | None
) -> list[Standing]:
    """Rows that may be the best of a column: over every film, and on frames held out of them."""
    held_out = rank is not None and rank.part == "held_out"
    return [row for row in rows if len(row.films) == len(films) and not (held_out and row.codec)]


def _columns(results: Results) -> list[_Column]:
    columns = []
    for metric in results.metrics:
        label = one_line(f"{metric.label} {metric.unit}", 40).rstrip()
        arrow = "↑" if metric.better == "higher" else "↓"
        for part, part_name in PART_NAMES.items():
            rank = Ranking(metric, part)
            columns.append(_Column((label, f"{part_name} {arrow}"), _printed(rank), rank))
    columns.append(
        _Column(
            ("latent", "numbers / bytes"),
            lambda row: _pair(
                _unless_codec(
                    row, numbers.whole(_mean(row, lambda r: r.latent.numbers if r.latent else None))
                ),
                numbers.significant(_mean(row, bytes_a_frame)),
            ),
        )
    )
    columns.append(
        _Column(
            ("param-", "eters"),
            lambda row: _unless_codec(row, numbers.scaled(_mean(row, lambda r: r.parameters))),
        )
    )
    columns.append(
        _Column(
            ("decoder", "bytes"),
            lambda row: _unless_codec(
                row,
                numbers.scaled(
                    _mean(row, lambda r: r.latent.decoder_bytes if r.latent else None), "B"
                ),
            ),
        )
    )
    columns.append(
        _Column(
            ("frames/s", "train / encode / decode"),
            lambda row: _pair(_trained(row), *(_speed(row, kind) for kind in ("encode", "decode"))),
        )
    )
    if len(machines(results)) > 1:
        columns.append(_Column(("on",), lambda row: row.machine))
    return columns


def _printed(rank: Ranking) -> Callable[[Standing], str]:
    def text(row: Standing) -> str:
        value = row.value(rank.measure)
        shown = with_spread(value, rank.metric.digits)
        # In brackets, so that nobody takes what was coded for what was never seen.
        return f"({shown})" if value and row.codec and rank.part == "held_out" else shown

    return text


def _unless_codec(row: Standing, text: str) -> str:
    """A codec has no latent of a frame, no weights and a decoder that knows nothing of the film."""
    return numbers.NOT_APPLICABLE if row.codec else text


def with_spread(value: Value | None, digits: int) -> str:
    """Write a value, and its spread over seeds where it is known: `24.13 ± 0.05`."""
    if value is None:
        return numbers.NOT_AVAILABLE
    text = numbers.fixed(value.mean, digits)
    return text if value.spread is None else f"{text} ± {numbers.fixed(value.spread, digits)}"


def _pair(*texts: str) -> str:
    return " / ".join(texts)


def _mean(row: Standing, measure: Measure) -> float | None:
    value = row.value(measure)
    return value.mean if value else None


def throughput(kind: str) -> Measure:
    """The median frames per second of `train`, `encode` or `decode`."""

    def measure(record: Record) -> float | None:
        timing = getattr(record.cost, kind) if record.cost else None
        return timing.median if timing else None

    return measure


def _speed(row: Standing, kind: str) -> str:
    return numbers.significant(_mean(row, throughput(kind)))


def _trained(row: Standing) -> str:
    speed = _mean(row, throughput("train"))
    # What is fitted in closed form has no speed of training: that is no missing number.
    if speed is None and row.role != "model":
        return numbers.NOT_APPLICABLE
    return numbers.significant(speed)


def _best(rows: list[Standing], rank: Ranking | None) -> set[str]:
    """The rows whose printed number is the best of the column; none if all are the same."""
    if rank is None:
        return set()
    printed = {}
    for row in rows:
        value = row.value(rank.measure)
        if value:
            printed[row.name] = round(value.mean, rank.metric.digits)
    if len(set(printed.values())) < 2:
        return set()
    top = min(printed.values(), key=rank.key)
    return {name for name, number in printed.items() if number == top}


def _note(row: Standing, films: list[FilmInfo]) -> str:
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


def _notes(results: Results, rows: list[Standing], films: list[FilmInfo]) -> list[str]:
    notes = []
    for metric in results.metrics:
        label = one_line(metric.label, 40)
        if metric.unavailable is not None:
            reason = one_line(metric.unavailable, 300)
            notes.append(f"{label} is n/a: {reason}")
            continue
        for part, part_name in PART_NAMES.items():
            lacking = [
                row.name for row in rows if row.records and not row.value(score(metric.name, part))
            ]
            if lacking and any(_frames(film, part) for film in films):
                notes.append(
                    f"{label}, {part_name}, is n/a for {numbers.listed(lacking)}: "
                    "the record holds no finite number."
                )
    bare = [one_line(film.name, 40) for film in films if not film.held_out_frames]
    if bare:
        notes.append(
            f"Nothing was held out of {numbers.listed(bare)}: "
            "what is n/a there could not be measured."
        )
    untimed = [
        row.name
        for row in rows
        if row.records
        and any(
            row.value(throughput(kind)) is None
            for kind in ("train", "encode", "decode")
            if kind != "train" or row.role == "model"
        )
    ]
    if untimed:
        notes.append(f"frames/s read n/a where they were not timed: {numbers.listed(untimed)}.")
    return notes + _of_codecs(rows, films)


def _of_codecs(rows: list[Standing], films: list[FilmInfo]) -> list[str]:
    """What must be known of codecs: what they saw, and how near they came to their bytes."""
    codecs = [row for row in rows if row.codec and row.records]
    if not codecs:
        return []
    notes = []
    if any(film.held_out_frames for film in films):
        notes.append(
            f"In brackets: {numbers.listed([row.name for row in codecs])} coded every frame, the "
            "held-out ones too, so nothing was held out of what they saw."
        )
    for row in codecs:
        told = {record.watched: record.note for record in row.records if record.note}
        where = f" on {len(told)} of {len(row.films)} films" if len(films) > 1 else ""
        if told and len(films) > 1:
            notes.append(
                f"{row.name} is not within 3% of the bytes asked for{where}; the tables of the "
                "films say why."
            )
        elif told:
            notes.append(f"{row.name}: {one_line(next(iter(told.values())), REASON_LENGTH)}.")
    return notes


def _frames(film: FilmInfo, part: Part) -> int:
    return film.seen_frames if part == "seen" else film.held_out_frames
