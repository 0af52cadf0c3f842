"""How many operations a training step dispatches, and how many of them only change a tensor's type.

Each is a kernel on a GPU, or a few. They are counted on tensors without numbers, so that a change
which doubles them is seen without a GPU. The forward pass is counted as on a GPU, under bf16
autocast. A backward pass on a GPU cannot be run without one, so it is counted in 32 bits as on a
processor; under autocast about as many casts come back as went forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from zoo.api.autoencoder import Autoencoder, Batch, Losses, Step
from zoo.base.frame_size import FrameSize
from zoo.conformance.fake_gpu import GPU, autocast_bf16, built, moved
from zoo.training.players import Players

CPU = torch.device("cpu")
_NO_KERNEL = (
    "empty",
    "empty_like",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
    "lift_fresh",
)


@dataclass(frozen=True)
class Operations:
    """What one training step dispatches, the optimiser's moves left out."""

    forward: int
    casts: int
    """Of those, how many give a tensor another type."""
    backward: int
    """Over all players."""


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.all = self.casts = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if (
            func.namespace == "aten"
            and not _is_view(func)
            and func.__name__.partition(".")[0] not in _NO_KERNEL
        ):
            self.all += 1
            before = next((arg for arg in args if isinstance(arg, Tensor)), None)
            if func._overloadpacket is torch.ops.aten._to_copy and before is not None:
                self.casts += before.dtype != out.dtype
        return out


def _is_view(func: Any) -> bool:
    """Whether an operation gives another view of its argument, and moves no byte."""
    aliases = [each.alias_info for each in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


def operations_of_step(
    architecture: type[Autoencoder], size: FrameSize, options: Mapping[str, Any]
) -> Operations:
    """Count the operations of a step of a model, built anew and used up."""
    model = built(architecture, size, options)
    forward = _Counter()
    with moved(model.train(), GPU) as frames, autocast_bf16():
        _losses(model, frames, forward)
    model = built(architecture, size, options)
    backward = _Counter()
    with moved(model.train(), CPU) as frames:
        losses = _losses(model, frames)
        players = Players(model, model.recipe)
        with backward:
            players.gradients(losses)
    return Operations(forward.all, forward.casts, backward.all)


def _losses(model: Autoencoder, frames: Tensor, counter: _Counter | None = None) -> Losses:
    halfway = torch.full((), 0.5, device=frames.device)
    batch = Batch.numbered(frames, model.window)
    with counter or nullcontext():
        return model.losses(batch, Step(halfway, 0, torch.Generator()))
