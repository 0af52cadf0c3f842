"""Keep SVT-AV1 from giving this process real-time priority, and from printing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_THREADS = Path("/proc/self/task")


def quiet_encoders() -> None:
    """Have SVT-AV1 print nothing, neither its settings nor that an encoding was interrupted.

    What goes wrong in it comes back from FFmpeg as well. It reads the variable when it is first
    opened.
    """
    os.environ.setdefault("SVT_LOG", "0")


@contextmanager
def usual_priority() -> Iterator[None]:
    """Give this process's threads their priority back after an encoder was called.

    SVT-AV1, where root runs it, makes the thread that opens it and all of its own real-time ones,
    before which no other process of the machine gets its turn.
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
    """Give all threads of this process a policy where they have a real-time one."""
    for thread in _THREADS.iterdir() if _THREADS.exists() else ():
        try:
            if os.sched_getscheduler(int(thread.name)) in (os.SCHED_FIFO, os.SCHED_RR):
                os.sched_setscheduler(int(thread.name), policy, param)
        except ProcessLookupError:
            continue  # it has ended
