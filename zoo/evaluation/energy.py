"""Energy a frame, where the device has a meter that can be read: NVIDIA's, by NVML."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch

from zoo.api.metric import Unavailable

SECONDS = 2.0
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
    calls = max(1, math.ceil(SECONDS * rate / frames))
    wait()
    before = meter.joules()
    for _ in range(calls):
        call()
    wait()
    used = meter.joules() - before
    if used <= 0:
        raise Unavailable("the device's energy meter stood still")
    return used / (calls * frames)
