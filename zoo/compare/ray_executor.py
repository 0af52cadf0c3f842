"""Run tasks on a Ray cluster, or in Ray's own processes on this machine.

Ray decides where and when. Each task requests its cores or its share of a GPU; a task whose process
or machine dies is retried, and resumes from its checkpoint.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Self

from zoo.base import interrupts
from zoo.base.errors import BadInput, ZooError
from zoo.base.extras import missing_extra
from zoo.base.interrupts import Interrupted
from zoo.base.safe_text import error_line, one_line
from zoo.compare.executors import Message, OnEvent, Task, TaskEnd

POLL_SECONDS = 0.5
"""The longest wait for events."""
STOP_SECONDS = 1.5
"""How long tasks may take to save and stop."""
RETRIES = 3
"""Retries of a task whose process or machine died; a task that merely fails has a result."""
LONGEST = 200
"""The most characters of an error from Ray."""
ROUNDING = 1e-6
"""Lets ten tasks of 0.1 GPU fit on one."""
MOST_PENDING = 1000
"""The most tasks submitted at once if no limit is set: Ray keeps them in memory."""

_INTERRUPTED = "interrupted"


class RayExecutor:
    """A connection to Ray; an `address` of None means RAY_ADDRESS or, without it, this machine."""

    def __init__(
        self, address: str | None, *, cores: int, gpus: float | None, parallel: int | None = None
    ) -> None:
        """Connect. `gpus` is what a task that computes on a GPU requests; None requests one
        where the cluster has any.

        Raises BadInput where Ray is not installed or cannot be reached.
        """
        try:
            import ray
            from ray.util.queue import Queue
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
        except ImportError:
            raise BadInput(missing_extra("ray", "--on ray")) from None
        # By default Ray reports usage to its makers, and lowers the priority of its workers.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_worker_niceness", "0")
        self._ray: Any = ray
        self._ours = not ray.is_initialized()
        try:
            if self._ours:
                with _restored_handlers():
                    ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise BadInput(f"Ray cannot be reached: {' '.join(str(error).split())}") from None
        if gpus is None:
            gpus = 1.0 if self.resources.get("GPU", 0) >= 1 else 0.0
        self.gpus, self._cores, self._limit = gpus, cores, parallel
        self.capacity = parallel or MOST_PENDING
        self._task = ray.remote(num_cpus=cores, max_retries=RETRIES, retry_exceptions=False)(_run)
        # The queue of messages stays on this machine, so it survives the loss of others.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._messages = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        self._running: dict[Any, int] = {}

    @property
    def resources(self) -> Mapping[str, float]:
        """The total resources of the cluster, by Ray's names: CPU, GPU, memory."""
        return dict(self._ray.cluster_resources())

    def parallelism(self, gpu: bool | None = None) -> int:
        """How many tasks of a kind the cluster, as it is now, can run in parallel."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        # For both kinds together the cores set the limit.
        gpus = self.gpus if gpu else 0.0
        room = sum(_tasks_that_fit(node, self._cores, gpus) for node in nodes)
        return min(room, self._limit or room)

    def has_room(self, gpu: bool) -> bool:
        """Always: a task that does not fit yet waits in Ray's own queue."""
        return True

    def submit(self, number: int, task: Task) -> None:
        """Submit a task to Ray. Raises ZooError if Ray is gone."""
        with self._reached():
            remote = self._task.options(num_gpus=self.gpus if task.gpu else 0)
            self._running[remote.remote(number, task, self._messages)] = number

    def poll(self, on_event: OnEvent) -> None:
        """Pass on messages and ends of tasks. Raises ZooError if Ray is gone."""
        with self._reached():
            done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=POLL_SECONDS)
        for number, content in self._received():
            # Late messages of a task that was restarted elsewhere are ignored.
            if number in self._running.values():
                on_event(Message(number, content))
        for reference in done:
            on_event(self._ended(self._running.pop(reference), reference))

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn the errors that Ray raises when its own processes are gone into one line."""
        try:
            yield
        except (self._ray.exceptions.RayError, ConnectionError) as error:
            why = one_line(str(error), LONGEST)
            raise ZooError(f"Ray was lost ({why}); {interrupts.RESUME}") from None

    def _received(self) -> list[tuple[int, Any]]:
        messages: list[tuple[int, Any]] = []
        # A lost message is only a lost update of the display.
        with suppress(self._ray.exceptions.RayError):
            if waiting := self._messages.qsize():
                messages = self._messages.get_nowait_batch(waiting)
        return messages

    def _ended(self, number: int, reference: Any) -> TaskEnd:
        exceptions = self._ray.exceptions
        try:
            result = self._ray.get(reference)
        except exceptions.TaskCancelledError:
            return TaskEnd(number, interrupted=True)
        except exceptions.RayTaskError as error:
            cause = error.cause
            if cause is None or isinstance(cause, ZooError):
                return TaskEnd(number, lost=one_line(str(cause or error)))
            return TaskEnd(number, lost=error_line(cause))
        except exceptions.OutOfMemoryError:
            return TaskEnd(number, lost="its machine ran out of memory, and Ray ended its process")
        except exceptions.RayError as error:
            what = {
                "WorkerCrashedError": "its process died",
                "NodeDiedError": "its machine was lost",
            }.get(type(error).__name__, f"Ray gave up on it ({type(error).__name__})")
            return TaskEnd(number, lost=f"{what}, {RETRIES + 1} times")
        if isinstance(result, str) and result == _INTERRUPTED:
            return TaskEnd(number, interrupted=True)
        return TaskEnd(number, result)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # If Ray is gone there is nothing to clean up.
        with suppress(self._ray.exceptions.RayError, ConnectionError):
            self._stop_all()
            self._messages.shutdown(force=True)
        if self._ours:
            self._ray.shutdown()

    def _stop_all(self) -> None:
        """Ask tasks to stop, as Ctrl-C would, and end those that take too long."""
        for reference in self._running:
            self._ray.cancel(reference, force=False)
        end = time.monotonic() + STOP_SECONDS
        while self._running and (left := end - time.monotonic()) > 0:
            done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=left)
            for reference in done:
                del self._running[reference]
        for reference in self._running:
            self._ray.cancel(reference, force=True)


def _tasks_that_fit(node: Mapping[str, float], cores: int, gpus: float) -> int:
    """How many tasks fit on a machine, each with so many cores and GPUs."""
    room = int(node.get("CPU", 0) // cores)
    return min(room, int(node.get("GPU", 0) / gpus + ROUNDING)) if gpus else room


@contextmanager
def _restored_handlers() -> Iterator[None]:
    """Restore, after the block, the signal handlers that were set before it."""
    before = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(number: int, task: Task, messages: Any) -> Any:
    """Run a task in a process of Ray's."""
    import ray

    def notify(content: Any) -> None:
        # If a message cannot be delivered, the task goes on.
        with suppress(ray.exceptions.RayError):
            messages.put_nowait((number, content))

    # Ray cancels a task by an interrupt, as Ctrl-C would.
    try:
        return task(notify)
    except (Interrupted, KeyboardInterrupt):
        return _INTERRUPTED
