"""Out of memory: find the batch that would fit."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.errors import is_out_of_memory
from zoo.training.step import TrainingStep


def out_of_memory(step: TrainingStep, frames: Tensor) -> str:
    """What to tell a user whose batch, float (B, 3, H, W), did not fit into this step.

    The step is used up by finding out. The caller has let go of the failed step's error: its
    traceback holds activations.
    """
    fits = batch_that_fits(step, frames)
    advice = f"--batch {fits} would fit" if fits else "not even one frame would fit"
    return f"{step.model.name}: memory ran out with a batch of {len(frames)}; {advice}"


def batch_that_fits(step: TrainingStep, frames: Tensor) -> int | None:
    """The largest half, quarter, ... of a batch for which `step` fits, or None.

    `frames` is the batch that did not fit, float (B, 3, H, W). It is the very step that training
    takes, in its precision and with its optimiser's moments.
    """
    step.take_alone()
    for parameter in step.model.parameters():
        parameter.grad = None
    batch = len(frames) // 2
    while batch:
        if frames.device.type == "cuda":
            torch.cuda.empty_cache()
        try:
            step(frames[:batch], 0.5)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            batch //= 2
        else:
            return batch
    return None
