"""Work in processes on this machine, one piece in each: what kills one costs nothing else.

A process is kept for the next piece, because importing torch takes seconds, but not after a piece
that failed: a GPU, for one, is of no more use to a process in which a kernel has failed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self, cast

from zoo.compare.places.place import Ended, Hear, Told, Work
from zoo.training.watching import Interrupted, StopRequest

LOOK = 0.2
"""Seconds after which a wait ends, so that an interrupt is seen."""
FAREWELL = 5.0
"""Seconds that a process without work may take to end."""


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    number: int | None = None
    """The work it is at."""
    told_to_stop: bool = False


class Processes:
    """Does work in up to `capacity` processes, which are started as they are needed."""

    def __init__(self, capacity: int = 1) -> None:
        self.capacity = capacity
        self._workers: list[_Worker] = []

    def start(self, number: int, work: Work) -> None:
        """Hand work to a process that has none."""
        worker = next((w for w in self._workers if w.number is None), None) or self._hire()
        worker.number, worker.told_to_stop = number, False
        worker.pipe.send(work)

    def wait(self, hear: Hear, stop: StopRequest) -> None:
        """Listen to the processes that are at work."""
        busy = [worker for worker in self._workers if worker.number is not None]
        if stop.asked:
            for worker in busy:
                if not worker.told_to_stop:
                    worker.told_to_stop = True
                    _send(worker.pipe, None)
        # A process that dies closes its end of the pipe, which is then ready as well.
        ready = wait([worker.pipe for worker in busy], timeout=LOOK)
        for worker in busy:
            if worker.pipe in ready:
                self._listen(worker, hear)

    def _listen(self, worker: _Worker, hear: Hear) -> None:
        assert worker.number is not None
        try:
            kind, what, spoilt = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            self._workers.remove(worker)
            hear(Ended(worker.number, lost=_death(worker.process.exitcode)))
            return
        if kind == "told":
            hear(Told(worker.number, what))
            return
        number, worker.number = worker.number, None
        if spoilt:
            self._dismiss(worker)
        match kind:
            case "interrupted":
                hear(Ended(number, interrupted=True))
            case "raised":
                hear(Ended(number, lost=what))
            case _:
                hear(Ended(number, what))

    def _hire(self) -> _Worker:
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _dismiss(self, worker: _Worker) -> None:
        """End a process: by itself where it has no work, at once otherwise."""
        if worker.number is not None:
            worker.process.kill()
        worker.pipe.close()
        worker.process.join(FAREWELL)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        self._workers.remove(worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in list(self._workers):
            self._dismiss(worker)


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


class _Asked(StopRequest):
    """Asked as soon as anything comes through the pipe, or the pipe is closed."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    @property
    def asked(self) -> bool:  # type: ignore[override]
        """Whether to stop."""
        return self._pipe.poll()


def _serve(pipe: Connection) -> None:
    """What such a process does: work that comes through the pipe, until it is closed."""
    # Ctrl-C in a terminal, and the end of a job on a cluster, reach every process of a group; the
    # one that gives the work decides.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            work = pipe.recv()
        except EOFError:
            return
        if work is None:
            continue  # asked to stop what was done already
        _do(cast(Work, work), pipe)


def _do(work: Work, pipe: Connection) -> None:
    try:
        result = work(lambda what: _send(pipe, ("told", what, False)), _Asked(pipe))
    except Interrupted:
        _send(pipe, ("interrupted", None, True))
    except (Exception, SystemExit) as error:
        _send(pipe, ("raised", " ".join(f"{type(error).__name__}: {error}".split()), True))
    else:
        _send(pipe, ("ended", result, work.spoils(result)))


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
