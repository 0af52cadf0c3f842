"""Constants as tensors, made once for each device: making one copies it, and a GPU waits for it."""

from __future__ import annotations

import functools

import torch
from torch import Tensor


@functools.lru_cache(maxsize=64)
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """These numbers as a float32 tensor (N,) on the device, shared by all callers: not to write."""
    # What is made in inference mode could not be used in training later on.
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=torch.float32, device=device)
