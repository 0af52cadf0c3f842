"""Throughput of a training, and what the device could reach at most.

The share of its matrix multiplication rate that a training reaches says how much of the device it
uses. It is a ratio of two numbers from one process on one machine: no data sheet is asked.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from zoo.api.autoencoder import Batch, Step
from zoo.api.sampling import Sampling, noise
from zoo.base.frame_size import FrameSize
from zoo.plugins.model_building import build_to_train
from zoo.plugins.registry import registry
from zoo.training.checkpoint import Progress
from zoo.training.players import Players
from zoo.training.run_folder import TrainingConfig


@dataclass(frozen=True)
class Speed:
    """Of the steps between two reports; `zoo.training.callbacks.Moment` says what each is."""

    frames_per_second: float
    data_stall: float
    share_of_peak: float | None


class Pace:
    """Reads the clock at every report, and waits for no device."""

    def __init__(
        self, config: TrainingConfig, fabric: Fabric, measure_peak: bool, frames_per_step: int
    ) -> None:
        self.batch = frames_per_step
        self.at_peak: float | None = None
        if measure_peak and fabric.is_global_zero:
            self.at_peak = frames_per_second_at_peak(config, fabric.device) * fabric.world_size

    def begin(self, progress: Progress) -> None:
        """Count from here."""
        self.time = time.monotonic()
        self.progress = replace(progress)

    @property
    def seconds(self) -> float:
        """Seconds since the last report, or since it began."""
        return time.monotonic() - self.time

    def since_last(self, progress: Progress) -> Speed:
        """Speed since the last report, or since it began; counts anew from here."""
        began, before = self.time, self.progress
        self.begin(progress)
        seconds = self.time - began
        speed = (progress.step - before.step) * self.batch / seconds
        return Speed(
            frames_per_second=speed,
            data_stall=(progress.waited - before.waited) / seconds,
            share_of_peak=speed / self.at_peak if self.at_peak else None,
        )


SIDE = {"cuda": 8192, "cpu": 1024}
"""Of the square matrices that are multiplied."""
PRODUCTS = {"cuda": 20, "cpu": 1}
"""In one timed block: on a GPU a single one would time its launch."""
FEWEST_BLOCKS = 3
SECONDS = 0.25
FRAMES_COUNTED = 2
_TYPES = {"bf16": torch.bfloat16, "16": torch.float16, "64": torch.float64}


def number_type(precision: str) -> torch.dtype:
    """What networks multiply in at a precision, one of Fabric's names."""
    return _TYPES.get(precision.partition("-")[0], torch.float32)


def frames_per_second_at_peak(config: TrainingConfig, device: torch.device) -> float:
    """Frames a second if a training step were nothing but matrix products at the measured rate."""
    rate = matmul_rate(device, number_type(config.precision))
    found = rate / operations_per_frame(config, device)
    if device.type == "cuda":
        # What is held here would count as taken when the film asks whether it fits.
        torch.cuda.empty_cache()
    return found


def matmul_rate(device: torch.device, kind: torch.dtype, seconds: float = SECONDS) -> float:
    """Additions and multiplications a second of a large matrix product.

    The median of blocks that take about `seconds` together, on as many threads as torch has.
    """
    side, times = SIDE[device.type], PRODUCTS[device.type]
    one, other = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    out = torch.empty_like(one)

    def block() -> float:
        _wait(device)
        begin = time.perf_counter()
        for _ in range(times):
            torch.mm(one, other, out=out)
        _wait(device)
        return time.perf_counter() - begin

    block()  # warms up
    blocks: list[float] = []
    while len(blocks) < FEWEST_BLOCKS or sum(blocks) < seconds:
        blocks.append(block())
    return 2 * side**3 * times / statistics.median(blocks)


def operations_per_frame(config: TrainingConfig, device: torch.device) -> float:
    """Additions and multiplications of a training step by frame, forward and backward.

    Counted on a model of its own, of which nothing is left. The random numbers of torch are
    used up by this: it belongs before seeds are set, or after all is done.
    """
    architecture = registry().architecture(config.model)
    model = build_to_train(architecture, FrameSize.parse(config.size), config.options)
    model = model.to(device).train()
    players = Players(model)
    sampling = Sampling.of(model)
    count = sampling.samples_in(min(FRAMES_COUNTED * sampling.window, config.batch))
    batch = Batch.numbered(noise(count, sampling, *model.size, device), sampling.window)
    generator = torch.Generator(device).manual_seed(0)
    with _OperationCounter() as counter:
        players.gradients(model.losses(batch, Step(torch.tensor(0.5, device=device), 0, generator)))
    return counter.total / (len(batch) * sampling.window)


class _OperationCounter(TorchDispatchMode):
    """Sums torch's own formulas. Its `FlopCounterMode` tracks modules too, by hooks that fail
    where gradients are taken of some parameters only."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
