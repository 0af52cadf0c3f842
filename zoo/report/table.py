"""Tables: columns, rows, notes and the formats of cells, all plain text until they are rendered.

`to_markdown` renders one for the report, `FittingTable` for a terminal.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from zoo.base import numbers
from zoo.base.markdown import Markdown, escape
from zoo.base.records import FilmInfo, Part, Record, Results, Throughput
from zoo.base.safe_text import one_line
from zoo.report.aggregate import (
    Measure,
    ResultRow,
    Value,
    bytes_per_frame,
    machines,
    quantised_bytes_per_frame,
)
from zoo.report.ranking import SIMILAR_BYTES, Ranking, best_rows, size_classes

REASON_LENGTH = 160
WAIVED = "†"
"""Marks a model that breaks promises of the contract on purpose."""


@dataclass(frozen=True)
class Cell:
    """A number or a placeholder, on several lines if it has a spread."""

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
    """A heading, and the text under it for each row."""

    heading: tuple[str, ...]
    text: Callable[[ResultRow], str]
    best: Ranking | None = None
    """Decides which cell of the column is the best."""


def build_table(
    rows: Sequence[ResultRow],
    columns: Sequence[Column],
    films: Sequence[FilmInfo],
    notes: Sequence[str] = (),
) -> Table:
    """Fill in the cells; a row whose runs all failed has dashes, and the reason as a note."""
    best = [
        best_rows([row for row in rows if _comparable(row, films, column.best)], column.best)
        if column.best
        else set()
        for column in columns
    ]
    table_rows = []
    for row in rows:
        cells = [
            Cell(column.text(row), row.name in best_names)
            if row.records
            else Cell(numbers.NOT_APPLICABLE)
            for column, best_names in zip(columns, best, strict=True)
        ]
        table_rows.append(Row(display_name(row), row.role, tuple(cells), failure_note(row, films)))
    headings = (("",), *(column.heading for column in columns))
    return Table(headings, tuple(table_rows), tuple(notes))


def display_name(row: ResultRow) -> str:
    """A row's name with its role, unless it is a model, and the mark of those with waivers."""
    name = f"{row.name} {WAIVED}" if waivers(row) else row.name
    if row.role == "model":
        return name
    return f"{name} ({'codec' if row.codec else row.role})"


def waivers(row: ResultRow) -> dict[str, str]:
    """Why a row breaks promises of the contract on purpose, by the name of the check."""
    return {check: why for record in row.records for check, why in (record.waivers or {}).items()}


def waiver_notes(rows: Iterable[ResultRow]) -> list[str]:
    """What the mark beside a name means: a sentence for each row that has it."""
    notes = []
    for row in rows:
        broken = [f"{one_line(c, 80)} ({one_line(why, 200)})" for c, why in waivers(row).items()]
        if broken:
            count = numbers.counted(len(broken), "promise")
            notes.append(
                f"{WAIVED} {row.name} breaks {count} of the model contract on purpose: "
                f"{'; '.join(broken)}."
            )
    return notes


def bytes_column() -> Column:
    """Bytes per frame, without which no quality means anything."""
    return Column(("bytes per frame:", "quantised / coded"), bytes_text)


def bytes_text(row: ResultRow) -> str:
    """Bytes per frame, quantised and after lossless coding; a codec has only the latter."""
    if not row.records:
        return numbers.NOT_APPLICABLE
    quantised = mean_value(row, quantised_bytes_per_frame)
    first = numbers.NOT_APPLICABLE if row.codec else _bytes(quantised)
    return f"{first} / {_bytes(mean_value(row, bytes_per_frame))}"


def _bytes(value: float | None) -> str:
    return numbers.whole(value) if value == round(value or 0.0) else numbers.significant(value)


def bytes_relative_to(row: ResultRow, other: ResultRow) -> str:
    """How a row's bytes per frame compare with another's; empty where they are about the same.

    `6.8 times the bytes of fsq`, or `15% of the bytes of ae`.
    """
    size, other_size = (mean_value(one, bytes_per_frame) for one in (row, other))
    if not size or not other_size or 1 / SIMILAR_BYTES <= size / other_size <= SIMILAR_BYTES:
        return ""
    ratio = size / other_size
    shown = numbers.times(ratio) if ratio > 1 else f"{numbers.percent(ratio)} of"
    return f"{shown} the bytes of {other.name}"


