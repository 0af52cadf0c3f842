"""How much memory a piece of work takes at its worst.

On a GPU torch's allocator keeps the count. On a CPU the system keeps the most that the process
ever held (`VmHWM`), which Linux starts anew when asked to (proc(5), `clear_refs`).
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

import torch

from zoo.api.metric import Unavailable
from zoo.base.records import Memory

ROUNDS = 2
"""Times that the work is done: what the first leaves behind for reuse counts in the second."""
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_PEAK_IS_NOW = "5"


def hand_back(device: torch.device) -> bool:
    """Give freed memory back to the device and to the system; False where the system takes none."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError, TypeError):
        return False  # another C library, which keeps no such blocks or keeps them for good


def held(device: torch.device) -> Memory:
    """What is held now, in bytes, after all that is free was handed back.

    Raises Unavailable where the system does not tell.
    """
    hand_back(device)
    if device.type == "cuda":
        return Memory(
            allocated=torch.cuda.memory_allocated(device),
            reserved=torch.cuda.memory_reserved(device),
        )
    return Memory(allocated=None, reserved=_resident("VmRSS"))


def most_held(device: torch.device, work: Callable[[], object]) -> Memory:
    """The most that is held while `work` is done over and over, in bytes.

    Raises Unavailable where the system does not tell.
    """
    hand_back(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        try:
            _CLEAR.write_text(_PEAK_IS_NOW)
        except OSError as error:
            raise Unavailable(f"the system does not count it: {_CLEAR}: {error.strerror}") from None
    for _ in range(ROUNDS):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return Memory(
            allocated=torch.cuda.max_memory_allocated(device),
            reserved=torch.cuda.max_memory_reserved(device),
        )
    return Memory(allocated=None, reserved=_resident("VmHWM"))


def beyond(most: Memory, without: Memory) -> Memory:
    """What the most is above what was held without the model and its work."""
    return Memory(
        allocated=_above(most.allocated, without.allocated),
        reserved=_above(most.reserved, without.reserved) or 0,
    )


def _above(most: int | None, without: int | None) -> int | None:
    return None if most is None or without is None else max(0, most - without)


def _resident(figure: str) -> int:
    """A line of the process's status, in bytes."""
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise Unavailable(f"the system does not count it: {_STATUS}: {error.strerror}") from None
    for line in lines:
        name, _, value = line.partition(":")
        if name == figure:
            return int(value.split()[0]) * 1024
    raise Unavailable(f"the system does not count it: {_STATUS} has no {figure}")
