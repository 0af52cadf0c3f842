"""Training throughput and memory: frames/s, the share of the device's measured peak, what fits.

The peak is the rate of a large matrix product, measured in the same process on the same machine,
not taken from a data sheet.
"""

from __future__ import annotations

import ctypes
import statistics
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from zoo.api.autoencoder import Autoencoder, Batch, Step
from zoo.api.samples_and_latents import Sampling, noise
from zoo.base.errors import is_out_of_memory
from zoo.base.frame_size import FrameSize
from zoo.plugins.model_building import build_to_train
from zoo.plugins.registry import registry
from zoo.training.checkpoint import Progress
from zoo.training.optimizers import Players
from zoo.training.run_folder import TrainingConfig
from zoo.training.step import TrainingStep

MATRIX_SIDE = {"cuda": 8192, "cpu": 1024}
PRODUCTS_PER_BLOCK = {"cuda": 20, "cpu": 1}
"""On a GPU, timing a single product would measure its launch."""
FEWEST_BLOCKS = 3
SECONDS = 0.25
FRAMES_COUNTED = 2

_DTYPES = {"bf16": torch.bfloat16, "16": torch.float16, "64": torch.float64}


@dataclass(frozen=True)
class Throughput:
    """Throughput between two reports, with the fields of `zoo.TrainingEvent`."""

    frames_per_second: float
    data_stall: float
    share_of_peak: float | None


class ThroughputMeter:
    """Measures throughput from report to report, without synchronising with the device."""

    def __init__(
        self, config: TrainingConfig, fabric: Fabric, measure_peak: bool, frames_per_step: int
    ) -> None:
        self.frames_per_step = frames_per_step
        self.peak: float | None = None
        """Frames/s at the device's measured peak."""
        if measure_peak and fabric.is_global_zero:
            self.peak = peak_frames_per_second(config, fabric.device) * fabric.world_size

    def begin(self, progress: Progress) -> None:
        """Start measuring from here."""
        self.time = time.monotonic()
        self.progress = replace(progress)

    @property
    def seconds(self) -> float:
        """Seconds since the last report, or since `begin`."""
        return time.monotonic() - self.time

    def since_last(self, progress: Progress) -> Throughput:
        """Throughput since the last report, or since `begin`; the next one starts from here."""
        began, before = self.time, self.progress
        self.begin(progress)
        seconds = self.time - began
        rate = (progress.step - before.step) * self.frames_per_step / seconds
        return Throughput(
            frames_per_second=rate,
            data_stall=(progress.waited - before.waited) / seconds,
            share_of_peak=rate / self.peak if self.peak else None,
        )


def compute_dtype(precision: str) -> torch.dtype:
    """The type that networks multiply in at one of Fabric's precisions."""
    return _DTYPES.get(precision.partition("-")[0], torch.float32)


def peak_frames_per_second(config: TrainingConfig, device: torch.device) -> float:
    """Frames/s if a training step were only matrix products at the measured rate."""
    rate = matmul_rate(device, compute_dtype(config.precision))
    peak = rate / operations_per_frame(config, device)
    if device.type == "cuda":
        # Cached blocks would count as taken when the batch loader asks whether the film fits.
        torch.cuda.empty_cache()
    return peak


def matmul_rate(device: torch.device, kind: torch.dtype, seconds: float = SECONDS) -> float:
    """Additions and multiplications per second of a large matrix product, on all torch threads.

    The median of blocks that take about `seconds` together.
    """
    side, times = MATRIX_SIDE[device.type], PRODUCTS_PER_BLOCK[device.type]
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
    """Additions and multiplications per frame of a training step, forward and backward.

    Counted on a model built for it. This uses torch's random generator: call it before seeding.
    """
    architecture = registry().architecture(config.model)
    model = build_to_train(architecture, FrameSize.parse(config.size), config.options)
    model = model.to(device).train()
    sampling = Sampling.of(model)
    count = sampling.samples_in(min(FRAMES_COUNTED * sampling.window, config.batch))
    return operations_of(model, noise(count, sampling, *model.size, device))


def operations_of(model: Autoencoder, samples: Tensor) -> float:
    """Additions and multiplications per frame of a training step of a model on its own samples.

    Both may be fake tensors, which compute nothing.
    """
    device = samples.device
    players = Players(model)
    batch = Batch.numbered(samples, model.window)
    generator = torch.Generator(device).manual_seed(0)
    with _OperationCounter() as counter:
        players.gradients(model.losses(batch, Step(torch.tensor(0.5, device=device), 0, generator)))
    return counter.total / (len(batch) * model.window)


class _OperationCounter(TorchDispatchMode):
    """Sums torch's formulas for operations.

    torch's `FlopCounterMode` tracks modules too, by hooks that fail where gradients are taken of
    some parameters only.
    """

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


# From <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell the C library to keep freed blocks of any size; False if it cannot.

    Each step on a CPU allocates and frees the same activations. By default glibc returns large
    blocks to the system, which clears their pages again in every step: a tenth of a step's time
    (docs/benchmarks.md). The process keeps at most what one step needs.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False  # another C library: macOS, Windows
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))


def gpu_memory_used(device: torch.device, batch: int) -> str | None:
    """Describe how much of a GPU's memory this process took at most; None on a CPU.

    If three quarters are left, it says that a larger batch fits: kernels on small batches leave
    most of a large GPU idle.
    """
    if device.type != "cuda":
        return None
    used = torch.cuda.max_memory_allocated(device)
    whole = torch.cuda.get_device_properties(device).total_memory
    said = f"GPU memory: {used / 1e9:.1f} of {whole / 1e9:.1f} GB at most"
    return f"{said}, with --batch {batch}; a larger one fits" if used <= whole / 4 else said


def out_of_memory(step: TrainingStep, batch: Batch) -> str:
    """The error message for a batch that did not fit, with the batch size that would fit.

    The search uses up the step. The caller must have dropped the traceback of the failed step's
    error, which holds activations.
    """
    window = step.model.window
    fits = batch_that_fits(step, batch)
    least = "frame" if window == 1 else "window"
    advice = f"--batch {fits * window} would fit" if fits else f"not even one {least} would fit"
    return f"{step.model.name}: memory ran out with a batch of {len(batch) * window}; {advice}"


def batch_that_fits(step: TrainingStep, whole: Batch) -> int | None:
    """Return the samples of the largest half, quarter, ... of a batch that fits; None if none.

    The step is training's own, with its precision and its optimiser's moments.
    """
    step.reduce = None  # without the other ranks
    for parameter in step.model.parameters():
        parameter.grad = None
    batch = len(whole) // 2
    while batch:
        if whole.frames.device.type == "cuda":
            torch.cuda.empty_cache()
        try:
            step(whole.part(0, len(whole) // batch), 0.5)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            batch //= 2
        else:
            return batch
    return None
