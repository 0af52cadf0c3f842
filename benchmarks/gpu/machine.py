"""Stage `machine`: what the device is, and the two rates that bound all work on it."""

from __future__ import annotations

import os
import statistics
import subprocess
import time

import torch
from av.codec.hwaccel import hwdevices_available

from benchmarks.gpu.worker import Here, Work
from zoo.base.devices import default_precision
from zoo.base.gpu_records import Item, MachineResult
from zoo.evaluation.profiling import synchroniser
from zoo.training.throughput_and_memory import matmul_rate

COPIED = {"cuda": 4 << 30, "cpu": 1 << 24}
"""Bytes copied, by device: far more than any cache of a GPU holds."""
COPIES = 9
QUERIES = ("driver_version", "power.limit", "clocks.max.graphics")


def works(here: Here) -> dict[str, Work]:
    """One item: the machine."""

    def measure(item: Item[MachineResult]) -> None:
        item.result = machine(here.device)

    return {"machine": measure}


def machine(device: torch.device) -> MachineResult:
    """Describe a device, and measure its rates."""
    on_gpu = device.type == "cuda"
    properties = torch.cuda.get_device_properties(device) if on_gpu else None
    driver, power, clock = _asked_of_driver(device)
    rates: dict[str, float | None] = {"fp32": matmul_rate(device, torch.float32)}
    if on_gpu:
        rates["tf32"] = _tf32_rate(device)
        if default_precision(device).startswith("bf16"):
            rates["bf16"] = matmul_rate(device, torch.bfloat16)
    return MachineResult(
        capability=f"{properties.major}.{properties.minor}" if properties else None,
        memory_bytes=properties.total_memory if properties else None,
        multiprocessors=properties.multi_processor_count if properties else None,
        driver=driver,
        power_limit_watts=_number(power),
        graphics_clock_mhz=_number(clock),
        cudnn=torch.backends.cudnn.version() if on_gpu else None,
        cores=len(os.sched_getaffinity(0)),
        hardware_decoders=list(hwdevices_available()),
        matmul_rates=rates,
        copy_rate=_copy_rate(device),
    )


def _tf32_rate(device: torch.device) -> float:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        return matmul_rate(device, torch.float32)
    finally:
        torch.set_float32_matmul_precision(before)


def _copy_rate(device: torch.device) -> float:
    source = torch.randint(255, (COPIED[device.type],), dtype=torch.uint8, device=device)
    target, wait = torch.empty_like(source), synchroniser(device)
    seconds = []
    for _ in range(COPIES + 1):
        wait()
        began = time.perf_counter()
        target.copy_(source)
        wait()
        seconds.append(time.perf_counter() - began)
    return 2 * source.nbytes / statistics.median(seconds[1:])


def _asked_of_driver(device: torch.device) -> tuple[str | None, ...]:
    """Return nvidia-smi's answer to each of QUERIES; None where there is no answer."""
    if device.type != "cuda":
        return (None,) * len(QUERIES)
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    words = ["nvidia-smi", f"--id=GPU-{uuid.removeprefix('GPU-')}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(
            [*words, f"--query-gpu={','.join(QUERIES)}"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return (None,) * len(QUERIES)
    found = [part.strip() for part in said.strip().split(",")]
    return tuple(found) if len(found) == len(QUERIES) else (None,) * len(QUERIES)


def _number(said: str | None) -> float | None:
    """Parse a number from nvidia-smi, which prints `[N/A]` if it has none."""
    try:
        return float(said) if said is not None else None
    except ValueError:
        return None
