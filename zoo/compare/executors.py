"""Executors: run the tasks of a comparison in this process or in child processes.

An executor takes tasks and reports what becomes of them; it decides nothing about their order.
`InlineExecutor` is for debuggers, which cannot look into another process. `ProcessExecutor` runs
one task per process: a crash ends only that task. A process is reused for the next task, because
importing torch takes seconds, but not after a task that failed: once a kernel has failed, a process
can no longer use its GPU.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.resource_tracker
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, Self, cast

from zoo.base import interrupts
from zoo.base.devices import VISIBLE
from zoo.base.interrupts import Interrupted
from zoo.base.safe_text import error_line

Notify = Callable[[Any], None]
"""Called by a task with a message about its progress; the message must survive pickling."""


class Task(Protocol):
    """A piece of work as plain data: it is pickled and run in another process."""

    @property
    def gpu(self) -> bool:
        """Whether it computes on a GPU."""

    def __call__(self, notify: Notify) -> Any:
        """Run it and return its result."""

    def taints_process(self, result: Any) -> bool:
        """Whether the process that returned this result should run no other task."""


@dataclass(frozen=True)
class Message:
    """Something that a task reported while it ran."""

    number: int
    content: Any


@dataclass(frozen=True)
class TaskEnd:
    """The end of a task: with a result, lost, or interrupted."""

    number: int
    result: Any = None
    lost: str | None = None
    """Why there is no result, in one line: its process died, or it raised an error."""
    interrupted: bool = False


OnEvent = Callable[[Message | TaskEnd], None]


class Executor(Protocol):
    """Runs tasks; a context manager.

    If its block ends with an error, even KeyboardInterrupt, it asks tasks to save and stop.
    """

    capacity: int
    """How many tasks may be submitted at once; not all of them need run already."""

    def parallelism(self, gpu: bool | None = None) -> int:
        """How many tasks run in parallel; 0 if there is room for none.

        `gpu` selects tasks that compute on a GPU, or those that do not; None counts both together.
        """

    def has_room(self, gpu: bool) -> bool:
        """Whether a task of that kind may be submitted now."""

    def submit(self, number: int, task: Task) -> None:
        """Start a task under this number; there must be room for it."""

    def poll(self, on_event: OnEvent) -> None:
        """Wait briefly for events, and pass each on."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None: ...


