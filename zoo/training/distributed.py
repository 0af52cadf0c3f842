"""Device, precision and ranks, by Lightning Fabric; one process unless torchrun started more."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from zoo.base.errors import BadInput


def rank() -> int:
    """The rank that torchrun gave this process; 0 where it was started alone."""
    return int(os.environ.get("RANK", "0"))


def ranks() -> int:
    """How many processes torchrun started; 1 where this one was started alone."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def launch(device: torch.device, precision: str, batch: int) -> Fabric:
    """A launched Fabric for `device`; several ranks where torchrun's variables say so.

    Raises BadInput if the batch cannot be cut into equal parts, one a rank.
    """
    world = ranks()
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
    # What rank 0 tidied up before the launch is tidy for all after this.
    fabric.barrier()
    return fabric


def share_weights(fabric: Fabric, model: nn.Module) -> None:
    """Give all ranks the parameters and buffers of rank 0.

    Each rank prepares its model by itself, and some sums on a GPU come in another order every time.
    """
    if fabric.world_size > 1:
        with torch.no_grad():
            for tensor in [*model.parameters(), *model.buffers()]:
                # Over a contiguous copy: a kernel may lie channels last.
                held = tensor.detach().contiguous()
                torch.distributed.broadcast(held, src=0)
                tensor.copy_(held)


def from_first_rank(said: bool, device: torch.device, precision: str, batch: int) -> bool:
    """What rank 0 says, on all ranks: they do the same whatever each sees on the disk."""
    return bool(launch(device, precision, batch).broadcast(said))


def agree(fabric: Fabric, used: float, stop: bool) -> tuple[float, bool]:
    """What rank 0 holds of the share used and of a request to stop: one clock for all ranks."""
    if fabric.world_size == 1:
        return used, stop
    said = fabric.broadcast((used, stop))
    return float(said[0]), bool(said[1])


def average_over_ranks(fabric: Fabric) -> Callable[[Tensor], Tensor] | None:
    """A function that averages a tensor over the ranks; None where there is one rank.

    Gradients come from `torch.autograd.grad`, which the hooks of DDP do not see, so they are
    reduced explicitly.
    """
    if fabric.world_size == 1:
        return None

    def reduce(tensor: Tensor) -> Tensor:
        averaged = fabric.all_reduce(tensor, reduce_op="mean")
        assert isinstance(averaged, Tensor)
        return averaged

    return reduce


class SharedBuffers:
    """Keeps what a model gathers in buffers, such as a codebook, equal on all ranks.

    Each rank sees its own part of a batch. Floating-point buffers that a step changed are averaged;
    those of whole numbers count alike on every rank.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._seen = self._versions()

    def _versions(self) -> dict[str, tuple[int, int]]:
        return {name: (id(b), b._version) for name, b in self._model.named_buffers()}

    @torch.no_grad()
    def equalise(self, reduce: Callable[[Tensor], Tensor]) -> None:
        """Average what was changed since the last time."""
        for name, buffer in self._model.named_buffers():
            changed = self._seen.get(name) != (id(buffer), buffer._version)
            if changed and buffer.is_floating_point():
                buffer.copy_(reduce(buffer.contiguous()))
        self._seen = self._versions()
