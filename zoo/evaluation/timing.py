"""Frames per second: a call is warmed up, then timed in blocks, the device waited for around each.

The number of repeats follows the time that they take, so that a network that needs half a minute
for a batch on a CPU is measured in minutes; it is part of the result.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch

from zoo.base.records import Throughput

WARM_UP = 3
"""Calls before the first that counts; the first compiles and loads what libraries load late."""
LONGEST_WARM_UP = 5.0
"""Seconds after the first call from which no further one warms up."""
FEWEST_REPEATS = 5
MOST_REPEATS = 9
SECONDS = 20.0
"""From here on there are no more repeats than the fewest."""
BLOCK = 0.05
"""Seconds that a block of calls takes at least: what else a machine does is seconds apart."""
CALLS = {"cuda": 10, "cpu": 1}
"""The fewest calls in a block: on a GPU a single one would time its launch."""
MOST_CALLS = 10_000

Work = Callable[[], object]


def waiter(device: torch.device) -> Callable[[], None]:
    """A function that returns when the device has done all that was asked of it."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None


def throughput(
    call: Work, frames: int, wait: Callable[[], None], fewest_calls: int = 1
) -> Throughput:
    """Time a call that works on `frames` frames; `wait` is for the device, as `waiter` has it.

    It is waited for before and after each block of at least `fewest_calls` calls, never between.
    """
    calls = max(fewest_calls, min(MOST_CALLS, math.ceil(BLOCK / max(_warm(call, wait), 1e-9))))
    rates: list[float] = []
    began = time.perf_counter()
    while len(rates) < FEWEST_REPEATS or (
        len(rates) < MOST_REPEATS and time.perf_counter() - began < SECONDS
    ):
        wait()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        wait()
        rates.append(calls * frames / (time.perf_counter() - start))
    lower, median, upper = np.percentile(rates, [25, 50, 75])
    return Throughput(
        median=float(median),
        lower_quartile=float(lower),
        upper_quartile=float(upper),
        repeats=len(rates),
    )


def _warm(call: Work, wait: Callable[[], None]) -> float:
    """Warm a call up; returns the seconds that one takes then."""
    call()
    wait()
    began = time.perf_counter()
    done = 0
    while not done or (done < WARM_UP - 1 and time.perf_counter() - began < LONGEST_WARM_UP):
        call()
        wait()
        done += 1
    return (time.perf_counter() - began) / done
