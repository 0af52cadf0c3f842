"""Run tasks in this process: for debuggers, which cannot look into another one."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from zoo.compare.executors import Message, OnEvent, Task, TaskEnd
from zoo.training.callbacks import Interrupted


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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """There is nothing to clean up."""
