"""A short trial of a model: run and time the task of a cell on a few frames.

The time of a cell has a fixed part and a part per frame, which are separated by trials on two
excerpts of different lengths. A trial ends when its time is up, and reports what it did not get to:
that is guessed from the rest.
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
from zoo.api.recipe_and_events import TrainingEvent
from zoo.base.frame_size import FrameSize
from zoo.base.interrupts import Interrupted, StopRequest
from zoo.base.presets_and_budgets import Budget
from zoo.base.workspace import Workspace
from zoo.compare.cells import Cell, config_of
from zoo.compare.executors import Notify
from zoo.compare.tasks import CellTask, evaluate_cell, scratch_folder
from zoo.evaluation.codec_runs import ensure_encoded
from zoo.evaluation.cost import HALFWAY, training_step
from zoo.evaluation.inference import sample_batch, samples_of
from zoo.evaluation.metrics import MetricSet
from zoo.evaluation.profiling import peak_memory, release_memory
from zoo.films.ingested_film import Film, film_from_frames
from zoo.plugins.model_building import build_to_train, fits_directly, inference_state, placed
from zoo.plugins.registry import registry
from zoo.training.run_folder import RunFolder
from zoo.training.trained_models import ensure_trained

SHORT_FRAMES, LONG_FRAMES = 32, 128
"""Frames of the excerpts."""
FEW_FRAMES, MORE_FRAMES = 2, 6
"""Frames of the small training steps that are timed before whole ones."""
STEPS = 24
WARM_UP_STEPS = 4
"""Steps that are not timed: they include late compilation and loading."""
LONGEST_TRAINING = 8.0
"""Seconds of CPU time in training after which a trial stops."""
CLOCK_FACTOR = 5
"""Wall-clock seconds that a trial may last for each second of its CPU time."""

Figure = Literal["training", "evaluating", "disk"]


@dataclass(frozen=True)
class LinearCost:
    """A cost in seconds or bytes: a fixed part, and a part per frame."""

    fixed: float
    per_frame: float

    @classmethod
    def through(cls, few: tuple[int, float], many: tuple[int, float]) -> LinearCost:
        """The line through two measurements, each (frames, cost); no part is negative."""
        (n, a), (m, b) = few, many
        slope = max(0.0, (b - a) / (m - n)) if m > n else 0.0
        return cls(max(0.0, a - n * slope), slope)

    def at(self, frames: float) -> float:
        """The cost of a number of frames."""
        return self.fixed + frames * self.per_frame


@dataclass(frozen=True)
class TrialResult:
    """The measured costs of a model, in seconds and bytes."""

    took: float
    """CPU time of the trial, in seconds."""
    start: LinearCost
    """Seconds before and after training, or to fit or encode a film, by its number of frames."""
    step: float
    """Seconds per training frame; 0 for references that are fitted, and for codecs."""
    own: LinearCost | None
    """Seconds to evaluate it on its own film; None if the trial did not get to it."""
    other: LinearCost | None
    """Seconds to evaluate it on another film; always None for a codec."""
    reconstruction: float
    """Seconds to encode and decode a frame; 0 if that was not timed by itself."""
    disk: LinearCost
    """Bytes that a run leaves."""
    memory: int | None
    """Peak bytes of the process, on a GPU those of the device; None if not known."""
    guessed: frozenset[Figure]
    """What was not measured, or only on the short excerpt."""


@dataclass(frozen=True)
class TrialTask:
    """Try the task of a cell, in a temporary workspace."""

    cell: CellTask
    seconds: float
    """CPU time for the trial, as `_time_limit` counts it."""

    @property
    def gpu(self) -> bool:
        """Whether it computes on a GPU."""
        return self.cell.gpu

    def __call__(self, notify: Notify) -> TrialResult | None:
        """Run the trial; None if time was up too early. Raises what the model raises."""
        self.cell.settings.pin_threads()
        cell = self.cell.opened(Workspace(self.cell.root or scratch_folder(str(self.cell.store))))
        metric_set = self.cell.metric_set()
        began = time.thread_time()
        device = cell.settings.device
        with tempfile.TemporaryDirectory(prefix="film-zoo-") as folder:
            trial = _Trial(Workspace(Path(folder)), metric_set)
            memory, done = None, False

            def once() -> None:
                # `peak_memory` calls it several times, which is not needed here.
                nonlocal done
                if not done:
                    done = True
                    with _time_limit(self.seconds):
                        trial.run(cell)

            with suppress(Unavailable):
                peak = peak_memory(device, once)
                memory = peak.allocated or peak.reserved
            once()
        release_memory(device)
        return trial.result(time.thread_time() - began, memory)

    def taints_process(self, result: Any) -> bool:
        """No: a trial that fails raises."""
        return False


class _OutOfTime(BaseException):
    """The time of a trial is up; not an Exception, which a model's code might catch."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """End the block after so many seconds of CPU time, between two calls of native code.

    The CPU time of the main thread counts, so that a trial gets as far on a busy machine as on an
    idle one. The block never lasts longer than `CLOCK_FACTOR` times as many wall-clock seconds. If
    the system has no such timer, or outside the main thread, there is no limit.
    """
    if not hasattr(signal, "setitimer") or (
        threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    cpu_start, clock_start = time.thread_time(), time.monotonic()

    def left() -> float:
        return min(
            seconds - (time.thread_time() - cpu_start),
            CLOCK_FACTOR * seconds - (time.monotonic() - clock_start),
        )

    def on_alarm(number: int, frame: FrameType | None) -> None:
        # Read once: a timer set to almost nothing would go off again while the error is handled.
        remaining = left()
        set_alarm(remaining)
        if remaining <= 0:
            raise _OutOfTime

    def set_alarm(remaining: float) -> None:
        # Set it even past the end: an error raised within a library's callback may be lost.
        signal.setitimer(signal.ITIMER_REAL, remaining if remaining > 0 else 1.0)

    before = signal.signal(signal.SIGALRM, on_alarm)
    try:
        set_alarm(left())
        yield
    except _OutOfTime:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _StopClock(StopRequest):
    """Asks training to stop once it has lasted long enough, but not before its third step."""

    def __init__(self) -> None:
        self.began = time.thread_time()
        self.steps = 0

    @property
    def asked(self) -> bool:  # type: ignore[override]
        return self.steps > 2 and time.thread_time() - self.began > LONGEST_TRAINING


Samples = dict[int, float]
"""Costs by number of frames."""


@dataclass
class _Trial:
    """A trial in progress: its measurements so far, the coarse ones before the fine ones."""

    workspace: Workspace
    metric_set: MetricSet
    cell: Cell | None = None
    built: float = 0.0
    weights: float = 0.0
    """Bytes."""
    small: Samples = field(default_factory=dict)
    steady: float | None = None
    reconstruction: float = 0.0
    starts: Samples = field(default_factory=dict)
    own: Samples = field(default_factory=dict)
    other: Samples = field(default_factory=dict)
    disk: Samples = field(default_factory=dict)

    def run(self, cell: Cell) -> None:
        """Try a cell until it is done, or the time limit around this call ends it."""
        self.cell = cell
        short, long = _lengths(cell)
        pair = _excerpt(cell, short), _excerpt(cell, long)
        is_codec = issubclass(cell.architecture, FilmCodec)
        steps = self._trains()
        if steps:
            self._small_steps(pair[0])
        # Late loading happens once, not in every cell of a comparison, so the short excerpt is
        # measured twice, and only the second measurement is kept.
        for number, each in enumerate(pair if is_codec else (pair[0], *pair)):
            frames = len(each.trained_on)
            self.starts[frames] = self._start(each)
            self.own[frames] = self._evaluate(each, each.trained_on)
            self.disk[frames] = _size(self._folder(each).path)
            if not is_codec:
                another = replace(each.trained_on, name="another")
                self.other[frames] = self._evaluate(each, another)
            if steps and number == 0:
                self.steady = self._step(pair[1])

    def result(self, took: float, memory: int | None) -> TrialResult | None:
        """The measurements, with guesses for the rest; None if there is no time at all."""
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
        return TrialResult(
            took=took,
            start=_fit_line(self.starts, fixed=trains) or LinearCost(self.built, 0.0),
            step=self._step_time() if trains else 0.0,
            own=self._own(),
            other=_fit_line(self.other),
            reconstruction=self.reconstruction,
            disk=_fit_line(self.disk, fixed=trains) or LinearCost(self.weights, 0.0),
            # The peak is in whole steps and in evaluations.
            memory=memory if self.own else None,
            guessed=frozenset(guessed),
        )

    def _trains(self) -> bool:
        architecture = self.cell.architecture if self.cell else None
        if architecture is None or issubclass(architecture, FilmCodec):
            return False
        return not fits_directly(architecture)

    def _step_time(self) -> float:
        """Seconds per training frame in a whole batch."""
        if self.steady is not None:
            return self.steady
        assert self.cell is not None
        batch = self.cell.settings.batch
        line = _fit_line(self.small)
        assert line is not None
        return line.at(batch) / batch

    def _own(self) -> LinearCost | None:
        """The cost of an evaluation on its own film, which has a larger fixed part."""
        if len(self.own) == 1 and (other := _fit_line(self.other)):
            (frames, seconds), *_ = self.own.items()
            return LinearCost(max(0.0, seconds - other.at(frames)), other.per_frame)
        return _fit_line(self.own)

    def _small_steps(self, cell: Cell) -> None:
        """Time training steps of a few frames: a whole one may take too long."""
        device = cell.settings.device
        config = config_of(cell)
        began = time.perf_counter()
        architecture = registry().architecture(config.model)
        model = build_to_train(architecture, FrameSize.parse(config.size), config.options)
        model = placed(model, device)
        self.built = time.perf_counter() - began
        self.weights = float(sum(each.nbytes for each in inference_state(model).values()))
        with torch.inference_mode():
            frames, count = self._few(cell, model, FEW_FRAMES)
            model.eval().decode(model.encode(frames))
            self.reconstruction = _timed(lambda: model.decode(model.encode(frames))) / count
        model.train()
        for wanted in (FEW_FRAMES, MORE_FRAMES):
            frames, count = self._few(cell, model, wanted)
            batch = Batch.numbered(frames, model.window)
            step = training_step(model, batch, config.precision, "none", config.recipe)
            for _ in range(2):
                self.small[count] = _timed(functools.partial(step, batch, HALFWAY))

    @staticmethod
    def _few(cell: Cell, model: Autoencoder, wanted: int) -> tuple[Tensor, int]:
        """The first samples of a film, about so many frames, and their exact number of frames."""
        samples = samples_of(cell.trained_on, model)
        count = min(len(samples), -(-wanted // model.window))
        device = cell.settings.device
        return sample_batch(cell.trained_on, samples, slice(0, count), device), count * model.window

    def _folder(self, cell: Cell) -> RunFolder:
        return RunFolder.of(self.workspace, config_of(cell))

    def _start(self, cell: Cell) -> float:
        """Seconds to train for a single step, to fit, or to encode a film."""
        where, config = self.workspace, config_of(cell)
        if issubclass(cell.architecture, FilmCodec):
            return _timed(lambda: ensure_encoded(where, config, cell.trained_on, overwrite=True))
        device = cell.settings.device
        return _timed(
            lambda: ensure_trained(where, config, cell.trained_on, device, overwrite=True)
        )

    def _evaluate(self, cell: Cell, film: Film) -> float:
        """Seconds to evaluate a model or codec on a film."""
        cell = replace(cell, evaluated_on=film)
        return _timed(lambda: evaluate_cell(cell, self.workspace, self.metric_set))

    def _step(self, cell: Cell) -> float:
        """Seconds per training frame, once training runs steadily."""
        longer = replace(
            cell, settings=replace(cell.settings, budget=Budget.parse(f"{STEPS}steps"))
        )
        clock, events = _StopClock(), list[TrainingEvent]()

        def on_event(event: TrainingEvent) -> None:
            clock.steps = event.step
            events.append(event)

        # Slow training is stopped after `LONGEST_TRAINING`.
        with suppress(Interrupted):
            ensure_trained(
                self.workspace,
                config_of(longer),
                cell.trained_on,
                cell.settings.device,
                callback=on_event,
                stop=clock,
            )
        steady = events[WARM_UP_STEPS:] or events[-1:]
        return statistics.median(1 / event.frames_per_second for event in steady)


def _lengths(cell: Cell) -> tuple[int, int]:
    """Frames of the excerpts: a reference is fitted on more frames than a latent has numbers."""
    architecture = cell.architecture
    if issubclass(architecture, FilmCodec) or not fits_directly(architecture):
        return SHORT_FRAMES, LONG_FRAMES
    short = max(SHORT_FRAMES, cell.settings.latent * 3 // 2)
    return short, max(LONG_FRAMES, 2 * short)


def _excerpt(cell: Cell, frames: int) -> Cell:
    """The cell on the first frames of its film, trained for one step."""
    film = cell.trained_on
    frames = min(frames, len(film))
    cuts = [shot.start for shot in film.shots if 0 < shot.start < frames]
    short = film_from_frames(film.store.array[:frames], name=film.name, fps=film.fps, cuts=cuts)
    settings = replace(cell.settings, budget=Budget.parse("1steps"))
    return Cell(short, cell.architecture, settings, short)


def _fit_line(samples: Samples, fixed: bool = False) -> LinearCost | None:
    """The line through costs at two numbers of frames; None without any.

    A single cost is taken to be per frame, or with `fixed` to be the same for all films.
    """
    if not samples:
        return None
    *fewer, most = sorted(samples.items())
    if fixed and not fewer:
        return LinearCost(most[1], 0.0)
    return LinearCost.through(fewer[0] if fewer else (0, 0.0), most)


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _size(folder: Path) -> float:
    return float(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
