"""The matrix of a comparison in the terminal: cells that fill up while it runs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from zoo.cli.time_left import TimeLeft
from zoo.cli.watching import LiveDisplay, losses_table
from zoo.compare.plan import Cell
from zoo.records import Record
from zoo.report.numbers import duration
from zoo.training.watching import Moment


class MatrixDisplay(LiveDisplay):
    """Models down, films across; each cell says what became of it."""

    def __init__(self, console: Console, cells: Sequence[Cell]) -> None:
        self.console = console
        self.shows_pace = console.is_terminal
        self.swept = len({(c.settings.latent, c.settings.seed) for c in cells}) > 1
        self.films = list(dict.fromkeys(c.film.name for c in cells))
        self.rows = list(dict.fromkeys(self._row(c) for c in cells))
        self.states: dict[tuple[str, str], str] = {}
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[of]}"))
        self.bar = Progress(*columns, TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
        self.total = len(cells)
        self.done = 0
        self.task = self.bar.add_task("cells", total=len(cells), of=f"0/{len(cells)}", left="")
        self.time_left = TimeLeft(cells)
        self.moment: Moment | None = None
        self.current: tuple[str, str] = ("", "")
        self.live = Live(console=console, transient=True, refresh_per_second=4)

    def started(self, cell: Cell) -> None:
        """A cell is begun."""
        self.current = (self._row(cell), cell.film.name)
        self.moment = None
        self.time_left.started()
        self._set("…" if cell.own else f"watching {cell.watched.name}")

    def trained(self, moment: Moment) -> None:
        """A moment in the training of the cell."""
        self.moment = moment
        self.bar.update(self.task, completed=self.done + moment.progress)
        self._set(f"training {moment.progress:.0%}")

    def evaluating(self, cell: Cell) -> None:
        """The cell's model watches the film."""
        self.moment = None
        self._set(f"watching {cell.watched.name}")

    def skipped(self, cell: Cell) -> None:
        """A cell that cannot be run counts as done."""
        self._count(cell, found=True)

    def finished(self, cell: Cell, record: Record, found: bool) -> None:
        """A cell has its record; where no terminal is watching, it is a line of its own."""
        self._count(cell, found)
        done = "found" if found else "done"
        self._set(done if record.status == "ok" else "failed")
        if not self.console.is_terminal or record.status == "failed":
            what = record.reason or done
            line = f"{self._row(cell)} on {cell.film.name}"
            line += f": {what}" if cell.own else f", watching {cell.watched.name}: {what}"
            self.console.print(escape(line), soft_wrap=True, highlight=False)

    def _row(self, cell: Cell) -> str:
        name = cell.architecture.name
        if not self.swept:
            return name
        return f"{name}, latent {cell.settings.latent}, seed {cell.settings.seed}"

    def _count(self, cell: Cell, found: bool) -> None:
        self.done += 1
        self.time_left.finished(cell, found)
        self.bar.update(self.task, completed=self.done, of=f"{self.done}/{self.total}")

    def _set(self, state: str) -> None:
        self.states[self.current] = state
        left = self.time_left.seconds()
        told = "" if left is None else f"about {duration(left)} left"
        self.bar.update(self.task, left=told)
        self.live.update(self._render())

    def _render(self) -> RenderableType:
        table = Table("", *map(escape, self.films))
        for row in self.rows:
            states = (escape(self.states.get((row, film), "")) for film in self.films)
            table.add_row(escape(row), *states)
        parts: list[RenderableType] = [table, self.bar]
        if self.moment:
            parts.append(losses_table(self.moment))
        return Group(*parts)
