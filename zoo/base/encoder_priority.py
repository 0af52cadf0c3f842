"""Keep SVT-AV1 from giving this process real-time priority, and from printing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_THREADS = Path("/proc/self/task")


def quiet_encoders() -> None:
    """Keep SVT-AV1 from printing its settings and interrupted encodings.

    FFmpeg reports its errors anyway. SVT-AV1 reads the environment variable when it is first
    opened.
    """
    os.environ.setdefault("SVT_LOG", "0")


@contextmanager
def usual_priority() -> Iterator[None]:
    """Restore the priority of this process's threads after the block has called an encoder.

    When root runs SVT-AV1, it gives real-time priority to the thread that opens it and to all of
    its own threads, which starves every other process on the machine.
    """
    before = None
    if hasattr(os, "sched_getscheduler"):
        before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if before and os.sched_getscheduler(0) != before[0]:
            os.sched_setscheduler(0, *before)
            _demote_real_time(*before)


def _demote_real_time(policy: int, param: os.sched_param) -> None:
    """Set a scheduling policy for all threads of this process that have a real-time one."""
    for thread in _THREADS.iterdir() if _THREADS.exists() else ():
        try:
            if os.sched_getscheduler(int(thread.name)) in (os.SCHED_FIFO, os.SCHED_RR):
                os.sched_setscheduler(int(thread.name), policy, param)
        except ProcessLookupError:
            continue  # it has ended
