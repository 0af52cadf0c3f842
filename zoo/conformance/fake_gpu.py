"""A model on a GPU that is not there: shapes, types and devices of tensors without numbers.

torch's fake tensors know their device and type and compute nothing, so that a tensor left on the
processor, or types that do not go together under autocast, show on a machine without a GPU.
Backward passes need a driver and are not tried.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from zoo.api.autoencoder import Autoencoder, Batch, Losses, Step
from zoo.api.sampling import Sampling, noise
from zoo.base.frame_size import FrameSize
from zoo.plugins.model_building import build_to_train

GPU = torch.device("cuda", 0)
BATCH = 2


@contextmanager
def autocast_bf16() -> Iterator[None]:
    """bf16 autocast for CUDA; `torch.autocast` would leave it off where there is no GPU."""
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
    """A model whose tensors take no storage, where the architecture allows that."""
    try:
        with torch.device("meta"), warnings.catch_warnings():
            # Pretrained weights have nowhere to go, of which torch warns tensor by tensor.
            warnings.simplefilter("ignore", UserWarning)
            return build_to_train(architecture, size, options)
    except (RuntimeError, NotImplementedError):
        # Some networks read their own numbers while they are built.
        return build_to_train(architecture, size, options)


def losses_on_gpu(model: Autoencoder) -> Losses:
    """The losses of a batch under bf16 autocast. The model is used up: its tensors are fake."""
    with moved(model.train()) as frames, autocast_bf16():
        halfway = torch.full((), 0.5, device=GPU)
        # Fake tensors draw nothing; a generator of the GPU itself would need one.
        return model.losses(
            Batch.numbered(frames, model.window), Step(halfway, 0, torch.Generator())
        )


def round_trip_on_gpu(model: Autoencoder) -> tuple[Tensor, Tensor]:
    """A batch's latents and its reconstruction in 32 bits. The model is used up."""
    with moved(model.eval()) as frames, torch.no_grad():
        latent = model.encode(frames)
        return latent, model.decode(latent)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch from logging a traceback of what fails: it is raised as well."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


@contextmanager
def moved(model: Autoencoder, device: torch.device = GPU) -> Iterator[Tensor]:
    """Make a model's tensors fake ones on a device; yield samples like them."""
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

    # Held until all are moved: a number that was freed could be another tensor's.
    held = [*model.parameters(), *model.buffers()]
    with mode, _quiet():
        for module in model.modules():
            for tensors in (module._parameters, module._buffers):
                for name, tensor in tensors.items():
                    if tensor is not None:
                        tensors[name] = fake(tensor)  # type: ignore[assignment]
        width, height = model.size
        yield noise(BATCH, Sampling.of(model), width, height, device)
    del held