def several_sizes(rows: Iterable[ResultRow]) -> bool:
    """Whether the rows are of more than one size class."""
    sizes = {row.name: mean_value(row, bytes_per_frame) for row in rows}
    return len(set(size_classes({name: size for name, size in sizes.items() if size}).values())) > 1


def _comparable(row: ResultRow, films: Sequence[FilmInfo], rank: Ranking | None) -> bool:
    """Whether a row can be the best: it finished every film, and saw no held-out frames."""
    held_out = rank is not None and rank.part == "held_out"
    return len(row.films) == len(films) and not (held_out and row.codec)


def failure_note(row: ResultRow, films: Sequence[FilmInfo]) -> str:
    """Why runs of a row are missing from its numbers; empty if none are."""
    if not row.failed:
        missing = len(films) - len(row.films)
        return f"{len(row.films)} of {len(films)} films" if missing else ""
    reason = one_line(row.failed[0].reason or "no reason was recorded", REASON_LENGTH)
    if not row.records:
        return reason if reason.startswith(f"{numbers.NOT_AVAILABLE}: ") else f"failed: {reason}"
    if len(row.films) < len(films):
        return f"{len(row.films)} of {len(films)} films; failed: {reason}"
    done = len(row.records) + len(row.failed)
    return f"{len(row.failed)} of {done} runs failed: {reason}"


def with_spread(
    value: Value | None, write: Callable[[float], str], spread: Callable[[float], str]
) -> str:
    """Write a value, with its spread over seeds, if known, on a second line."""
    if value is None:
        return numbers.NOT_AVAILABLE
    text = write(value.mean)
    return text if value.spread is None else f"{text}\n± {spread(value.spread)}"


def percentage(value: Value | None) -> str:
    """Write a share of 1 in percent: `28%`, `± 0.4%`."""
    return with_spread(value, numbers.percent, lambda spread: f"{numbers.spread(100 * spread, 0)}%")


def fixed_value(value: Value | None, digits: int) -> str:
    """Write a value with `digits` decimals: `24.13`, `± 0.05`."""
    return with_spread(
        value,
        lambda number: numbers.fixed(number, digits),
        lambda spread: numbers.spread(spread, digits),
    )


def inline(text: str) -> str:
    """A value and its spread on one line: `24.13 ± 0.05`."""
    return text.replace("\n", " ")


def value_with_unit(value: Value, rank: Ranking) -> str:
    """Write a value in a sentence: `24.13 ± 0.05 dB`."""
    return inline(fixed_value(value, rank.metric.digits)) + rank.unit


def value_at_bytes(
    row: ResultRow, value: Value, rank: Ranking, best: ResultRow | None = None
) -> str:
    """A value with its bytes: `0.371 ± 0.001 at 10.1 bytes per frame`.

    For a row compared with the best model, bytes that differ are compared too.
    """
    size = mean_value(row, bytes_per_frame)
    cost = "" if size is None else f" at {numbers.significant(size)} bytes per frame"
    beside = bytes_relative_to(row, best) if best else ""
    return f"{value_with_unit(value, rank)}{cost}" + (f", {beside}" if beside else "")


def bracketed(text: str, row: ResultRow, part: Part) -> str:
    """Put a codec's number on held-out frames in brackets: it coded these frames too."""
    return f"({text})" if row.codec and part == "held_out" else text


def pair(first: str, second: str) -> str:
    """Two numbers of one cell, one above the other; a single dash where neither applies."""
    neither = first == second == numbers.NOT_APPLICABLE
    return first if neither else f"{first} /\n{second}"


def dash_for_codec(row: ResultRow, text: str) -> str:
    """A dash for a codec, which has no latent per frame, no weights and no decoder of its own."""
    return numbers.NOT_APPLICABLE if row.codec else text


def mean_value(row: ResultRow, measure: Measure, ratio: bool = False) -> float | None:
    """A measure's mean over seeds and films; the geometric mean of a ratio."""
    value = row.value(measure, ratio)
    return value.mean if value else None


def throughput(kind: str) -> Measure:
    """The median frames/s of `train`, `encode_one` or any other timing of a cost."""

    def measure(record: Record) -> float | None:
        timing: Throughput | None = getattr(record.cost, kind) if record.cost else None
        return timing.median if timing else None

    return measure


def parameters_column() -> Column:
    """Trained parameters; a codec has none."""
    return Column(
        ("param-", "eters"),
        lambda row: dash_for_codec(row, numbers.scaled(mean_value(row, lambda r: r.parameters))),
    )


