"""A short trial of a model: the work of a cell itself, on a few frames, timed.

What a cell takes is a part that is always the same and a part for every frame, which two trials on
excerpts of different lengths tell apart.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zoo.codec import FilmCodec
from zoo.compare.known import config_of
from zoo.compare.places.place import Tell
from zoo.compare.plan import Cell
from zoo.compare.work import CellWork, scratch
from zoo.evaluation.coding import ensure_coded, evaluate_coding
from zoo.evaluation.evaluate import evaluate
from zoo.evaluation.memory import most_held
from zoo.evaluation.watch import Judges
from zoo.films.film import Film
from zoo.films.in_memory import film_of
from zoo.metric import Unavailable
from zoo.training.budget import Budget
from zoo.training.jobs import ensure_trained
from zoo.training.run_folder import RunFolder
from zoo.training.watching import Interrupted, Moment, StopRequest
from zoo.workspace import Workspace

SHORT, LONG = 32, 128
"""Frames of the excerpts."""
STEPS = 24
FIRST = 4
"""Steps that are not timed: what is compiled or loaded late is in them."""
LONGEST = 8.0
"""Seconds of training after which a trial has seen enough."""


@dataclass(frozen=True)
class Line:
    """Seconds, or bytes, that something takes: a part for itself and a part for each frame."""

    fixed: float
    a_frame: float

    @classmethod
    def through(cls, few: tuple[int, float], many: tuple[int, float]) -> Line:
        """The line through two trials, each frames and what they took; no part is negative."""
        (n, a), (m, b) = few, many
        slope = max(0.0, (b - a) / (m - n)) if m > n else 0.0
        return cls(max(0.0, a - n * slope), slope)

    def at(self, frames: float) -> float:
        """What so many frames take."""
        return self.fixed + frames * self.a_frame


@dataclass(frozen=True)
class Probe:
    """What a model was seen to take, in seconds and bytes."""

    start: Line
    """Seconds before and after training, or to fit or code a film, by the frames of the film."""
    step: float
    """Seconds of a training frame; 0 for what is fitted or coded."""
    own: Line
    """Seconds to evaluate it on its own film."""
    other: Line | None
    """Seconds to evaluate it on another film; None for a codec."""
    disk: Line
    """Bytes that a run leaves."""
    memory: int | None
    """The most bytes that the process held, on a GPU those of the device; None if not known."""


@dataclass(frozen=True)
class ProbeWork:
    """Try a cell's work, far from its workspace."""

    cell: CellWork

    def __call__(self, tell: Tell, stop: StopRequest) -> Probe:
        """Seconds and bytes, as this process sees them. Raises what the model raises."""
        self.cell.settings.pin_threads()
        cell = self.cell.opened(Workspace(self.cell.root or scratch(str(self.cell.store))))
        judges = self.cell.judges()
        with tempfile.TemporaryDirectory(prefix="film-zoo-") as folder:
            trial = _Trial(Workspace(Path(folder)), judges)
            found: list[Probe] = []

            def once() -> None:
                # What is measured is called several times, for the sake of steadier figures.
                if not found:
                    found.append(trial.of(cell))

            memory = None
            with suppress(Unavailable):
                held = most_held(cell.settings.device, once)
                memory = held.allocated or held.reserved
            once()
            return replace(found[0], memory=memory)

    def spoils(self, result: Any) -> bool:
        """What was tried is thrown away."""
        return False


class _Clock(StopRequest):
    """Asks to stop once the trial has lasted long enough, but not before its third step."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.steps = 0

    @property
    def asked(self) -> bool:  # type: ignore[override]
        return self.steps > 2 and time.monotonic() - self.began > LONGEST


@dataclass(frozen=True)
class _Trial:
    workspace: Workspace
    judges: Judges

    def of(self, cell: Cell) -> Probe:
        pair = _excerpt(cell, SHORT), _excerpt(cell, LONG)
        if issubclass(cell.architecture, FilmCodec):
            coding, steps, start = True, False, self._code
        else:
            coding, steps, start = False, not cell.architecture.fits_directly(), self._start
            # What is loaded late is loaded once, and not in every cell of a comparison.
            start(pair[0])
            self._watch(pair[0], pair[0].film)
        starts = _line(pair, start)
        return Probe(
            start=starts,
            step=self._step(pair[1]) if steps else 0.0,
            own=_line(pair, lambda each: self._watch(each, each.film)),
            other=None
            if coding
            else _line(pair, lambda each: self._watch(each, replace(each.film, name="another"))),
            disk=_line(pair, lambda each: _size(self._folder(each).path)),
            memory=None,
        )

    def _folder(self, cell: Cell) -> RunFolder:
        return RunFolder.of(self.workspace, config_of(cell))

    def _start(self, cell: Cell) -> float:
        """Seconds of a training of a single step, or of a fit."""
        began = time.perf_counter()
        device = cell.settings.device
        ensure_trained(self.workspace, config_of(cell), cell.film, device, afresh=True)
        return time.perf_counter() - began

    def _code(self, cell: Cell) -> float:
        began = time.perf_counter()
        ensure_coded(self.workspace, config_of(cell), cell.film, afresh=True)
        return time.perf_counter() - began

    def _watch(self, cell: Cell, film: Film) -> float:
        """Seconds of an evaluation."""
        began = time.perf_counter()
        coding = issubclass(cell.architecture, FilmCodec)
        evaluate_ = evaluate_coding if coding else evaluate
        device = cell.settings.device
        evaluate_(self.workspace, self._folder(cell), config_of(cell), film, self.judges, device)
        return time.perf_counter() - began

    def _step(self, cell: Cell) -> float:
        """Seconds of a training frame, once training runs steadily."""
        longer = replace(
            cell, settings=replace(cell.settings, budget=Budget.parse(f"{STEPS}steps"))
        )
        clock, moments = _Clock(), list[Moment]()

        def watch(moment: Moment) -> None:
            clock.steps = moment.step
            moments.append(moment)

        # Where it is slow, it is stopped when it has been seen for long enough.
        with suppress(Interrupted):
            ensure_trained(
                self.workspace,
                config_of(longer),
                cell.film,
                cell.settings.device,
                watch=watch,
                stop=clock,
            )
        steady = moments[FIRST:] or moments[-1:]
        return statistics.median(1 / moment.frames_per_second for moment in steady)


def _excerpt(cell: Cell, frames: int) -> Cell:
    """The cell on the first frames of its film, with the shortest of trainings."""
    film = cell.film
    frames = min(frames, len(film))
    cuts = [shot.start for shot in film.shots if 0 < shot.start < frames]
    short = film_of(film.store.array[:frames], name=film.name, fps=film.fps, cuts=cuts)
    settings = replace(cell.settings, budget=Budget.parse("1steps"))
    return Cell(short, cell.architecture, settings, short)


def _line(pair: tuple[Cell, Cell], of: Callable[[Cell], float]) -> Line:
    few, many = ((len(cell.film), of(cell)) for cell in pair)
    return Line.through(few, many)


def _size(folder: Path) -> float:
    return float(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
