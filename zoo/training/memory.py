"""Memory of a training: keep what a step frees, and find the batch that fits."""

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
    """Tell the C library to hold on to freed blocks, however large; False where it cannot.

    A step on a CPU allocates and frees the same activations as the one before. By default glibc
    hands large blocks back to the system, which then has to fetch and clear every page of them
    again in each step: measured at a tenth of a step's time (docs/training.md). Held memory stays
    at what one step needs at most.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False  # another C library: macOS, Windows
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))


def out_of_memory(step: TrainingStep, batch: Batch) -> str:
    """What to tell a user whose batch did not fit into this step.

    The step is used up by finding out. The caller has let go of the failed step's error: its
    traceback holds activations.
    """
    window = step.model.window
    fits = batch_that_fits(step, batch)
    least = "frame" if window == 1 else "window"
    advice = f"--batch {fits * window} would fit" if fits else f"not even one {least} would fit"
    return f"{step.model.name}: memory ran out with a batch of {len(batch) * window}; {advice}"


def batch_that_fits(step: TrainingStep, whole: Batch) -> int | None:
    """The samples in the largest half, quarter, ... of a batch for which `step` fits, or None.

    It is the very step that training takes, in its precision and with its optimiser's moments.
    """
    step.take_alone()
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
