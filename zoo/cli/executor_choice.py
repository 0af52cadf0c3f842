"""`zoo compare --on`: the executor that runs a comparison's cells, and the devices it has."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.base.errors import BadInput

if TYPE_CHECKING:
    import torch

    from zoo.compare.executors import Executor

MOST_AT_ONCE = 10_000
CONNECT_SECONDS = 10.0
_ADDRESS = re.compile(r"ray(://\S+)?|\S+:\d{1,5}")


@dataclass(frozen=True)
class ExecutorChoice:
    """An executor, and the device that cells find there."""

    executor: Executor
    device: torch.device
    """The device of cells that compute on a GPU, as they name it."""
    here: torch.device
    """The device of this process."""
    threads: int | None
    """Of each cell; None for the default of torch."""
    elsewhere: bool
    """Whether tasks may run on other machines."""


def choose_executor(
    on: str,
    max_parallel: int | None,
    gpus_per_cell: float | None,
    device: str,
    threads: int | None,
) -> ExecutorChoice:
    """Read the words of `zoo compare`; connects to Ray where that is asked for.

    `threads` is what a cell computes with on a CPU by itself, None for what torch has. Raises
    BadInput on the first word that is wrong, and where Ray cannot be reached.
    """
    from zoo.base.environment import choose_device, gpus_named, shared_threads

    if max_parallel is not None and not 1 <= max_parallel <= MOST_AT_ONCE:
        raise BadInput(f"--max-parallel takes from 1 to {MOST_AT_ONCE}; not {max_parallel}")
    if gpus_per_cell is not None and not 0 <= gpus_per_cell <= 1024:
        raise BadInput(f"--gpus-per-cell is a model of a GPU or a number; not {gpus_per_cell}")
    if _ADDRESS.fullmatch(on):
        return _on_ray(on, max_parallel, gpus_per_cell, device, threads or 1)
    if gpus_per_cell is not None:
        raise BadInput("--gpus-per-cell is for --on ray, which gives GPUs out")
    if on == "here":
        import torch

        from zoo.compare.executors.processes import ProcessExecutor, device_slots

        here, gpus = choose_device(device), gpus_named(device)
        executor = ProcessExecutor(max_parallel, device_slots(gpus, max_parallel))
        # A process sees the GPU of its slot and no others.
        there = torch.device("cuda", 0) if gpus else here
        return ExecutorChoice(
            executor, there, here, shared_threads(executor.capacity, threads), elsewhere=False
        )
    if on == "inline":
        from zoo.compare.executors.inline import InlineExecutor

        if max_parallel not in (None, 1):
            raise BadInput("--on inline runs one cell at a time; leave --max-parallel out")
        here = choose_device(device)
        return ExecutorChoice(InlineExecutor(), here, here, threads, elsewhere=False)
    raise BadInput(f"--on takes here, inline, ray, ray://HOST:PORT or HOST:PORT; not {on!r}")


def _on_ray(
    on: str, max_parallel: int | None, gpus: float | None, device: str, threads: int
) -> ExecutorChoice:
    import torch

    from zoo.base.environment import choose_device
    from zoo.compare.executors.ray import RayExecutor

    if not re.fullmatch(r"auto|cpu|cuda", device):
        raise BadInput(f"on Ray a device is auto, cpu or cuda, and Ray says which; not {device!r}")
    if device == "cpu":
        if gpus:
            raise BadInput("--device cpu takes no GPU; leave --gpus-per-cell out")
        gpus = 0.0
    if device == "cuda" and gpus is None:
        gpus = 1.0
    address = None if on == "ray" else on
    if address is not None:
        _refuse_unreachable(address)
    executor = RayExecutor(address, cores=threads, gpus=gpus, parallel=max_parallel)
    # A task sees the GPUs that it was given and no others.
    chosen = torch.device("cuda", 0) if executor.gpus else torch.device("cpu")
    return ExecutorChoice(executor, chosen, choose_device("auto"), threads, elsewhere=True)


def _refuse_unreachable(address: str) -> None:
    """Raise BadInput if nobody answers there: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rstrip("/").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except ValueError:
        raise BadInput(f"--on takes ray://HOST:PORT; not {address!r}") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInput(f"nobody answers at {address}: {reason}; is Ray running there?") from None