class InlineExecutor:
    """Runs one task at a time, in this process; a crash of a task ends everything."""

    capacity = 1

    def __init__(self) -> None:
        self._waiting: tuple[int, Task] | None = None

    def parallelism(self, gpu: bool | None = None) -> int:
        """One."""
        return 1

    def has_room(self, gpu: bool) -> bool:
        """Whether no task is waiting."""
        return self._waiting is None

    def submit(self, number: int, task: Task) -> None:
        """Keep the task: `poll` runs it."""
        self._waiting = number, task

    def poll(self, on_event: OnEvent) -> None:
        """Run the task that waits."""
        if self._waiting is None:
            return
        (number, task), self._waiting = self._waiting, None
        try:
            result = task(lambda content: on_event(Message(number, content)))
        except Interrupted:
            on_event(TaskEnd(number, interrupted=True))
        except (Exception, SystemExit) as error:
            on_event(TaskEnd(number, lost=error_line(error)))
        else:
            on_event(TaskEnd(number, result))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: there is nothing to clean up."""


POLL_SECONDS = 0.2
"""The longest wait for events."""
EXIT_SECONDS = 5.0
"""How long an idle process may take to exit."""
STOP_SECONDS = 1.5
"""How long a task may take to stop; a process that saves is waited for."""
_STOP = getattr(signal, "SIGUSR1", None)
"""Asks a process to stop its task; None where there is no such signal, as on Windows."""


@dataclass(frozen=True)
class Slot:
    """A place for one process at a time, with the devices that it may use."""

    visible: str | None = None
    """The GPU that it sees, as in CUDA_VISIBLE_DEVICES; empty for none. None leaves the variable as
    it is."""

    def serves(self, gpu: bool) -> bool:
        """Whether tasks of that kind run here."""
        return self.visible is None or bool(self.visible) == gpu


def device_slots(gpus: Sequence[str], parallel: int | None = None) -> list[Slot]:
    """The slots of a machine with these GPUs, by their names in CUDA_VISIBLE_DEVICES.

    There is one per GPU, or `parallel` slots spread evenly over the GPUs, plus one that sees no
    GPU. Without any GPU there are `parallel` slots, or one.
    """
    if not gpus:
        return [Slot()] * (parallel or 1)
    count = parallel or len(gpus)
    return [*(Slot(gpus[number % len(gpus)]) for number in range(count)), Slot("")]


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    slot: int
    """The number of its slot."""
    number: int | None = None
    """The number of the task that it runs."""
    task: Task | None = None
    """That task, until the process reports that it has started."""
    used: bool = False
    """Whether it has run another task before."""
    saving: bool = False


class ProcessExecutor:
    """Runs tasks in up to `capacity` processes, which are started as they are needed.

    Each slot has at most one process at a time; `capacity` may be less than the number of slots.
    """

    def __init__(self, capacity: int | None = None, slots: Sequence[Slot] | None = None) -> None:
        self._slots = list(slots) if slots else device_slots((), capacity)
        self.capacity = min(capacity or len(self._slots), len(self._slots))
        self._workers: list[_Worker] = []
        self._lost: list[TaskEnd] = []

    def parallelism(self, gpu: bool | None = None) -> int:
        """How many slots there are for tasks of a kind."""
        found = [slot for slot in self._slots if gpu is None or slot.serves(gpu)]
        return min(len(found), self.capacity)

    def has_room(self, gpu: bool) -> bool:
        """Whether a slot for tasks of that kind is free."""
        busy = sum(worker.number is not None for worker in self._workers)
        return busy < self.capacity and bool(self._free(gpu))

    def _free(self, gpu: bool) -> list[int]:
        """Return the idle slots; those that have a process already come first."""
        busy = {worker.slot: worker.number is not None for worker in self._workers}
        found = [
            number
            for number, slot in enumerate(self._slots)
            if slot.serves(gpu) and not busy.get(number, False)
        ]
        return sorted(found, key=lambda number: number not in busy)

    def submit(self, number: int, task: Task) -> None:
        """Send a task to a process of a free slot; there must be one.

        A process that died since its last task is replaced. If a new one cannot be reached either,
        `poll` reports that the task is lost.
        """
        slot = self._free(task.gpu)[0]
        for worker in [w for w in self._workers if w.slot == slot]:
            if self._send_task(worker, number, task):
                return
        worker = self._spawn(slot)
        if not self._send_task(worker, number, task):
            self._lost.append(TaskEnd(number, lost=_exit_reason(worker.process.exitcode)))

    def poll(self, on_event: OnEvent) -> None:
        """Receive messages of the busy processes."""
        while self._lost:
            on_event(self._lost.pop())
        busy = [worker for worker in self._workers if worker.number is not None]
        # A process that dies closes its end of the pipe, which is then ready as well.
        ready = wait([worker.pipe for worker in busy], timeout=POLL_SECONDS)
        for worker in busy:
            if worker.pipe in ready:
                self._receive(worker, on_event)

    def _send_task(self, worker: _Worker, number: int, task: Task) -> bool:
        """Send a process its task; if it has died, remove it and return False."""
        try:
            worker.pipe.send(task)
        except OSError:
            self._remove(worker)
            return False
        worker.number, worker.task = number, task
        return True

    def _receive(self, worker: _Worker, on_event: OnEvent) -> None:
        assert worker.number is not None
        try:
            kind, content, tainted = worker.pipe.recv()
        except (EOFError, OSError):
            self._remove(worker)
            if worker.task is not None and worker.used:
                # It died before the task started, so the task is not to blame.
                self.submit(worker.number, worker.task)
            else:
                on_event(TaskEnd(worker.number, lost=_exit_reason(worker.process.exitcode)))
            return
        match kind:
            case "started":
                worker.task = None
            case "message":
                on_event(Message(worker.number, content))
            case "saving":
                worker.saving = content
            case _:
                number, worker.number, worker.used = worker.number, None, True
                if tainted:
                    self._end(worker)
                on_event(_task_end(number, kind, content))

    def _spawn(self, slot: int) -> _Worker:
        spawn = multiprocessing.get_context("spawn")
        # Started on demand, the tracker would let signals through to the process started next.
        if hasattr(multiprocessing.resource_tracker, "ensure_running"):
            multiprocessing.resource_tracker.ensure_running()
        with interrupts.deferred_stop():
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
            with interrupts.signals_blocked(), _visible_devices(self._slots[slot].visible):
                process.start()
            theirs.close()
            worker = _Worker(process, ours, slot)
            self._workers.append(worker)
        return worker

    def _end(self, worker: _Worker, seconds: float = EXIT_SECONDS) -> None:
        """End a process: an idle one exits by itself, a busy one is killed."""
        if worker.number is not None:
            worker.process.kill()
        worker.pipe.close()
        self._join(worker, seconds)

    def _remove(self, worker: _Worker) -> None:
        """Clean up after a process that can no longer be reached."""
        self._join(worker, EXIT_SECONDS)
        worker.pipe.close()

    def _join(self, worker: _Worker, seconds: float) -> None:
        worker.process.join(seconds)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        self._workers.remove(worker)

    def _stop_all(self) -> None:
        """Ask all tasks to stop and give them time to; a process that saves is waited for."""
        busy = [worker for worker in self._workers if worker.number is not None]
        for worker in busy:
            if _STOP is not None and worker.process.is_alive():
                assert worker.process.pid is not None
                with suppress(OSError):
                    os.kill(worker.process.pid, _STOP)
        end = time.monotonic() + STOP_SECONDS
        while busy and (left := end - time.monotonic()) > 0:
            self._await(busy, left)
        if any(worker.saving for worker in busy):
            with interrupts.saving():
                while busy := [worker for worker in busy if worker.saving]:
                    self._await(busy, POLL_SECONDS)

    def _await(self, busy: list[_Worker], seconds: float) -> None:
        """Receive messages for so long, and remove those that have stopped from `busy`."""
        ready = wait([worker.pipe for worker in busy], timeout=seconds)
        for worker in [worker for worker in busy if worker.pipe in ready]:
            try:
                kind, content, _ = worker.pipe.recv()
            except (EOFError, OSError):
                kind, content = "ended", None
            if kind == "saving":
                worker.saving = content
            elif kind not in ("started", "message"):
                busy.remove(worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._stop_all()
        for worker in list(self._workers):
            # After an error, processes are not given time to exit by themselves.
            self._end(worker, EXIT_SECONDS if kind is None else 0.0)


@contextmanager
def _visible_devices(visible: str | None) -> Iterator[None]:
    """Set CUDA_VISIBLE_DEVICES for processes started in the block; None changes nothing."""
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


def _task_end(number: int, kind: str, content: Any) -> TaskEnd:
    if kind == "raised":
        return TaskEnd(number, lost=content)
    return TaskEnd(number, content, interrupted=kind == "interrupted")


def _exit_reason(code: int | None) -> str:
    """How a process ended unexpectedly."""
    if code is None or code >= 0:
        return f"its process exited with code {code} before it was done"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    why = {
        "SIGKILL": "; the system does this when memory runs out",
        "SIGSEGV": "; that is a fault in native code",
        "SIGABRT": "; native code gave up",
    }.get(name, "")
    return f"its process was killed by {name}{why}"


def _serve(pipe: Connection) -> None:
    """The main function of a worker: run tasks that come through the pipe until it is closed."""
    # Ctrl-C in a terminal, and the end of a job on a cluster, signal every process of a group; the
    # parent decides, and stops this one by a signal of its own.
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
            task = cast("Task", pipe.recv())
        except (EOFError, OSError, KeyboardInterrupt):
            return
        except Exception as error:
            _send(pipe, ("raised", f"its task cannot be read here: {error_line(error)}", True))
            return
        _run_and_report(task, pipe)


def _run_and_report(task: Task, pipe: Connection) -> None:
    try:
        _send(pipe, ("started", None, False))
        result = task(lambda content: _send(pipe, ("message", content, False)))
        message = ("ended", result, task.taints_process(result))
    except (Interrupted, KeyboardInterrupt):
        message = ("interrupted", None, True)
    except (Exception, SystemExit) as error:
        message = ("raised", error_line(error), True)
    _send(pipe, message)


def _send(pipe: Connection, message: Any) -> None:
    try:
        pipe.send(message)
    except (BrokenPipeError, ConnectionResetError):
        # The other end is closed; whoever reads from this pipe will notice.
        return


def _end_with_parent() -> None:
    """Exit at once when the parent process has died: nobody waits for results."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
