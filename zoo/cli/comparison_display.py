"""Terminal output of `zoo compare`: the matrix of cells, the time left, the estimate."""

from __future__ import annotations

import itertools
import shutil
import statistics
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from zoo.api.codec import FilmCodec
from zoo.api.recipe_and_events import TrainingEvent
from zoo.base.numbers import NOT_AVAILABLE, counted, duration, scaled, verb
from zoo.base.records import Record
from zoo.base.safe_text import one_line
from zoo.cli.console import Console, Table
from zoo.cli.progress import LiveDisplay, ProgressLines, losses_table
from zoo.compare.cells import Cell
from zoo.compare.comparison import CompareProgress, Comparison
from zoo.compare.estimate import Estimate, ModelEstimate, estimate
from zoo.compare.executors import Executor
from zoo.compare.timing_trial import LONG_FRAMES, SHORT_FRAMES, Figure
from zoo.evaluation.codec_runs import BYTES_OPTION

SHOWN = 4
"""Largest number of trainings whose losses are shown at once."""
MOST_ROWS = 40
"""Largest number of table rows, since few terminals have more lines."""


class MatrixDisplay(LiveDisplay, CompareProgress):
    """A table of models by films with the state of each cell, above a bar and the losses."""

    def __init__(self, console: Console, cells: Sequence[Cell]) -> None:
        self.console, self.cells = console, cells
        self.shows_throughput = console.is_terminal
        names = dict.fromkeys(["latent", "seed", *(o for c in cells for o in c.settings.options)])
        self.swept = {
            name: {_settings(cell)[name] for cell in cells if name in _settings(cell)}
            for name in names
        }
        self.films = list(dict.fromkeys(c.trained_on.name for c in cells))
        self.rows = list(dict.fromkeys(self._row(c) for c in cells))
        self.states: dict[tuple[str, str], str] = {}
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[of]}"))
        self.bar = Progress(*columns, TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
        self.total = len(cells)
        self.done = 0
        self.task = self.bar.add_task("cells", total=len(cells), of=f"0/{len(cells)}", left="")
        self.time_left = TimeLeft(cells)
        self.events: dict[Cell, TrainingEvent] = {}
        self.lines = ProgressLines(console)
        # Rendered only when it is shown, since a plan with many cells has many rows and events.
        self.live = Live(
            console=console,
            transient=True,
            refresh_per_second=4,
            get_renderable=self._render,
        )

    def started(self, cell: Cell) -> None:
        """Show that a cell starts, or is queued by the executor."""
        self.time_left.started(cell)
        self._set(cell, "…" if cell.own else f"evaluating on {cell.evaluated_on.name}")

    def training(self, cell: Cell, event: TrainingEvent) -> None:
        """Show the progress of a cell's training."""
        self.events[cell] = event
        self.time_left.reported(cell)
        self.lines.show(self.name_of(cell), event)
        self._advance()
        self._set(cell, f"training {event.progress:.0%}")

    def encoding(self, cell: Cell, line: str) -> None:
        """Show the progress of a codec."""
        self._set(cell, one_line(line, 40))

    def evaluating(self, cell: Cell) -> None:
        """Show that a cell is trained and its evaluation starts."""
        self.events.pop(cell, None)
        self.time_left.reported(cell)
        self._set(cell, f"evaluating on {cell.evaluated_on.name}")

    def skipped(self, cell: Cell) -> None:
        """Count a cell that cannot be run as done."""
        self._count(cell, found=True)

    def finished(self, cell: Cell, record: Record, found: bool) -> None:
        """Show that a cell has its record; without a terminal, print a line about it."""
        self._count(cell, found)
        done = "found" if found else "done"
        absent = (record.reason or "").startswith(f"{NOT_AVAILABLE}: ")
        self._set(cell, done if record.status == "ok" else NOT_AVAILABLE if absent else "failed")
        if not self.console.is_terminal or record.status == "failed":
            line = f"{self.name_of(cell)}: {record.reason or done}"
            self.console.print(escape(line), soft_wrap=True, highlight=False)

    def name_of(self, cell: Cell) -> str:
        """Describe a cell: its row and its films."""
        other = "" if cell.own else f", evaluated on {cell.evaluated_on.name}"
        return f"{self._row(cell)} on {cell.trained_on.name}{other}"

    def _row(self, cell: Cell) -> str:
        words = [cell.architecture.name]
        own = _settings(cell)
        for name, several in self.swept.items():
            if len(several) > 1 and name in own:
                words.append(f"{name} {own[name]}")
        return ", ".join(words)

    def _count(self, cell: Cell, found: bool) -> None:
        self.done += 1
        self.events.pop(cell, None)
        self.time_left.finished(cell, found)
        self._advance()

    def _advance(self) -> None:
        begun = sum(event.progress for event in self.events.values())
        of = f"{self.done}/{self.total}"
        self.bar.update(self.task, completed=self.done + begun, of=of)

    def _set(self, cell: Cell, state: str) -> None:
        self.states[self._row(cell), cell.trained_on.name] = state

    def _render(self) -> RenderableType:
        left = self.time_left.seconds()
        remaining = "" if left is None else f"about {duration(left)} left"
        self.bar.update(self.task, left=remaining)
        table = Table("", *map(escape, self.films))
        shown = self._rows_shown()
        for row in shown:
            states = (escape(self.states.get((row, film), "")) for film in self.films)
            table.add_row(escape(row), *states)
        parts: list[RenderableType] = [table]
        if hidden := len(self.rows) - len(shown):
            parts.append(f"and {counted(hidden, 'row')} more")
        parts.append(self.bar)
        parts += [losses_table(event) for event in list(self.events.values())[:SHOWN]]
        return Group(*parts)

    def _rows_shown(self) -> list[str]:
        """All rows, or if there are too many, those in progress and the first of the rest."""
        if len(self.rows) <= MOST_ROWS:
            return self.rows
        over = {"done", "found", "failed"}
        states = list(self.states.items())
        busy = {row for (row, _), state in states if state not in over}
        rest = (row for row in self.rows if row not in busy)
        kept = busy | set(itertools.islice(rest, max(0, MOST_ROWS - len(busy))))
        return [row for row in self.rows if row in kept][:MOST_ROWS]


def start_lines(display: MatrixDisplay, found: Collection[Cell], folder: Path) -> list[str]:
    """Say what a comparison found, what it does next, and where its report will be."""
    cells = display.cells
    following = next((cell for cell in cells if cell not in found), None)
    lines = []
    if found and following is None:
        lines.append(f"all of {counted(len(cells), 'cell')} found finished")
    elif found and following:
        lines.append(
            f"{len(found)} of {counted(len(cells), 'cell')} found finished; "
            f"next: {display.name_of(following)}"
        )
    report = folder / "report.md"
    there = "is replaced" if report.exists() else "is written"
    return [*lines, f"report: {report} {there} when all cells are done"]


def _settings(cell: Cell) -> dict[str, object]:
    """A cell's values of the settings and options that a sweep may vary, by name."""
    chosen = cell.settings
    if issubclass(cell.architecture, FilmCodec):
        known = {BYTES_OPTION, *cell.architecture.Options.model_fields}
        seed = {"seed": chosen.seed} if cell.architecture.trains else {}
        return {**seed, **{name: v for name, v in chosen.options.items() if name in known}}
    return {"latent": chosen.latent, "seed": chosen.seed, **chosen.options}


class TimeLeft:
    """The time left: a cell takes as long as others of the same model, or as the mean of all.

    Assumes that as many cells as now run in parallel until the end.
    """

    def __init__(self, cells: Sequence[Cell], clock: Callable[[], float] = time.monotonic) -> None:
        self._waiting = dict.fromkeys(cells)
        self._clock = clock
        self._begun: dict[Cell, float] = {}
        self._reported: set[Cell] = set()
        self._lasted: dict[tuple[str, bool], list[float]] = {}

    def started(self, cell: Cell) -> None:
        """Note that a cell is started, or waits for room on a machine."""
        self._begun[cell] = self._clock()

    def reported(self, cell: Cell) -> None:
        """Note that a cell has reported, so that it no longer waits for room."""
        if cell not in self._reported:
            self._reported.add(cell)
            if len(self._begun) > len(self._reported):
                self._begun[cell] = self._clock()

    def finished(self, cell: Cell, found: bool) -> None:
        """Note that a cell is done; if it was `found` or cannot be run, its time is not used."""
        del self._waiting[cell]
        self._reported.discard(cell)
        begun = self._begun.pop(cell, None)
        if not found and begun is not None:
            self._lasted.setdefault(_kind(cell), []).append(self._clock() - begun)

    def seconds(self) -> float | None:
        """Seconds left; None while there is no time to estimate a waiting cell from."""
        total = 0.0
        usual: dict[tuple[str, bool], float | None] = {}
        now = self._clock()
        for cell in list(self._waiting):
            kind = _kind(cell)
            if kind not in usual:
                usual[kind] = self._usual(kind)
            expected = usual[kind]
            if expected is None:
                return None
            total += max(0.0, expected - (now - self._begun.get(cell, now)))
        return total / max(1, len(self._reported))

    def _usual(self, kind: tuple[str, bool]) -> float | None:
        lasted = list(self._lasted.items())
        own = self._lasted.get(kind)
        alike = own or [
            seconds for (_, is_own), each in lasted if is_own == kind[1] for seconds in each
        ]
        return statistics.fmean(alike) if alike else None


def _kind(cell: Cell) -> tuple[str, bool]:
    return cell.architecture.name, cell.own


def show_estimate(console: Console, comparison: Comparison, executor: Executor) -> None:
    """Run each missing model briefly, and print how long the whole comparison would take."""
    with console.status("looking for existing results") as status:

        def show_progress(name: str, number: int, count: int, seconds: float) -> None:
            if number == 1:
                console.print(
                    f"trying {counted(count, 'model')}, for about {duration(seconds)}; on a busy "
                    "machine for several minutes"
                )
            status.update(escape(f"trying {name}, {number} of {count}"))

        found = estimate(comparison, executor, show_progress)
    if found.models:
        console.print(_table(found))
    for line in _lines(found, comparison):
        console.print(line, markup=False, soft_wrap=True, highlight=False)


def _table(found: Estimate) -> Table:
    table = Table(*("", "cells", "training", "evaluating", "costs", "memory", "disk"), box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for model in found.models:
        table.add_row(escape(model.name), str(model.cells), *_figures(model))
    return table


def _figures(model: ModelEstimate) -> tuple[str, ...]:
    if model.problem:
        return ("n/a",)

    def shown(figure: Figure, amount: float, text: str) -> str:
        if figure not in model.guessed:
            return text
        return f"~{text}" if amount else "n/a"

    return (
        shown("training", model.training, duration(model.training)),
        shown("evaluating", model.evaluating, duration(model.evaluating)),
        shown("training", model.costs, duration(model.costs)),
        "n/a" if model.memory is None else scaled(model.memory, "B"),
        shown("disk", model.disk, scaled(model.disk, "B")),
    )


def _lines(found: Estimate, comparison: Comparison) -> list[str]:
    missing = found.cells - found.found
    if not missing:
        cells = "the only cell is" if found.cells == 1 else f"all {found.cells} cells are"
        return [f"{cells} there already: nothing would be trained, and the report written again"]
    lines = [
        f"{counted(found.cells, 'cell')}: {found.found} {verb(found.found, 'is', 'are')} there "
        f"already, {missing} would be run, {found.parallelism} at a time"
    ]
    lines += [
        f"{model.name}: nothing is known, {model.problem}"
        for model in found.models
        if model.problem
    ]
    if not found.parallelism:
        lines.append("no machine has room for a cell as it is now: cells would wait for one")
    guessed = sum(bool(model.guessed) for model in found.models)
    whole = f"measured on {SHORT_FRAMES} and {LONG_FRAMES} frames"
    lines.append(
        f"{found.tried} of {len(found.models)} models were tried; figures are {whole}"
        + (f", but those with ~ are guesses, for {guessed} models" if guessed else "")
    )
    known = [model.memory for model in found.models if model.memory is not None]
    disk = sum(model.disk for model in found.models)
    free = shutil.disk_usage(comparison.workspace.root).free
    if found.unknown < missing:
        # Models without any estimate are not in the sum.
        short = any(s.problem or (s.guessed and not s.evaluating) for s in found.models)
        time_needed = f"{'at least' if short else 'about'} {duration(found.seconds)}"
        lines.append(f"time: {time_needed}, without writing the report")
    if known:
        device = comparison.sweep[0].device.type
        held = "device" if device == "cuda" else "main"
        lines.append(f"{held} memory of one cell: up to {scaled(max(known), 'B')}")
    lines.append(f"disk: about {scaled(disk, 'B')} of {scaled(free, 'B')} that are free")
    return lines
