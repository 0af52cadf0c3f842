"""Time, memory and energy of a repeated call.

Throughput: a call is warmed up, then timed in blocks, with the device synchronised around each. The
number of repeats follows the time that they take, so that a network that needs half a minute for a
batch on a CPU is measured in minutes; it is part of the result.

Memory: on a GPU torch's allocator keeps count. On a CPU the system records the peak of the process
(`VmHWM`), which Linux resets on request (proc(5), `clear_refs`).

Energy: where the device has a meter that can be read, which is NVIDIA's, by NVML.
"""

from __future__ import annotations

import ctypes
import gc
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from zoo.api.metric import Unavailable
from zoo.base.records import Memory, Throughput

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


ROUNDS = 2
"""Times that the work is done: what the first leaves behind for reuse counts in the second."""
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_PEAK_IS_NOW = "5"


def hand_back(device: torch.device) -> bool:
    """Give freed memory back to the device and to the system; False where the system takes none."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError, TypeError):
        return False  # another C library, which keeps no such blocks or keeps them for good


def held(device: torch.device) -> Memory:
    """What is held now, in bytes, after all that is free was handed back.

    Raises Unavailable where the system does not tell.
    """
    hand_back(device)
    if device.type == "cuda":
        return Memory(
            allocated=torch.cuda.memory_allocated(device),
            reserved=torch.cuda.memory_reserved(device),
        )
    return Memory(allocated=None, reserved=_resident("VmRSS"))


def most_held(device: torch.device, work: Callable[[], object]) -> Memory:
    """The most that is held while `work` is done over and over, in bytes.

    Raises Unavailable where the system does not tell.
    """
    hand_back(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        try:
            _CLEAR.write_text(_PEAK_IS_NOW)
        except OSError as error:
            raise Unavailable(f"the system does not count it: {_CLEAR}: {error.strerror}") from None
    for _ in range(ROUNDS):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return Memory(
            allocated=torch.cuda.max_memory_allocated(device),
            reserved=torch.cuda.max_memory_reserved(device),
        )
    return Memory(allocated=None, reserved=_resident("VmHWM"))


def beyond(most: Memory, without: Memory) -> Memory:
    """What the most is above what was held without the model and its work."""
    return Memory(
        allocated=_above(most.allocated, without.allocated),
        reserved=_above(most.reserved, without.reserved) or 0,
    )


def _above(most: int | None, without: int | None) -> int | None:
    return None if most is None or without is None else max(0, most - without)


def _resident(figure: str) -> int:
    """A line of the process's status, in bytes."""
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise Unavailable(f"the system does not count it: {_STATUS}: {error.strerror}") from None
    for line in lines:
        name, _, value = line.partition(":")
        if name == figure:
            return int(value.split()[0]) * 1024
    raise Unavailable(f"the system does not count it: {_STATUS} has no {figure}")


METERED_SECONDS = 2.0
"""What is metered lasts that long at least: meters are read by the device some ten times a second.
"""
PACKAGE = "nvidia-ml-py"


class EnergyMeter(Protocol):
    """Counts what a device uses up."""

    def joules(self) -> float:
        """Energy used since some moment in the past."""


def energy_meter(device: torch.device) -> EnergyMeter:
    """The meter of a device; raises Unavailable with the reason where there is none."""
    if device.type != "cuda":
        raise Unavailable("a CPU has no meter that is read here")
    try:
        import pynvml
    except ImportError:
        raise Unavailable(f"the package {PACKAGE} is not installed") from None
    try:
        return NvmlMeter(pynvml, str(torch.cuda.get_device_properties(device).uuid))
    except pynvml.NVMLError as error:
        raise Unavailable(f"NVML: {error}") from None


class NvmlMeter:
    """NVML's total energy of a whole GPU since its driver was loaded; Volta and later have it.

    `nvml` is the module `pynvml`; `uuid` tells which GPU, however devices are numbered.
    """

    def __init__(self, nvml: Any, uuid: str) -> None:
        self.nvml = nvml
        nvml.nvmlInit()
        self.handle = nvml.nvmlDeviceGetHandleByUUID("GPU-" + uuid.removeprefix("GPU-"))
        self.joules()

    def joules(self) -> float:
        """Energy used, idle current and whatever else ran there included."""
        return self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle) / 1000


def joules_per_frame(
    meter: EnergyMeter,
    call: Callable[[], object],
    frames: int,
    rate: float,
    wait: Callable[[], None],
) -> float:
    """Energy for each frame of a warm call that works on `frames` of them, about `rate` a second.

    Raises Unavailable if the meter stood still.
    """
    calls = max(1, math.ceil(METERED_SECONDS * rate / frames))
    wait()
    before = meter.joules()
    for _ in range(calls):
        call()
    wait()
    used = meter.joules() - before
    if used <= 0:
        raise Unavailable("the device's energy meter stood still")
    return used / (calls * frames)
