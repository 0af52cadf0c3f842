"""Time, memory and energy of a repeated call.

Throughput: a call is warmed up, then timed in blocks, with the device synchronised around each.
Slow calls are repeated less often, so that a network that needs half a minute for a batch on a CPU
is measured in minutes. The number of repeats is part of the result.

Memory: on a GPU torch's allocator keeps count. On a CPU the system records the peak of the process
(`VmHWM`), which Linux resets on request (proc(5), `clear_refs`).

Energy: NVML reads the meter of an NVIDIA GPU; other devices have no meter that can be read.
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
from zoo.base.extras import missing_extra
from zoo.base.records import Memory, Throughput

WARM_UP = 3
"""Calls before the first that counts; the first includes late compilation and loading."""
WARM_UP_SECONDS = 5.0
"""After the second call, no warm-up call begins once this time has passed."""
FEWEST_REPEATS = 5
MOST_REPEATS = 9
LONG_SECONDS = 20.0
"""After this time only `FEWEST_REPEATS` repeats are made."""
BLOCK_SECONDS = 0.05
"""The shortest block of calls, which averages over other work on the machine."""
FEWEST_CALLS = {"cuda": 10, "cpu": 1}
"""The fewest calls in a block, by device: on a GPU, timing one call would measure its launch."""
MOST_CALLS = 10_000

Call = Callable[[], object]
ROUNDS = 2
"""Calls whose peak is measured: buffers that the first leaves for reuse count in the second."""
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_PEAK_IS_NOW = "5"
METERED_SECONDS = 2.0
"""The shortest metered work: devices update their meters about ten times per second."""


def synchroniser(device: torch.device) -> Callable[[], None]:
    """A function that waits until the device has finished all its work."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None


def measure_throughput(
    call: Call, frames: int, wait: Callable[[], None], fewest_calls: int = 1
) -> Throughput:
    """Time a call that processes `frames` frames; `wait` is the device's `synchroniser`.

    `wait` is called before and after each block of at least `fewest_calls` calls, never within.
    """
    calls = max(
        fewest_calls, min(MOST_CALLS, math.ceil(BLOCK_SECONDS / max(_warm_up(call, wait), 1e-9)))
    )
    rates: list[float] = []
    began = time.perf_counter()
    while len(rates) < FEWEST_REPEATS or (
        len(rates) < MOST_REPEATS and time.perf_counter() - began < LONG_SECONDS
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


def _warm_up(call: Call, wait: Callable[[], None]) -> float:
    """Warm up; returns how many seconds a call takes after the first."""
    call()
    wait()
    began = time.perf_counter()
    done = 0
    while not done or (done < WARM_UP - 1 and time.perf_counter() - began < WARM_UP_SECONDS):
        call()
        wait()
        done += 1
    return (time.perf_counter() - began) / done


def release_memory(device: torch.device) -> bool:
    """Return freed memory to the device and the system; False if the C library cannot."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError, TypeError):
        return False  # another C library, without malloc_trim


def memory_in_use(device: torch.device) -> Memory:
    """Memory in use now, in bytes, after freed memory was released.

    Raises Unavailable if the system does not report it.
    """
    release_memory(device)
    if device.type == "cuda":
        return Memory(
            allocated=torch.cuda.memory_allocated(device),
            reserved=torch.cuda.memory_reserved(device),
        )
    return Memory(allocated=None, reserved=_process_memory("VmRSS"))


def peak_memory(device: torch.device, work: Callable[[], object]) -> Memory:
    """Peak memory during repeated calls of `work`, in bytes.

    Raises Unavailable if the system does not report it.
    """
    release_memory(device)
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
    return Memory(allocated=None, reserved=_process_memory("VmHWM"))


def memory_above(peak: Memory, baseline: Memory) -> Memory:
    """The peak above a baseline without the model and its work."""
    return Memory(
        allocated=_difference(peak.allocated, baseline.allocated),
        reserved=_difference(peak.reserved, baseline.reserved) or 0,
    )


def _difference(peak: int | None, baseline: int | None) -> int | None:
    return None if peak is None or baseline is None else max(0, peak - baseline)


def _process_memory(figure: str) -> int:
    """Read a line of this process's status, in bytes."""
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise Unavailable(f"the system does not count it: {_STATUS}: {error.strerror}") from None
    for line in lines:
        name, _, value = line.partition(":")
        if name == figure:
            return int(value.split()[0]) * 1024
    raise Unavailable(f"the system does not count it: {_STATUS} has no {figure}")


class EnergyMeter(Protocol):
    """Meters the energy that a device uses."""

    def joules(self) -> float:
        """Energy used since a fixed time in the past."""


def energy_meter(device: torch.device) -> EnergyMeter:
    """The meter of a device; raises Unavailable with the reason if there is none."""
    if device.type != "cuda":
        raise Unavailable("a CPU has no meter that is read here")
    try:
        import pynvml
    except ImportError:
        raise Unavailable(missing_extra("energy", "energy per frame")) from None
    try:
        return NvmlMeter(pynvml, str(torch.cuda.get_device_properties(device).uuid))
    except pynvml.NVMLError as error:
        raise Unavailable(f"NVML: {error}") from None


class NvmlMeter:
    """NVML's total energy of a whole GPU since its driver was loaded; Volta and later have it.

    `nvml` is the module `pynvml`; `uuid` identifies the GPU, however devices are numbered.
    """

    def __init__(self, nvml: Any, uuid: str) -> None:
        self.nvml = nvml
        nvml.nvmlInit()
        self.handle = nvml.nvmlDeviceGetHandleByUUID("GPU-" + uuid.removeprefix("GPU-"))
        self.joules()

    def joules(self) -> float:
        """Energy used, including idle power and other processes."""
        return self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle) / 1000


def joules_per_frame(
    meter: EnergyMeter,
    call: Callable[[], object],
    frames: int,
    rate: float,
    wait: Callable[[], None],
) -> float:
    """Energy per frame of a warm call on `frames` frames, at about `rate` frames per second.

    Raises Unavailable if the meter did not advance.
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
