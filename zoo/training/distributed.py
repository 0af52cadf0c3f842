"""Device, precision and ranks by Lightning Fabric; several ranks if torchrun started them."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from zoo.base.errors import BadInput


def rank() -> int:
    """This process's rank under torchrun; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes torchrun started; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def launch(device: torch.device, precision: str, batch: int) -> Fabric:
    """Launch a Fabric for `device`, with the ranks of torchrun's environment variables.

    Raises BadInput if the batch cannot be divided equally among the ranks.
    """
    world = world_size()
    if batch % world:
        raise BadInput(f"a batch of {batch} cannot be shared equally by {world} processes")
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=device.type,
        devices=local if world > 1 or device.type == "cpu" else [device.index or 0],
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    # No rank goes on before rank 0 has cleared the run's folder.
    fabric.barrier()
    return fabric


def broadcast_weights(fabric: Fabric, model: nn.Module) -> None:
    """Give all ranks the parameters and buffers of rank 0.

    Each rank prepares its own model, and some sums on a GPU are added in a different order each
    time.
    """
    if fabric.world_size > 1:
        with torch.no_grad():
            for tensor in [*model.parameters(), *model.buffers()]:
                # Through a contiguous copy: kernels may be channels last.
                contiguous = tensor.detach().contiguous()
                torch.distributed.broadcast(contiguous, src=0)
                tensor.copy_(contiguous)


def broadcast_from_rank_zero(value: bool, device: torch.device, precision: str, batch: int) -> bool:
    """Rank 0's value, on all ranks, so that they do the same whatever each sees on disk."""
    return bool(launch(device, precision, batch).broadcast(value))


def broadcast_progress(fabric: Fabric, progress: float, stop: bool) -> tuple[float, bool]:
    """Rank 0's share of the budget and request to stop, on all ranks: one clock for all."""
    if fabric.world_size == 1:
        return progress, stop
    progress, stop = fabric.broadcast((progress, stop))
    return float(progress), bool(stop)


def mean_over_ranks(fabric: Fabric) -> Callable[[Tensor], Tensor] | None:
    """A function that averages a tensor over the ranks; None if there is one rank.

    Gradients come from `torch.autograd.grad`, which DDP's hooks do not see, so they are reduced
    explicitly.
    """
    if fabric.world_size == 1:
        return None

    def reduce(tensor: Tensor) -> Tensor:
        averaged = fabric.all_reduce(tensor, reduce_op="mean")
        assert isinstance(averaged, Tensor)
        return averaged

    return reduce


class BufferSync:
    """Keeps a model's buffers, such as a codebook, equal on all ranks.

    Each rank sees its own part of a batch. Floating-point buffers that a step changed are averaged;
    integer buffers count the same on every rank.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._known_versions = self._versions()

    def _versions(self) -> dict[str, tuple[int, int]]:
        return {name: (id(b), b._version) for name, b in self._model.named_buffers()}

    @torch.no_grad()
    def sync(self, reduce: Callable[[Tensor], Tensor]) -> None:
        """Average the buffers that changed since the last call."""
        for name, buffer in self._model.named_buffers():
            changed = self._known_versions.get(name) != (id(buffer), buffer._version)
            if changed and buffer.is_floating_point():
                buffer.copy_(reduce(buffer.contiguous()))
        self._known_versions = self._versions()
