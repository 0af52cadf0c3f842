"""Run models on a simulated GPU to check devices and dtypes, and to count operations.

torch's fake tensors have a device and a dtype but compute nothing. They reveal a tensor left on the
CPU, or dtypes that do not match under autocast, on a machine without a GPU. Backward passes need a
driver and are not run on the simulated GPU.

The operations of a training step, and the casts among them, are counted in the same way. Each is
one or a few kernels on a GPU, so a change that doubles them is noticed without one. The forward
pass is counted as on a GPU, under bf16 autocast. The backward pass is counted in 32 bits on the
CPU; under autocast it would add about as many casts as the forward pass has.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from zoo.api.autoencoder import Autoencoder, Batch, Losses, Step
from zoo.api.samples_and_latents import Sampling, noise
from zoo.base.frame_size import FrameSize
from zoo.plugins.model_building import build_to_train, without_memory
from zoo.training.optimizers import Players

GPU = torch.device("cuda", 0)
BATCH = 2


@contextmanager
def autocast_bf16() -> Iterator[None]:
    """Turn on bf16 autocast for CUDA; without a GPU `torch.autocast` would leave it off."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    try:
        yield
    finally:
        torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])


def built(
    architecture: type[Autoencoder], size: FrameSize, options: Mapping[str, Any]
) -> Autoencoder:
    """Make a model to train, with tensors that take no memory if the architecture allows it."""
    return without_memory(lambda: build_to_train(architecture, size, options))


def losses_on_gpu(model: Autoencoder) -> tuple[Losses, int]:
    """The losses of a batch under bf16 autocast, and how many tensors were copied to the GPU.

    The model cannot be used afterwards: its tensors are fake.
    """
    counter = _Counter()
    with moved(model.train()) as frames, autocast_bf16():
        return _losses(model, frames, counter), counter.copies


def round_trip_on_gpu(model: Autoencoder) -> tuple[Tensor, Tensor]:
    """A batch's latents and reconstruction in 32 bits. The model cannot be used afterwards."""
    with moved(model.eval()) as frames, torch.no_grad():
        latent = model.encode(frames)
        return latent, model.decode(latent)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep torch from logging the traceback of an error that it raises anyway."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


@contextmanager
def moved(model: Autoencoder, device: torch.device = GPU) -> Iterator[Tensor]:
    """Replace a model's tensors by fake ones on a device; yield a batch of fake samples."""
    mode = FakeTensorMode(allow_non_fake_inputs=False)
    fakes: dict[int, Tensor] = {}

    def fake(tensor: Tensor) -> Tensor:
        if id(tensor) not in fakes:
            there = torch.empty_like(mode.from_tensor(tensor).detach(), device=device)
            if there.dim() == 4:
                there = there.contiguous(memory_format=torch.channels_last)
            is_parameter = isinstance(tensor, nn.Parameter)
            fakes[id(tensor)] = (
                nn.Parameter(there, requires_grad=tensor.requires_grad) if is_parameter else there
            )
        return fakes[id(tensor)]

    # Kept alive until all are replaced: the id of a freed tensor could be reused.
    held = [*model.parameters(), *model.buffers()]
    with mode, quiet():
        for module in model.modules():
            for tensors in (module._parameters, module._buffers):
                for name, tensor in tensors.items():
                    if tensor is not None:
                        tensors[name] = fake(tensor)  # type: ignore[assignment]
        width, height = model.size
        yield noise(BATCH, Sampling.of(model), width, height, device)
    del held


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
    """Numbers of operations in a training step, without the optimisers' updates."""

    forward: int
    casts: int
    """Forward operations that change a tensor's dtype."""
    backward: int
    """Backward operations of all players together."""
    copies: int
    """Tensors that the forward pass copies from the host; it waits for each of them."""


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.all = self.casts = self.copies = 0

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
                self.copies += before.device.type == "cpu" != out.device.type
        return out


def _is_view(func: Any) -> bool:
    """Whether an operation returns a view of its argument, without moving data."""
    aliases = [each.alias_info for each in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


def operations_of_step(
    architecture: type[Autoencoder], size: FrameSize, options: Mapping[str, Any]
) -> Operations:
    """Count the operations of a training step, on newly built models."""
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
    return Operations(forward.all, forward.casts, backward.all, forward.copies)


def _losses(model: Autoencoder, frames: Tensor, counter: _Counter | None = None) -> Losses:
    # A CPU generator: fake tensors draw no numbers, and a CUDA generator would need a GPU.
    halfway = torch.full((), 0.5, device=frames.device)
    batch = Batch.numbered(frames, model.window)
    with counter or nullcontext():
        return model.losses(batch, Step(halfway, 0, torch.Generator()))
