"""A short trial of a model: the work of a cell itself, on a few frames, timed.

What a cell takes is a part that is always the same and a part for every frame, which two trials on
excerpts of different lengths tell apart. A trial ends when its time is up, and says what it did not
come to: that is guessed from what it did.
"""

from __future__ import annotations

import functools
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder, Batch
from zoo.api.codec import FilmCodec
from zoo.api.metric import Unavailable
from zoo.base.frame_size import FrameSize
from zoo.base.interrupts import StopRequest
from zoo.base.workspace import Workspace
from zoo.compare.cells import Cell, config_of
from zoo.compare.executors import Tell
from zoo.compare.tasks import CellWork, scratch
from zoo.evaluation.codec_runs import ensure_coded, evaluate_coding
from zoo.evaluation.cost import HALFWAY, training_step
from zoo.evaluation.evaluate import evaluate
from zoo.evaluation.inference import sample_batch, samples_of
from zoo.evaluation.metrics import Judges
from zoo.evaluation.profiling import hand_back, most_held
from zoo.films.film import Film, film_from_frames
from zoo.plugins.model_building import build_to_train, fits_directly, kept_state
from zoo.plugins.registry import registry
from zoo.training.budget import Budget
from zoo.training.jobs import ensure_trained
from zoo.training.run_folder import RunFolder
from zoo.training.watching import Interrupted, Moment

SHORT, LONG = 32, 128
"""Frames of the excerpts."""
FEW, MORE = 2, 6
"""Frames of the small steps that are tried before whole ones."""
STEPS = 24
FIRST = 4
"""Steps that are not timed: what is compiled or loaded late is in them."""
LONGEST = 8.0
"""Seconds of processor time in training after which a trial has seen enough."""
CEILING = 5
"""Seconds of the clock that a trial may last for each that it may compute."""

Figure = Literal["training", "evaluating", "disk"]


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

    took: float
    """Processor time of the trial, in seconds."""
    start: Line
    """Seconds before and after training, or to fit or code a film, by the frames of the film."""
    step: float
    """Seconds of a training frame; 0 for what is fitted or coded."""
    own: Line | None
    """Seconds to evaluate it on its own film; None if the trial did not come to that."""
    other: Line | None
    """Seconds to evaluate it on another film; None for a codec, too."""
    drawing: float
    """Seconds of a frame that is encoded and drawn; 0 where it was not timed by itself."""
    disk: Line
    """Bytes that a run leaves."""
    memory: int | None
    """The most bytes that the process held, on a GPU those of the device; None if not known."""
    guessed: frozenset[Figure]
    """What was not measured, or on the short excerpt alone."""


@dataclass(frozen=True)
class ProbeWork:
    """Try a cell's work, far from its workspace."""

    cell: CellWork
    seconds: float
    """Processor time for the trial, as `_time_limit` counts it; what is cut short is a guess."""

    @property
    def gpu(self) -> bool:
        """Whether it computes on a GPU."""
        return self.cell.gpu

    def __call__(self, tell: Tell) -> Probe | None:
        """What this process sees; None if time was up too early. Raises what the model raises."""
        self.cell.settings.pin_threads()
        cell = self.cell.opened(Workspace(self.cell.root or scratch(str(self.cell.store))))
        judges = self.cell.judges()
        began = time.thread_time()
        device = cell.settings.device
        with tempfile.TemporaryDirectory(prefix="film-zoo-") as folder:
            trial = _Trial(Workspace(Path(folder)), judges)
            memory, done = None, False

            def once() -> None:
                # What is measured is called several times, for the sake of steadier figures.
                nonlocal done
                if not done:
                    done = True
                    with _time_limit(self.seconds):
                        trial.of(cell)

            with suppress(Unavailable):
                held = most_held(device, once)
                memory = held.allocated or held.reserved
            once()
        hand_back(device)
        return trial.probe(time.thread_time() - began, memory)

    def spoils(self, result: Any) -> bool:
        """What was tried is thrown away."""
        return False


