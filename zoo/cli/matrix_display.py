"""The matrix of a comparison in the terminal: cells that fill up while it runs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from zoo.cli.watching import LiveDisplay, losses_table
from zoo.compare.matrix import Cell
from zoo.records import Record
from zoo.training.watching import Moment


class MatrixDisplay(LiveDisplay):
    """Models down, films across; each cell says what became of it."""

    def __init__(self, console: Console, cells: Sequence[Cell]) -> None:
        self.console = console
        self.shows_pace = console.is_terminal
        self.states = {(c.architecture.name, c.film.name): "" for c in cells}
        self.films = list(dict.fromkeys(c.film.name for c in cells))
        self.models = list(dict.fromkeys(c.architecture.name for c in cells))
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[of]}"))
        self.bar = Progress(*columns, TimeElapsedColumn())
        self.total = len(cells)
        self.done = 0
        self.task = self.bar.add_task("cells", total=len(cells), of=f"0/{len(cells)}")
        self.moment: Moment | None = None
        self.current: tuple[str, str] = ("", "")
        self.live = Live(console=console, transient=True, refresh_per_second=4)

    def started(self, cell: Cell) -> None:
        """A cell is begun."""
        self.current = (cell.architecture.name, cell.film.name)
        self.moment = None
        self._set("…")

    def trained(self, moment: Moment) -> None:
        """A moment in the training of the cell."""
        self.moment = moment
        self.bar.update(self.task, completed=self.done + moment.progress)
        self._set(f"training {moment.progress:.0%}")

    def evaluating(self, cell: Cell) -> None:
        """The cell's model watches the film."""
        self.moment = None
        self._set("watching")

    def finished(self, cell: Cell, record: Record, found: bool) -> None:
        """A cell has its record; where no terminal is watching, it is a line of its own."""
        self.done += 1
        self.bar.update(self.task, completed=self.done, of=f"{self.done}/{self.total}")
        done = "found" if found else "done"
        self._set(done if record.status == "ok" else "failed")
        if not self.console.is_terminal or record.status == "failed":
            what = record.reason or done
            line = f"{cell.architecture.name} on {cell.film.name}: {what}"
            self.console.print(escape(line), soft_wrap=True, highlight=False)

    def _set(self, state: str) -> None:
        self.states[self.current] = state
        self.live.update(self._render())

    def _render(self) -> RenderableType:
        table = Table("", *map(escape, self.films))
        for model in self.models:
            table.add_row(escape(model), *(self.states.get((model, f), "") for f in self.films))
        parts: list[RenderableType] = [table, self.bar]
        if self.moment:
            parts.append(losses_table(self.moment))
        return Group(*parts)
