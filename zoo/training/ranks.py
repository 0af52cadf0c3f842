"""Device, precision and ranks, by Lightning Fabric; one process unless torchrun started more."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from lightning_fabric import Fabric
from torch import Tensor

from zoo.errors import BadInput


def rank() -> int:
    """The rank that torchrun gave this process; 0 where it was started alone."""
    return int(os.environ.get("RANK", "0"))


def launch(device: torch.device, precision: str, batch: int) -> Fabric:
    """A launched Fabric for `device`; several ranks where torchrun's variables say so.

    Raises BadInput if the batch cannot be cut into equal parts, one a rank.
    """
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if batch % ranks:
        raise BadInput(f"a batch of {batch} cannot be shared equally by {ranks} processes")
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=device.type,
        devices=local if ranks > 1 or device.type == "cpu" else [device.index or 0],
        num_nodes=ranks // local,
        strategy="ddp" if ranks > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    # What rank 0 tidied up before the launch is tidy for all after this.
    fabric.barrier()
    return fabric


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
