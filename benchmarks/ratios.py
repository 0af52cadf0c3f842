"""Print ratios of times that were measured in turn, and keep them in the benchmark's output."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch


def described(ratios: Sequence[float]) -> str:
    """The median with the range, as `1.20 (1.10 to 1.35)`."""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def report(
    benchmark: Any,
    capsys: pytest.CaptureFixture[str],
    ratios: Sequence[float],
    sentence: Callable[[str], str],
    **more: Any,
) -> None:
    """Print `sentence` of the described ratios, and keep the ratios and `more` in the output."""
    benchmark.extra_info |= {
        "cores": len(os.sched_getaffinity(0)),
        "ratio_median": statistics.median(ratios),
        "ratios": list(ratios),
        **more,
    }
    with capsys.disabled():
        print(  # noqa: T201 - what `make bench` is run for
            f"\n{sentence(described(ratios))}; {os.cpu_count()} cores, "
            f"{torch.get_num_threads()} threads"
        )
