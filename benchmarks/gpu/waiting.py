"""Whether a piece of work waits for the GPU, and where."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.gpu.stages import ROOT


def what_waits(device: torch.device, work: Callable[[], object]) -> str | None:
    """Do some work; return which line of ours waited for the GPU and why, or None if none did.

    The work is cut short there. A CPU is never waited for.
    """
    if device.type != "cuda":
        work()
        return None
    torch.cuda.set_sync_debug_mode("error")
    try:
        work()
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        return f"{_place(error)}: {str(error).splitlines()[0]}"[:300]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return None


def _place(error: BaseException) -> str:
    """The innermost line of an error's traceback that is in this checkout."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if Path(f.filename).is_relative_to(ROOT)] or list(frames)
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
