"""Work on a Ray cluster, or in Ray's own processes on this machine.

Ray decides where and when. Each piece of work is a task that asks for its cores or its share of a
GPU; a task whose process or machine dies is tried again, and goes on from its checkpoint.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from zoo.base import interrupts
from zoo.base.errors import BadInput, ZooError
from zoo.base.text import error_line, one_line
from zoo.compare.executors import Ended, Hear, Told, Work
from zoo.training.watching import Interrupted

LOOK = 0.5
"""Seconds after which a wait ends."""
PATIENCE = 1.5
"""Seconds that tasks may take to save and to stop."""
RETRIES = 3
"""Of a task whose process or machine died. One that fails for reasons of its own has a result."""
LONGEST = 200
"""Letters of what Ray says."""
ROUNDING = 1e-6
"""Ten tasks of 0.1 GPU have room on one."""
PENDING = 1000
"""Tasks that are handed over at once where nobody sets a limit: Ray keeps them in memory."""

_INTERRUPTED = "interrupted"


class Cluster:
    """A connection to Ray. `address` is None for RAY_ADDRESS, or else for this machine alone."""

    def __init__(
        self, address: str | None, *, cores: int, gpus: float | None, at_once: int | None = None
    ) -> None:
        """Connect. `gpus` is what a cell that computes on a GPU takes of them; None takes one
        where the cluster has any.

        Raises BadInput where Ray is not installed or cannot be reached.
        """
        try:
            import ray
            from ray.util.queue import Queue
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
        except ImportError:
            raise BadInput("--on ray needs Ray: pip install 'film-zoo[ray]'") from None
        # Ray tells its makers of every start, and on this machine lets all else go first, unless
        # it is asked not to.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_worker_niceness", "0")
        self._ray: Any = ray
        self._ours = not ray.is_initialized()
        try:
            if self._ours:
                with _own_handlers():
                    ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise BadInput(f"Ray cannot be reached: {' '.join(str(error).split())}") from None
        if gpus is None:
            gpus = 1.0 if self.resources.get("GPU", 0) >= 1 else 0.0
        self.gpus, self._cores, self._limit = gpus, cores, at_once
        self.capacity = at_once or PENDING
        self._task = ray.remote(num_cpus=cores, max_retries=RETRIES, retry_exceptions=False)(_do)
        # What tells of progress stays with those who listen, when other machines go.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._news = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        self._running: dict[Any, int] = {}

    @property
    def resources(self) -> Mapping[str, float]:
        """What the cluster has in all, by Ray's names: CPU, GPU, memory."""
        return dict(self._ray.cluster_resources())

    def at_once(self, gpu: bool | None = None) -> int:
        """How many tasks of a kind the cluster, as it is now, has room for beside one another."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        # Of both kinds together it is the cores that set a limit.
        gpus = self.gpus if gpu else 0.0
        room = sum(_room(node, self._cores, gpus) for node in nodes)
        return min(room, self._limit or room)

    def has_room(self, gpu: bool) -> bool:
        """Always: what does not fit yet waits in Ray's own queue."""
        return True

    def start(self, number: int, work: Work) -> None:
        """Hand work over to Ray. Raises ZooError where Ray is no more."""
        with self._reached():
            task = self._task.options(num_gpus=self.gpus if work.gpu else 0)
            self._running[task.remote(number, work, self._news)] = number

    def wait(self, hear: Hear) -> None:
        """Listen to what is told and to what has ended. Raises ZooError where Ray is no more."""
        with self._reached():
            done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=LOOK)
        for number, what in self._heard():
            # What is told late, of work that was begun again elsewhere, is of no interest.
            if number in self._running.values():
                hear(Told(number, what))
        for reference in done:
            hear(self._ended(self._running.pop(reference), reference))

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn what Ray raises where its own processes are gone into one line."""
        try:
            yield
        except (self._ray.exceptions.RayError, ConnectionError) as error:
            why = one_line(str(error), LONGEST)
            raise ZooError(f"Ray was lost ({why}); the same command goes on") from None

    def _heard(self) -> list[tuple[int, Any]]:
        news: list[tuple[int, Any]] = []
        # Progress that is lost costs nothing but the sight of it.
        with suppress(self._ray.exceptions.RayError):
            if waiting := self._news.qsize():
                news = self._news.get_nowait_batch(waiting)
        return news

    def _ended(self, number: int, reference: Any) -> Ended:
        exceptions = self._ray.exceptions
        try:
            result = self._ray.get(reference)
        except exceptions.TaskCancelledError:
            return Ended(number, interrupted=True)
        except exceptions.RayTaskError as error:
            cause = error.cause
            if cause is None or isinstance(cause, ZooError):
                return Ended(number, lost=one_line(str(cause or error)))
            return Ended(number, lost=error_line(cause))
        except exceptions.OutOfMemoryError:
            return Ended(number, lost="its machine ran out of memory, and Ray ended its process")
        except exceptions.RayError as error:
            what = {
                "WorkerCrashedError": "its process died",
                "NodeDiedError": "its machine was lost",
            }.get(type(error).__name__, f"Ray gave it up ({type(error).__name__})")
            return Ended(number, lost=f"{what}, {RETRIES + 1} times")
        if isinstance(result, str) and result == _INTERRUPTED:
            return Ended(number, interrupted=True)
        return Ended(number, result)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Where Ray is no more there is nothing to put away.
        with suppress(self._ray.exceptions.RayError, ConnectionError):
            self._stop_all()
            self._news.shutdown(force=True)
        if self._ours:
            self._ray.shutdown()

    def _stop_all(self) -> None:
        """Have tasks stop, which they do as after Ctrl-C, and end those that take too long."""
        for reference in self._running:
            self._ray.cancel(reference, force=False)
        end = time.monotonic() + PATIENCE
        while self._running and (left := end - time.monotonic()) > 0:
            done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=left)
            for reference in done:
                del self._running[reference]
        for reference in self._running:
            self._ray.cancel(reference, force=True)


def _room(node: Mapping[str, float], cores: int, gpus: float) -> int:
    """How many tasks a machine has room for, each with so many cores and GPUs."""
    room = int(node.get("CPU", 0) // cores)
    return min(room, int(node.get("GPU", 0) / gpus + ROUNDING)) if gpus else room


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Put back what signals did before the block."""
    before = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _do(number: int, work: Work, news: Any) -> Any:
    """The task: work, in a process of Ray's."""
    import ray

    def tell(what: Any) -> None:
        # Where nobody can be told, the work goes on.
        with suppress(ray.exceptions.RayError):
            news.put_nowait((number, what))

    # Ray cancels a task by an interrupt, as Ctrl-C would.
    try:
        return work(tell)
    except (Interrupted, KeyboardInterrupt):
        return _INTERRUPTED
