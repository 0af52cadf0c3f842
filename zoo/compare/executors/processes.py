"""Work in processes on this machine, one piece in each: what kills one costs nothing else.

A machine with several GPUs has a lane for each, and one without a GPU for what needs none.

A process is kept for the next piece, because importing torch takes seconds, but not after a piece
that failed: a GPU, for one, is of no more use to a process in which a kernel has failed.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.resource_tracker
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self, cast

from zoo.base import interrupts
from zoo.base.environment import VISIBLE
from zoo.base.text import error_line
from zoo.compare.executors import Ended, Hear, Told, Work
from zoo.training.watching import Interrupted

LOOK = 0.2
"""Seconds after which a wait ends."""
FAREWELL = 5.0
"""Seconds that a process without work may take to end."""
PATIENCE = 1.5
"""Seconds that work may take to stop; a process that saves is waited for."""
_STOP = getattr(signal, "SIGUSR1", None)
"""What asks a process to stop its work; None where there is no such signal, as on Windows."""


@dataclass(frozen=True)
class Lane:
    """What one process at a time computes with."""

    visible: str | None = None
    """The GPU that it sees, as CUDA_VISIBLE_DEVICES names it, or nothing for none; None leaves
    that as it is."""

    def serves(self, gpu: bool) -> bool:
        """Whether work of that kind is done here."""
        return self.visible is None or bool(self.visible) == gpu


def lanes(gpus: Sequence[str], at_once: int | None = None) -> list[Lane]:
    """The lanes of a machine with these GPUs, by their names in CUDA_VISIBLE_DEVICES.

    One a GPU, or `at_once` of them, spread evenly; and one that sees no GPU. Without any GPU there
    are `at_once` lanes, or one.
    """
    if not gpus:
        return [Lane()] * (at_once or 1)
    count = at_once or len(gpus)
    return [*(Lane(gpus[number % len(gpus)]) for number in range(count)), Lane("")]


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    lane: int
    """The number of its lane."""
    number: int | None = None
    """The work it is at."""
    work: Work | None = None
    """The same work, until the process says that it has begun."""
    used: bool = False
    """Whether it has done other work before."""
    saving: bool = False


class Processes:
    """Does work in up to `capacity` processes, which are started as they are needed.

    Every lane has one of them at a time; `capacity` may be less than the number of lanes.
    """

    def __init__(self, capacity: int | None = None, of: Sequence[Lane] | None = None) -> None:
        self._lanes = list(of) if of else lanes((), capacity)
        self.capacity = min(capacity or len(self._lanes), len(self._lanes))
        self._workers: list[_Worker] = []
        self._lost: list[Ended] = []

    def at_once(self, gpu: bool | None = None) -> int:
        """How many lanes there are for work of a kind."""
        found = [lane for lane in self._lanes if gpu is None or lane.serves(gpu)]
        return min(len(found), self.capacity)

    def has_room(self, gpu: bool) -> bool:
        """Whether a lane for work of that kind is free."""
        busy = sum(worker.number is not None for worker in self._workers)
        return busy < self.capacity and bool(self._free(gpu))

    def _free(self, gpu: bool) -> list[int]:
        """Lanes without work, those that have a process already first."""
        at_work = {worker.lane: worker.number is not None for worker in self._workers}
        found = [
            number
            for number, lane in enumerate(self._lanes)
            if lane.serves(gpu) and not at_work.get(number, False)
        ]
        return sorted(found, key=lambda number: number not in at_work)

    def start(self, number: int, work: Work) -> None:
        """Hand work to a process of a free lane; there must be one.

        A process that died since its last work is replaced. Where a fresh one cannot be reached
        either, `wait` tells that the work is lost.
        """
        lane = self._free(work.gpu)[0]
        for worker in [w for w in self._workers if w.lane == lane]:
            if self._hand_over(worker, number, work):
                return
        worker = self._hire(lane)
        if not self._hand_over(worker, number, work):
            self._lost.append(Ended(number, lost=_death(worker.process.exitcode)))

    def wait(self, hear: Hear) -> None:
        """Listen to the processes that are at work."""
        while self._lost:
            hear(self._lost.pop())
        busy = [worker for worker in self._workers if worker.number is not None]
        # A process that dies closes its end of the pipe, which is then ready as well.
        ready = wait([worker.pipe for worker in busy], timeout=LOOK)
        for worker in busy:
            if worker.pipe in ready:
                self._listen(worker, hear)

    def _hand_over(self, worker: _Worker, number: int, work: Work) -> bool:
        """Give a process its work; False if it is no more, and it is then forgotten."""
        try:
            worker.pipe.send(work)
        except OSError:
            self._forget(worker)
            return False
        worker.number, worker.work = number, work
        return True

    def _listen(self, worker: _Worker, hear: Hear) -> None:
        assert worker.number is not None
        try:
            kind, what, spoilt = worker.pipe.recv()
        except (EOFError, OSError):
            self._forget(worker)
            if worker.work is not None and worker.used:
                # It died before it began: the work has nothing to do with that.
                self.start(worker.number, worker.work)
            else:
                hear(Ended(worker.number, lost=_death(worker.process.exitcode)))
            return
        match kind:
            case "begun":
                worker.work = None
                return
            case "told":
                hear(Told(worker.number, what))
                return
            case "saving":
                worker.saving = what
                return
        number, worker.number, worker.used = worker.number, None, True
        if spoilt:
            self._dismiss(worker)
        match kind:
            case "interrupted":
                hear(Ended(number, interrupted=True))
            case "raised":
                hear(Ended(number, lost=what))
            case _:
                hear(Ended(number, what))

    def _hire(self, lane: int) -> _Worker:
        spawn = multiprocessing.get_context("spawn")
        # Begun by itself, it would let signals through to the process that is started next.
        if hasattr(multiprocessing.resource_tracker, "ensure_running"):
            multiprocessing.resource_tracker.ensure_running()
        with interrupts.deferred_stop():
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
            with interrupts.held_back(), _seeing(self._lanes[lane].visible):
                process.start()
            theirs.close()
            worker = _Worker(process, ours, lane)
            self._workers.append(worker)
        return worker

    def _dismiss(self, worker: _Worker, seconds: float = FAREWELL) -> None:
        """End a process: by itself where it has no work, at once otherwise."""
        if worker.number is not None:
            worker.process.kill()
        worker.pipe.close()
        worker.process.join(seconds)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        self._workers.remove(worker)

    def _forget(self, worker: _Worker) -> None:
        """Put away what is left of a process that can no longer be reached."""
        worker.process.join(FAREWELL)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)

    def _stop_all(self) -> None:
        """Ask all work to stop and give it time to; a process that saves is waited for."""
        busy = [worker for worker in self._workers if worker.number is not None]
        for worker in busy:
            if _STOP is not None and worker.process.is_alive():
                assert worker.process.pid is not None
                with suppress(OSError):
                    os.kill(worker.process.pid, _STOP)
        end = time.monotonic() + PATIENCE
        while busy and (left := end - time.monotonic()) > 0:
            self._await(busy, left)
        if any(worker.saving for worker in busy):
            with interrupts.saving():
                while busy := [worker for worker in busy if worker.saving]:
                    self._await(busy, LOOK)

    def _await(self, busy: list[_Worker], seconds: float) -> None:
        """Listen for so long, and take those that have stopped out of `busy`."""
        ready = wait([worker.pipe for worker in busy], timeout=seconds)
        for worker in [worker for worker in busy if worker.pipe in ready]:
            if not self._still_busy(worker):
                busy.remove(worker)

    def _still_busy(self, worker: _Worker) -> bool:
        """Read one message of a process that was asked to stop; False if it has stopped."""
        try:
            kind, what, _ = worker.pipe.recv()
        except (EOFError, OSError):
            return False
        if kind == "saving":
            worker.saving = what
        return kind in ("begun", "told", "saving")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._stop_all()
        for worker in list(self._workers):
            # Where something went wrong nobody waits for a process to put itself away.
            self._dismiss(worker, FAREWELL if kind is None else 0.0)


@contextmanager
def _seeing(visible: str | None) -> Iterator[None]:
    """Let processes that are started in the block see these GPUs; None changes nothing."""
    if visible is None:
        yield
        return
    before = os.environ.get(VISIBLE)
    os.environ[VISIBLE] = visible
    try:
        yield
    finally:
        if before is None:
            del os.environ[VISIBLE]
        else:
            os.environ[VISIBLE] = before


def _death(code: int | None) -> str:
    """How a process ended that should not have."""
    if code is None or code >= 0:
        return f"its process ended by itself with code {code}, before it was done"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    why = {
        "SIGKILL": "; the system does so where memory runs out",
        "SIGSEGV": "; that is a fault in native code",
        "SIGABRT": "; native code gave up",
    }.get(name, "")
    return f"its process was killed by {name}{why}"


def _serve(pipe: Connection) -> None:
    """What such a process does: work that comes through the pipe, until it is closed."""
    # Ctrl-C in a terminal, and the end of a job on a cluster, reach every process of a group; the
    # one that gives the work decides, and asks this one by a signal of its own.
    for number in interrupts.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if _STOP is not None:
        signal.signal(_STOP, interrupts.interrupt)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupts.SIGNALS)
    interrupts.on_saving = lambda saving: _send(pipe, ("saving", saving, False))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            work = cast(Work, pipe.recv())
        except (EOFError, OSError, KeyboardInterrupt):
            return
        except Exception as error:
            _send(pipe, ("raised", f"its work cannot be read here: {_told(error)}", True))
            return
        _do(work, pipe)


def _do(work: Work, pipe: Connection) -> None:
    try:
        _send(pipe, ("begun", None, False))
        result = work(lambda what: _send(pipe, ("told", what, False)))
        message = ("ended", result, work.spoils(result))
    except (Interrupted, KeyboardInterrupt):
        message = ("interrupted", None, True)
    except (Exception, SystemExit) as error:
        message = ("raised", _told(error), True)
    _send(pipe, message)


def _told(error: BaseException) -> str:
    return error_line(error)


def _send(pipe: Connection, message: Any) -> None:
    try:
        pipe.send(message)
    except (BrokenPipeError, ConnectionResetError):
        # Nobody is at the other end: whoever listens there finds that out when it reads.
        return


def _end_with_parent() -> None:
    """End at once when the process that gives the work is no more: nobody waits for results."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
