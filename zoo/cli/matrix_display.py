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
from zoo.codec import FilmCodec
from zoo.compare.plan import Cell
from zoo.evaluation.coding import ASKED
from zoo.plain_text import one_line
from zoo.records import Record
from zoo.report.numbers import duration
from zoo.training.watching import Moment

SHOWN = 4
"""Trainings whose losses are shown at once."""


class MatrixDisplay(LiveDisplay):
    """Models down, films across; each cell says what became of it."""

    def __init__(self, console: Console, cells: Sequence[Cell]) -> None:
        self.console = console
        self.shows_pace = console.is_terminal
        names = dict.fromkeys(["latent", "seed", *(o for c in cells for o in c.settings.options)])
        self.swept = {
            name: {_settings(cell)[name] for cell in cells if name in _settings(cell)}
            for name in names
        }
        self.films = list(dict.fromkeys(c.film.name for c in cells))
        self.rows = list(dict.fromkeys(self._row(c) for c in cells))
        self.states: dict[tuple[str, str], str] = {}
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[of]}"))
        self.bar = Progress(*columns, TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
        self.total = len(cells)
        self.done = 0
        self.task = self.bar.add_task("cells", total=len(cells), of=f"0/{len(cells)}", left="")
        self.time_left = TimeLeft(cells)
        self.moments: dict[Cell, Moment] = {}
        self.live = Live(console=console, transient=True, refresh_per_second=4)

    def started(self, cell: Cell) -> None:
        """A cell is begun, or waits for a machine that has room for it."""
        self.time_left.started(cell)
        self._set(cell, "…" if cell.own else f"watching {cell.watched.name}")

    def trained(self, cell: Cell, moment: Moment) -> None:
        """A moment in the training of a cell."""
        self.moments[cell] = moment
        self.time_left.heard(cell)
        self._advance()
        self._set(cell, f"training {moment.progress:.0%}")

    def coding(self, cell: Cell, line: str) -> None:
        """A codec says how far it is."""
        self._set(cell, one_line(line, 40))

    def evaluating(self, cell: Cell) -> None:
        """A cell's model watches the film."""
        self.moments.pop(cell, None)
        self.time_left.heard(cell)
        self._set(cell, f"watching {cell.watched.name}")

    def skipped(self, cell: Cell) -> None:
        """A cell that cannot be run counts as done."""
        self._count(cell, found=True)

    def finished(self, cell: Cell, record: Record, found: bool) -> None:
        """A cell has its record; where no terminal is watching, it is a line of its own."""
        self._count(cell, found)
        done = "found" if found else "done"
        self._set(cell, done if record.status == "ok" else "failed")
        if not self.console.is_terminal or record.status == "failed":
            what = record.reason or done
            line = f"{self._row(cell)} on {cell.film.name}"
            line += f": {what}" if cell.own else f", watching {cell.watched.name}: {what}"
            self.console.print(escape(line), soft_wrap=True, highlight=False)

    def _row(self, cell: Cell) -> str:
        words = [cell.architecture.name]
        own = _settings(cell)
        for name, several in self.swept.items():
            if len(several) > 1 and name in own:
                words.append(f"{name} {own[name]}")
        return ", ".join(words)

    def _count(self, cell: Cell, found: bool) -> None:
        self.done += 1
        self.moments.pop(cell, None)
        self.time_left.finished(cell, found)
        self._advance()

    def _advance(self) -> None:
        begun = sum(moment.progress for moment in self.moments.values())
        of = f"{self.done}/{self.total}"
        self.bar.update(self.task, completed=self.done + begun, of=of)

    def _set(self, cell: Cell, state: str) -> None:
        self.states[self._row(cell), cell.film.name] = state
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
        parts += [losses_table(moment) for moment in list(self.moments.values())[:SHOWN]]
        return Group(*parts)


def _settings(cell: Cell) -> dict[str, object]:
    """What a cell is set to, by the names of settings and options that a sweep goes over."""
    chosen = cell.settings
    if issubclass(cell.architecture, FilmCodec):
        known = {ASKED, *cell.architecture.Options.model_fields}
        seed = {"seed": chosen.seed} if cell.architecture.trains else {}
        return {**seed, **{name: v for name, v in chosen.options.items() if name in known}}
    return {"latent": chosen.latent, "seed": chosen.seed, **chosen.options}
