"""A thread's turn on the processor, which some libraries change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def usual_priority() -> Iterator[None]:
    """Give this thread its priority back after an encoder was called.

    SVT-AV1, where root runs it, makes the thread that opens it a real-time one, before which no
    other process of the machine gets its turn.
    """
    before = None
    if hasattr(os, "sched_getscheduler"):
        before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if before and os.sched_getscheduler(0) != before[0]:
            os.sched_setscheduler(0, *before)