def machine_columns(results: Results) -> list[Column]:
    """The machine of each row, if there are several machines."""
    if len(machines(results)) < 2:
        return []
    return [Column(("on",), lambda row: row.machine)]


def to_markdown(content: Table) -> Markdown:
    """Render a table: the first column to the left, numbers to the right, the best ones bold."""
    if not content.rows:
        return Markdown("")
    headings = ["<br>".join(escape(line) for line in column) for column in content.columns]
    lines = [
        "| " + " | ".join(headings) + " |",
        "|:--|" + "--:|" * (len(headings) - 1),
    ]
    for row in content.rows:
        name = escape(row.name) + (f"<br>{escape(row.note)}" if row.note else "")
        lines.append("| " + " | ".join([name, *map(_cell, row.cells)]) + " |")
    return Markdown("\n".join(lines))


def _cell(cell: Cell) -> str:
    """The lines of a cell, the first one bold if it is the best of its column."""
    lines = [escape(line) for line in cell.text.split("\n")]
    if cell.best:
        lines[0] = Markdown(f"**{lines[0]}**")
    return "<br>".join(lines)


NAME_WIDTHS = (30, 14)
"""Letters after which names are wrapped, and after which they are in a narrow terminal."""
LEAST_COLUMNS = 3
"""The names, the bytes and the first metric, which stay whatever the width."""


@dataclass(frozen=True)
class FittingTable:
    """A table for Rich, which leaves out columns from the right if the terminal is too narrow.

    If not even the first ones fit, their numbers are below the names.
    """

    content: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update(width=10_000)

        def fits(table: RichTable) -> bool:
            return Measurement.get(console, wide, table).maximum <= options.max_width

        # In a pipe or a file, names are on one line, so that they can be searched for.
        usual, narrow = NAME_WIDTHS if console.is_terminal else (None, None)
        most = len(self.content.columns)
        least = min(LEAST_COLUMNS, most)
        forms = [(count, 2, usual) for count in range(most, least - 1, -1)]
        forms += [(least, 1, usual), (least, 1, narrow)]
        count, fitting = next(
            ((form[0], table) for form in forms if fits(table := self._grid(*form))),
            (least, None),
        )
        yield fitting or self._stacked(count)
        if count < most:
            yield Text(
                "This terminal is too narrow for all columns; the report has them.", style="dim"
            )
        for row in self.content.rows:
            if row.note:
                yield Text(f"{row.name}: {row.note}", style="dim")
        for note in self.content.notes:
            yield Text(note, style="dim")

    def _stacked(self, count: int) -> Text:
        """A row's name, and a line for each number, which a terminal may wrap."""
        lines = []
        for row in self.content.rows:
            lines.append(row.name)
            for heading, cell in zip(self.content.columns[1:count], row.cells, strict=False):
                what = " ".join(heading).replace(":", ",")
                lines.append(f"  {what}: {inline(cell.text)}")
        return Text("\n".join(lines), overflow="fold")

    def _grid(self, count: int, gap: int, name_width: int | None) -> RichTable:
        # `Text` throughout: a model's name in square brackets is not markup.
        table = RichTable(box=SIMPLE_HEAD, padding=(0, gap, 0, 0), pad_edge=False)
        for index, heading in enumerate(self.content.columns[:count]):
            table.add_column(
                Text(_upright("\n".join(heading))),
                justify="right" if index else "left",
                no_wrap=True,
                vertical="bottom",
            )
        for row in self.content.rows:
            shown = row.cells[: count - 1]
            # Numbers are beside the name, spreads below: only headings are aligned to the bottom.
            folded = textwrap.fill(row.name, name_width) if name_width else row.name
            lines = max(text.count("\n") for text in (folded, *(cell.text for cell in shown)))
            name = _padded(folded, lines)
            name.stylize("" if row.role == "model" else "italic")
            table.add_row(name, *(_numbers_text(cell, lines) for cell in shown))
        return table


def _numbers_text(cell: Cell, lines: int) -> Text:
    text = _padded(cell.text, lines)
    text.stylize("bold" if cell.best else "")
    return text


def _padded(text: str, lines: int) -> Text:
    """Text with this many line breaks, so that the cells of a row begin at the same height."""
    return Text(text + "\n" * (lines - text.count("\n")))


def _upright(heading: str) -> str:
    """A heading with one word per line, its arrow beside the last, for a narrow terminal."""
    return re.sub(r" (?:/ )?(?![↑↓])", "\n", heading)