class _OutOfTime(BaseException):
    """The time of a trial is up; no error, which a model's code might handle."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """End the block after so many seconds of processor time, between two calls of native code.

    The main thread's time counts, so that a trial sees as much of a model on a busy machine as on
    an idle one. The block never lasts longer than `CEILING` times as many seconds of the clock.
    Where the system has no such timer, or outside the main thread, it is run to its end.
    """
    if not hasattr(signal, "setitimer") or (
        threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    computed, began = time.thread_time(), time.monotonic()

    def left() -> float:
        return min(
            seconds - (time.thread_time() - computed),
            CEILING * seconds - (time.monotonic() - began),
        )

    def look(number: int, frame: FrameType | None) -> None:
        again()
        if left() <= 0:
            raise _OutOfTime

    def again() -> None:
        # Beyond the end as well: an error raised within a callback of a library may be lost.
        signal.setitimer(signal.ITIMER_REAL, remaining if (remaining := left()) > 0 else 1.0)

    before = signal.signal(signal.SIGALRM, look)
    try:
        again()
        yield
    except _OutOfTime:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _Clock(StopRequest):
    """Asks to stop once the trial has lasted long enough, but not before its third step."""

    def __init__(self) -> None:
        self.began = time.thread_time()
        self.steps = 0

    @property
    def asked(self) -> bool:  # type: ignore[override]
        return self.steps > 2 and time.thread_time() - self.began > LONGEST


Samples = dict[int, float]
"""What so many frames took."""


@dataclass
class _Trial:
    """A trial as it goes: what it has seen so far, the coarse figures before the fine ones."""

    workspace: Workspace
    judges: Judges
    cell: Cell | None = None
    built: float = 0.0
    weights: float = 0.0
    """Bytes."""
    small: Samples = field(default_factory=dict)
    steady: float | None = None
    drawing: float = 0.0
    starts: Samples = field(default_factory=dict)
    own: Samples = field(default_factory=dict)
    other: Samples = field(default_factory=dict)
    disk: Samples = field(default_factory=dict)

    def of(self, cell: Cell) -> None:
        """Try a cell until it is done, or the time limit around it ends it."""
        self.cell = cell
        short, long = _lengths(cell)
        pair = _excerpt(cell, short), _excerpt(cell, long)
        coding = issubclass(cell.architecture, FilmCodec)
        steps = self._trains()
        if steps:
            self._small_steps(pair[0])
        start = self._code if coding else self._start
        # What is loaded late is loaded once, and not in every cell of a comparison: what the short
        # excerpt took first is replaced by what it takes afterwards.
        for number, each in enumerate(pair if coding else (pair[0], *pair)):
            frames = len(each.film)
            self.starts[frames] = start(each)
            self.own[frames] = self._watch(each, each.film)
            self.disk[frames] = _size(self._folder(each).path)
            if not coding:
                self.other[frames] = self._watch(each, replace(each.film, name="another"))
            if steps and number == 0:
                self.steady = self._step(pair[1])

    def probe(self, took: float, memory: int | None) -> Probe | None:
        """What was seen, and guesses for the rest; None where nothing says how long it takes."""
        trains = self._trains()
        if not self.starts and not (trains and self.small):
            return None
        guessed: set[Figure] = set()
        if len(self.starts) < 2 or (trains and self.steady is None):
            guessed.add("training")
        if len(self.own) < 2:
            guessed.add("evaluating")
        if not self.disk:
            guessed.add("disk")
        return Probe(
            took=took,
            start=_through(self.starts, alike=trains) or Line(self.built, 0.0),
            step=self._step_time() if trains else 0.0,
            own=self._own(),
            other=_through(self.other),
            drawing=self.drawing,
            disk=_through(self.disk, alike=trains) or Line(self.weights, 0.0),
            # The most that is held is held in whole steps and in evaluations.
            memory=memory if self.own else None,
            guessed=frozenset(guessed),
        )

    def _trains(self) -> bool:
        architecture = self.cell.architecture if self.cell else None
        if architecture is None or issubclass(architecture, FilmCodec):
            return False
        return not fits_directly(architecture)

    def _step_time(self) -> float:
        """Seconds of a training frame in a whole batch."""
        if self.steady is not None:
            return self.steady
        assert self.cell is not None
        batch = self.cell.settings.batch
        line = _through(self.small)
        assert line is not None
        return line.at(batch) / batch

    def _own(self) -> Line | None:
        """Evaluating it on its own film, which takes more, but only for so many frames."""
        if len(self.own) == 1 and (other := _through(self.other)):
            (frames, seconds), *_ = self.own.items()
            return Line(max(0.0, seconds - other.at(frames)), other.a_frame)
        return _through(self.own)

    def _small_steps(self, cell: Cell) -> None:
        """Time steps of a few frames: a whole one may take longer than there is time."""
        device = cell.settings.device
        config = config_of(cell)
        began = time.perf_counter()
        architecture = registry().architecture(config.model)
        model = build_to_train(architecture, FrameSize.parse(config.size), config.options)
        model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.built = time.perf_counter() - began
        self.weights = float(sum(each.nbytes for each in kept_state(model).values()))
        with torch.inference_mode():
            frames, count = self._few(cell, model, FEW)
            model.eval().decode(model.encode(frames))
            self.drawing = _timed(lambda: model.decode(model.encode(frames))) / count
        model.train()
        for wanted in (FEW, MORE):
            frames, count = self._few(cell, model, wanted)
            batch = Batch.numbered(frames, model.window)
            step = training_step(model, batch, config.precision, "none", config.recipe)
            for _ in range(2):
                self.small[count] = _timed(functools.partial(step, batch, HALFWAY))

    @staticmethod
    def _few(cell: Cell, model: Autoencoder, wanted: int) -> tuple[Tensor, int]:
        """The first samples of a film, of about so many frames, and how many frames they draw."""
        samples = samples_of(cell.film, model)
        count = min(len(samples), -(-wanted // model.window))
        device = cell.settings.device
        return sample_batch(cell.film, samples, slice(0, count), device), count * model.window

    def _folder(self, cell: Cell) -> RunFolder:
        return RunFolder.of(self.workspace, config_of(cell))

    def _start(self, cell: Cell) -> float:
        """Seconds of a training of a single step, or of a fit."""
        began = time.perf_counter()
        device = cell.settings.device
        ensure_trained(self.workspace, config_of(cell), cell.film, device, overwrite=True)
        return time.perf_counter() - began

    def _code(self, cell: Cell) -> float:
        began = time.perf_counter()
        ensure_coded(self.workspace, config_of(cell), cell.film, overwrite=True)
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


def _lengths(cell: Cell) -> tuple[int, int]:
    """Frames of the excerpts: what is fitted needs more of them than a latent has numbers."""
    architecture = cell.architecture
    if issubclass(architecture, FilmCodec) or not fits_directly(architecture):
        return SHORT, LONG
    short = max(SHORT, cell.settings.latent * 3 // 2)
    return short, max(LONG, 2 * short)


def _excerpt(cell: Cell, frames: int) -> Cell:
    """The cell on the first frames of its film, with the shortest of trainings."""
    film = cell.film
    frames = min(frames, len(film))
    cuts = [shot.start for shot in film.shots if 0 < shot.start < frames]
    short = film_from_frames(film.store.array[:frames], name=film.name, fps=film.fps, cuts=cuts)
    settings = replace(cell.settings, budget=Budget.parse("1steps"))
    return Cell(short, cell.architecture, settings, short)


def _through(samples: Samples, alike: bool = False) -> Line | None:
    """The line through what two numbers of frames took; None without any.

    Of one number, all is taken to be for the frames, or with `alike` for any number of them.
    """
    if not samples:
        return None
    *fewer, most = sorted(samples.items())
    if alike and not fewer:
        return Line(most[1], 0.0)
    return Line.through(fewer[0] if fewer else (0, 0.0), most)


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _size(folder: Path) -> float:
    return float(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
