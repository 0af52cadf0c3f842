"""Executors: run the tasks of a comparison here, in processes beside this one, or on a cluster.

An executor takes tasks and reports what becomes of them; it decides nothing about their order. The
one in this file runs them in this process, for debuggers, which cannot look into another one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

from zoo.base.interrupts import Interrupted

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

    When it is left by an error, KeyboardInterrupt included, it asks running tasks to save and stop.
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


def run_task(executor: Executor, task: Task, notify: Notify) -> TaskEnd:
    """Run a single task with nothing beside it."""
    ends: list[TaskEnd] = []

    def on_event(event: Message | TaskEnd) -> None:
        if isinstance(event, TaskEnd):
            ends.append(event)
        else:
            notify(event.content)

    executor.submit(0, task)
    while not ends:
        executor.poll(on_event)
    return ends[0]


class InlineExecutor:
    """Runs one task at a time, in this process; a task that ends the process ends everything."""

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
        else:
            on_event(TaskEnd(number, result))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: there is nothing to clean up."""
