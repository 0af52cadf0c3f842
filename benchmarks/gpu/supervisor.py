"""Run each stage within its time, and keep all measurements on disk whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from benchmarks.gpu.stages import (
    ROOT,
    STAGES,
    Order,
    Setup,
    close,
    read_stage,
    stage_file,
    time_is_over,
    without_folders,
)
from benchmarks.gpu.summary import write_summary
from zoo.base.atomic_files import write_json
from zoo.base.gpu_records import GpuSummary, Stage, State

POLL = 0.1
RESERVE = 8.0
"""Seconds kept for the end, at most a tenth of the whole."""
START = 180.0
"""Seconds that a worker has until it begins with its first stage."""
GRACE = 0.05
"""Share of the total time by which the last item of a stage may overrun."""
LEAST_ITEM = 15.0
"""The fewest seconds for an item."""
LINES = 10
"""Last lines of a worker's standard error, kept if it dies."""
WORKER = (sys.executable, "-m", "benchmarks.gpu.worker")

End = Literal["done", "out of time", "item overran", "died", "never began"]


class Supervisor:
    """Runs stages in worker processes, one after another.

    A worker is reused for the next stage, because importing torch takes seconds. If it died or was
    killed, another one does what is left. A worker ends a stage by itself when the time is over, so
    that only an item that hangs, or takes far too long, is killed.
    """

    def __init__(
        self,
        setup: Setup,
        minutes: float,
        say: Callable[[str], None],
        worker: Sequence[str] = WORKER,
        began: float | None = None,
    ) -> None:
        """`minutes` count from `began`, in seconds since 1970, by default from now.

        `worker` is the command of a worker.
        """
        self.setup = setup
        self.minutes = minutes
        self.say = say
        self.command = list(worker)
        self.began = time.time() if began is None else began
        self.began_at = datetime.fromtimestamp(self.began, UTC).isoformat(timespec="seconds")
        self.end = self.began + 60 * minutes - min(RESERVE, 6 * minutes)
        self._deadline: float | None = None
        """The deadline of the current stage, once a worker has begun it."""
        self._worker: subprocess.Popen[str] | None = None
        self._log = setup.work / "worker.log"

    def run(self, stages: Sequence[str]) -> GpuSummary:
        """Run these stages; a request to stop ends the current one and still writes the summary.

        Raises BadInput, before any work, if the file of another stage is damaged.
        """
        for name in stages:
            stage_file(self.setup.out, name).unlink(missing_ok=True)
        self._sum_up()  # raises if results of an earlier run cannot be read
        try:
            for at, name in enumerate(stages):
                self._stage(name, stages[at:])
                self._sum_up()
        except (KeyboardInterrupt, SystemExit):
            self._kill()
            for name in stages:
                if stage_file(self.setup.out, name).exists():
                    self._close(name, "cut off", "the run was stopped")
            raise
        finally:
            self._kill()
            summary = self._sum_up()
        return summary

    def _stage(self, name: str, left: Sequence[str]) -> None:
        """Run a stage, the first of those that are left."""
        plan = STAGES[name]
        share = plan.share / sum(STAGES[each].share for each in left)
        allowed = max(0.0, share * (self.end - time.time()))
        self._deadline = None
        self.say(f"{name} (up to {allowed:.0f} s)")
        stage: Stage[Any] = plan.kind(stage=name, allowed_seconds=allowed)
        write_json(stage_file(self.setup.out, name), stage)
        longest = max(LEAST_ITEM, plan.item * allowed)
        untried = -1
        while True:
            end = self._watch(name, allowed, longest)
            if end == "done":
                break
            self._kill()
            if end == "never began":
                self._close(name, "failed", f"its process did not begin within {START:.0f} s")
                break
            if end == "out of time":
                self._close(name, "cut off", time_is_over(allowed))
                break
            if end == "item overran":
                waiting = self._mark(name, "cut off", [f"took longer than {longest:.0f} s"])
            else:
                waiting = self._mark(name, "failed", self._death())
            if waiting == untried:
                self._close(name, "failed", "its process ended twice without doing anything")
            elif self._time_is_over():
                self._close(name, "cut off", time_is_over(allowed))
                break
            if waiting in (0, untried):
                break
            untried = waiting
        self.say(f"  {describe(read_stage(self.setup.out, name))}")

    def _mark(self, name: str, state: State, why: list[str]) -> int:
        """Mark the item at which a worker ended, and return how many are left to try.

        A stage has failed if a worker ended before it listed any.
        """
        stage = read_stage(self.setup.out, name)
        for item in stage.items:
            if item.state == "running":
                item.state, item.error = state, [*item.error, *why]
                self.say(f"    {state}: {why[-1]}")
        left = sum(item.state == "waiting" for item in stage.items)
        if not stage.items:
            stage.state, stage.error = "failed", why
        elif not left:
            stage.state = "done"
        write_json(stage_file(self.setup.out, name), stage)
        return left

    def _watch(self, name: str, allowed: float, longest: float) -> End:
        """Have a worker do the stage, and return when it is done, dead, or takes too long."""
        if self._worker is None:
            self._worker = self._start()
        order = Order(
            stage=name,
            setup=self.setup,
            seconds=allowed,
            deadline=self.end if self._deadline is None else self._deadline,
        )
        begin_by = time.time() + START
        assert self._worker.stdin
        try:
            self._worker.stdin.write(order.model_dump_json() + "\n")
            self._worker.stdin.flush()
        except BrokenPipeError:
            return "died"
        at_work, since = None, time.monotonic()
        while True:
            dead = self._worker.poll() is not None
            stage = read_stage(self.setup.out, name)
            if stage.state in ("done", "failed", "cut off"):
                return "done"
            if dead:
                return "died"
            now = time.time()
            if self._deadline is None and stage.state == "running":
                self._deadline = min(self.end, now + allowed)
            if now > self._last_moment():
                return "out of time"
            if self._deadline is None and now > begin_by:
                return "never began"
            running = next((item.name for item in stage.items if item.state == "running"), None)
            if running != at_work:
                at_work, since = running, time.monotonic()
            if at_work is not None and time.monotonic() - since > longest:
                return "item overran"
            time.sleep(POLL)

    def _time_is_over(self) -> bool:
        """Whether the time of the current stage is over."""
        return self._deadline is not None and time.time() > self._deadline

    def _last_moment(self) -> float:
        """The time at which the current item is killed."""
        if self._deadline is None:
            return self.end
        return min(self.end, self._deadline + GRACE * 60 * self.minutes)

    def _start(self) -> subprocess.Popen[str]:
        with self._log.open("a") as log:
            return subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                # A download is not a measurement, and may take all of a stage's time.
                env={"ZOO_OFFLINE": "1", **os.environ},
                # Its own children, such as compilers, are killed with it.
                start_new_session=True,
            )

    def _kill(self) -> None:
        if self._worker is not None:
            if self._worker.poll() is None:
                os.killpg(self._worker.pid, signal.SIGKILL)
            self._worker.wait()
            self._worker = None

    def _death(self) -> list[str]:
        """The last lines that a dead worker wrote."""
        said = self._log.read_text(errors="replace").rstrip().splitlines()[-LINES:]
        return [*(without_folders(line)[:300] for line in said), "the process died"]

    def _close(self, name: str, state: State, why: str) -> None:
        """Mark what a stage did not get to."""
        stage = read_stage(self.setup.out, name)
        close(stage, state, why)
        write_json(stage_file(self.setup.out, name), stage)

    def _sum_up(self) -> GpuSummary:
        taken = time.time() - self.began
        return write_summary(self.setup, self.began_at, self.minutes, taken)


def describe(stage: Stage[Any]) -> str:
    """A stage in a line: `12 done, 1 failed`."""
    counts = Counter(item.state for item in stage.items)
    said = ", ".join(f"{n} {state}" for state, n in counts.items())
    return said or " ".join([stage.state, *stage.error[-1:]])


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A temporary folder for frames and runs."""
    return tempfile.TemporaryDirectory(prefix="film-zoo-gpu-", ignore_cleanup_errors=True)
