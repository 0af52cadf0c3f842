"""Memory: keep freed blocks between steps, and find a batch that fits after out-of-memory."""

from __future__ import annotations

import ctypes

import torch

from zoo.api.autoencoder import Batch
from zoo.base.errors import is_out_of_memory
from zoo.training.step import TrainingStep

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
    """How much of a GPU's memory this process took at most, in words; None on a CPU.

    Where three quarters were left, it says that a larger batch fits: kernels on small batches leave
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
    """Samples in the largest half, quarter, ... of a batch for which `step` fits; None if none.

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
