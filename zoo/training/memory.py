"""When a batch does not fit: find out which one would, and change nothing by oneself."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.autoencoder import Autoencoder, Step
from zoo.training.players import Players


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def out_of_memory(name: str, model: Autoencoder, frames: Tensor) -> str:
    """What to tell a user whose batch, float (B, 3, H, W), did not fit."""
    fits = batch_that_fits(model, frames)
    advice = f"--batch {fits} would fit" if fits else "not even one frame would fit"
    return f"{name}: memory ran out with a batch of {len(frames)}; {advice}"


def batch_that_fits(model: Autoencoder, frames: Tensor) -> int | None:
    """The largest half, quarter, ... of a batch that takes a whole training step, or None.

    `frames` is the batch that did not fit, float (B, 3, H, W). The model is used up by this.
    """
    for parameter in model.parameters():
        parameter.grad = None
    players = Players(model)
    generator = torch.Generator(frames.device).manual_seed(0)
    step = Step(torch.tensor(0.5, device=frames.device), generator)
    batch = len(frames) // 2
    while batch:
        try:
            if frames.device.type == "cuda":
                torch.cuda.empty_cache()
            players.step(model.losses(frames[:batch], step), 0.5)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            batch //= 2
        else:
            return batch
    return None
