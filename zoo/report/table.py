"""Tables: columns, rows, notes and cell formats, in plain text until a table is rendered.

`to_markdown` renders a table for the report, `FittingTable` for a terminal.
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
"""Marks a model that breaks promises of the model contract on purpose."""


@dataclass(frozen=True)
class Cell:
    """The text of a cell: a number or a placeholder; a spread is on a second line."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A table row: a model or a reference."""

    name: str
    role: str
    cells: tuple[Cell, ...]
    note: str = ""
    """A remark that readers of the row need, such as why it failed."""


@dataclass(frozen=True)
class Table:
    """Headings (each of one or more lines), rows and the notes below them."""

    columns: tuple[tuple[str, ...], ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Column:
    """A heading, and a function that writes the cell of a row."""

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
    """Build a table; a row whose runs all failed gets dashes and the reason as a note."""
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
    """A row's name, with the role of a reference or codec and the mark of a row with waivers."""
    name = f"{row.name} {WAIVED}" if waivers(row) else row.name
    if row.role == "model":
        return name
    return f"{name} ({'codec' if row.codec else row.role})"


def waivers(row: ResultRow) -> dict[str, str]:
    """The reasons why a row breaks promises of the model contract, by name of the check."""
    return {check: why for record in row.records for check, why in (record.waivers or {}).items()}


def waiver_notes(rows: Iterable[ResultRow]) -> list[str]:
    """Explain the mark of waivers: a sentence for each row that has it."""
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
    """The column of bytes per frame, which every table of quality has."""
    return Column(("bytes per frame:", "quantised / coded"), bytes_text)


def bytes_text(row: ResultRow) -> str:
    """Bytes per frame, quantised and after lossless coding; for a codec only the second."""
    if not row.records:
        return numbers.NOT_APPLICABLE
    quantised = mean_value(row, quantised_bytes_per_frame)
    first = numbers.NOT_APPLICABLE if row.codec else _bytes(quantised)
    return f"{first} / {_bytes(mean_value(row, bytes_per_frame))}"


def _bytes(value: float | None) -> str:
    return numbers.whole(value) if value == round(value or 0.0) else numbers.significant(value)


def bytes_relative_to(row: ResultRow, other: ResultRow) -> str:
    """Compare a row's bytes per frame with another's; empty if they are about the same.

    Such as `6.8 times the bytes of fsq` or `15% of the bytes of ae`.
    """
    size, other_size = (mean_value(one, bytes_per_frame) for one in (row, other))
    if not size or not other_size or 1 / SIMILAR_BYTES <= size / other_size <= SIMILAR_BYTES:
        return ""
    ratio = size / other_size
    shown = numbers.times(ratio) if ratio > 1 else f"{numbers.percent(ratio)} of"
    return f"{shown} the bytes of {other.name}"


def several_sizes(rows: Iterable[ResultRow]) -> bool:
    """Whether the rows fall into more than one size class (see `size_classes`)."""
    sizes = {row.name: mean_value(row, bytes_per_frame) for row in rows}
    return len(set(size_classes({name: size for name, size in sizes.items() if size}).values())) > 1


def _comparable(row: ResultRow, films: Sequence[FilmInfo], rank: Ranking | None) -> bool:
    """Whether a row can be the best: it finished every film and did not see these frames."""
    held_out = rank is not None and rank.part == "held_out"
    return len(row.films) == len(films) and not (held_out and row.codec)


def failure_note(row: ResultRow, films: Sequence[FilmInfo]) -> str:
    """State which runs a row lacks, and why; empty if none."""
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
    """Write a fraction in percent: `28%`, `± 0.4%`."""
    return with_spread(value, numbers.percent, lambda spread: f"{numbers.spread(100 * spread, 0)}%")


def fixed_value(value: Value | None, digits: int) -> str:
    """Write a value with `digits` decimals: `24.13`, `± 0.05`."""
    return with_spread(
        value,
        lambda number: numbers.fixed(number, digits),
        lambda spread: numbers.spread(spread, digits),
    )


def inline(text: str) -> str:
    """Put a value and its spread on one line: `24.13 ± 0.05`."""
    return text.replace("\n", " ")


def value_with_unit(value: Value, rank: Ranking) -> str:
    """Write a value for a sentence: `24.13 ± 0.05 dB`."""
    return inline(fixed_value(value, rank.metric.digits)) + rank.unit


def value_at_bytes(
    row: ResultRow, value: Value, rank: Ranking, best: ResultRow | None = None
) -> str:
    """Write a value with its bytes: `0.371 ± 0.001 at 10.1 bytes per frame`.

    With `best`, the row's bytes are compared with those of this model, if they differ.
    """
    size = mean_value(row, bytes_per_frame)
    cost = "" if size is None else f" at {numbers.significant(size)} bytes per frame"
    beside = bytes_relative_to(row, best) if best else ""
    return f"{value_with_unit(value, rank)}{cost}" + (f", {beside}" if beside else "")


def bracketed(text: str, row: ResultRow, part: Part) -> str:
    """Put a codec's number on held-out frames in brackets, because it coded these frames."""
    return f"({text})" if row.codec and part == "held_out" else text


def pair(first: str, second: str) -> str:
    """Put two numbers in a cell, one above the other; a single dash if neither applies."""
    neither = first == second == numbers.NOT_APPLICABLE
    return first if neither else f"{first} /\n{second}"


def dash_for_codec(row: ResultRow, text: str) -> str:
    """The text, or a dash for a codec, which has no latents, weights or decoder of its own."""
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
    """Render a table: names left-aligned, numbers right-aligned, the best ones bold."""
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
"""Characters after which names are wrapped, usually and in a narrow terminal."""
LEAST_COLUMNS = 3
"""Columns that are never left out: the names, the bytes and the first metric."""


@dataclass(frozen=True)
class FittingTable:
    """A table for Rich, without its rightmost columns if the terminal is too narrow.

    If even `LEAST_COLUMNS` do not fit, their numbers are listed below the names.
    """

    content: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update(width=10_000)

        def fits(table: RichTable) -> bool:
            return Measurement.get(console, wide, table).maximum <= options.max_width

        # In a pipe or a file, names stay on one line, so that they can be searched for.
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
        """Each row's name, followed by a line per number, which a terminal may wrap."""
        lines = []
        for row in self.content.rows:
            lines.append(row.name)
            for heading, cell in zip(self.content.columns[1:count], row.cells, strict=False):
                what = " ".join(heading).replace(":", ",")
                lines.append(f"  {what}: {inline(cell.text)}")
        return Text("\n".join(lines), overflow="fold")

    def _grid(self, count: int, gap: int, name_width: int | None) -> RichTable:
        # `Text` throughout, so that square brackets in a model's name are not taken for markup.
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
            # Numbers are on the line of the name, spreads below: only headings are bottom-aligned.
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
    """Pad text to this many line breaks, so that a row's cells begin at the same height."""
    return Text(text + "\n" * (lines - text.count("\n")))


def _upright(heading: str) -> str:
    """Put each word of a heading on its own line, and an arrow after the last word."""
    return re.sub(r" (?:/ )?(?![↑↓])", "\n", heading)
