"""The end of a comparison in a terminal: the first tables and who is ahead."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from zoo.records import Results
from zoo.report.sizes import at_main_size
from zoo.report.table import Cell, Table
from zoo.report.tables import across_table, film_table
from zoo.report.text import one_line
from zoo.report.winners import over_films, winners

NAME_WIDTH = 30
LEAST_COLUMNS = 3
"""The names, the bytes and the first metric: these stay whatever the width."""


def summary(results: Results) -> RenderableType:
    """Lay out every film, the means over films and who is ahead, for `Console.print`."""
    results = at_main_size(results)
    parts: list[RenderableType] = []
    if len(results.films) > 1:
        for film in results.films:
            parts.append(Text(one_line(film.name, 60), style="bold"))
            # What is to be said of all films stands below the last table.
            parts.append(_Fitting(replace(film_table(results, film), notes=())))
    title = over_films(results)
    parts.append(Text(title[:1].upper() + title[1:], style="bold"))
    parts.append(_Fitting(across_table(results)))
    said = Text("\n".join(winners(results)))
    # No padding: it would fill each line to the width, which in a file is a thousand letters.
    return Group(*parts, Text(), said, Text())


@dataclass(frozen=True)
class _Fitting:
    """A table that leaves out columns from the right where the terminal is too narrow for them."""

    content: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update(width=10_000)
        # In a pipe or a file names stand on one line, where they can be searched for.
        longest = NAME_WIDTH if console.is_terminal else None

        def fits(count: int, gap: int) -> bool:
            needed = Measurement.get(console, wide, self._drawn(count, gap, longest)).maximum
            return needed <= options.max_width

        count = len(self.content.columns)
        while count > LEAST_COLUMNS and not fits(count, gap=2):
            count -= 1
        yield self._drawn(count, 2 if fits(count, gap=2) else 1, longest)
        if count < len(self.content.columns):
            yield Text(
                "This terminal is too narrow for all columns; the report has them.", style="dim"
            )
        for row in self.content.rows:
            if row.note:
                yield Text(f"{row.name}: {row.note}", style="dim")
        for note in self.content.notes:
            yield Text(note, style="dim")

    def _drawn(self, count: int, gap: int, longest: int | None) -> RichTable:
        # `Text` throughout: a model's name in square brackets is a name and no markup.
        table = RichTable(box=SIMPLE_HEAD, padding=(0, gap, 0, 0), pad_edge=False)
        for index, heading in enumerate(self.content.columns[:count]):
            table.add_column(
                Text(_upright("\n".join(heading))),
                justify="right" if index else "left",
                no_wrap=bool(index),  # a name is folded before a number would be cut
                overflow="fold",
                max_width=None if index else longest,
                vertical="bottom",
            )
        for row in self.content.rows:
            shown = row.cells[: count - 1]
            # Numbers stand beside the name, spreads below: headings alone are aligned below.
            lines = max((cell.text.count("\n") for cell in shown), default=0)
            name = Text(row.name + "\n" * lines, style="" if row.role == "model" else "italic")
            table.add_row(name, *(_numbers(cell, lines) for cell in shown))
        return table


def _numbers(cell: Cell, lines: int) -> Text:
    text = cell.text + "\n" * (lines - cell.text.count("\n"))
    return Text(text, style="bold" if cell.best else "")


def _upright(heading: str) -> str:
    """Set a heading word under word, its arrow beside the last: a terminal is narrow."""
    return re.sub(r" (?:/ )?(?![↑↓])", "\n", heading)
