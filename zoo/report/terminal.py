"""The end of a comparison in a terminal: the first tables and who is ahead."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, replace

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from zoo.base.records import Results
from zoo.report.aggregate import at_main_latent_size
from zoo.report.counted_films import film_label, over_films
from zoo.report.findings import who_is_ahead
from zoo.report.score_tables import across_films_table, film_table
from zoo.report.table import Cell, Table, inline

NAME_WIDTHS = (30, 14)
"""Letters after which names are wrapped, and after which they are in a narrow terminal."""
LEAST_COLUMNS = 3
"""The names, the bytes and the first metric, which stay whatever the width."""


def summary(results: Results) -> RenderableType:
    """Lay out every film, the means over films and who is ahead, for `Console.print`."""
    results = at_main_latent_size(results)
    parts: list[RenderableType] = []
    if len(results.films) > 1:
        for film in results.films:
            parts.append(Text(film_label(results, film), style="bold"))
            # Notes on all films are below the last table.
            parts.append(_Fitting(replace(film_table(results, film), notes=())))
    title = over_films(results)
    parts.append(Text(title[:1].upper() + title[1:], style="bold"))
    parts.append(_Fitting(across_films_table(results)))
    findings = Text("\n".join(who_is_ahead(results)))
    # No padding: it would fill each line to the width, which is a thousand letters in a file.
    return Group(*parts, Text(), findings, Text())


@dataclass(frozen=True)
class _Fitting:
    """A table that leaves out columns from the right if the terminal is too narrow.

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
            table.add_row(name, *(_numbers(cell, lines) for cell in shown))
        return table


def _numbers(cell: Cell, lines: int) -> Text:
    text = _padded(cell.text, lines)
    text.stylize("bold" if cell.best else "")
    return text


def _padded(text: str, lines: int) -> Text:
    """Text with this many line breaks, so that the cells of a row begin at the same height."""
    return Text(text + "\n" * (lines - text.count("\n")))


def _upright(heading: str) -> str:
    """A heading with one word per line, its arrow beside the last, for a narrow terminal."""
    return re.sub(r" (?:/ )?(?![↑↓])", "\n", heading)
