"""What training tells those who watch it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from zoo.errors import ZooError


class Interrupted(ZooError):
    """Training was asked to stop, and saved where it was."""

    exit_code = 130


@dataclass(frozen=True)
class Moment:
    """Training at one moment."""

    step: int
    steps: int | None
    """None if the clock decides."""
    progress: float
    """Share of the budget used, in [0, 1]."""
    frames: int
    """Frames trained on, counted as often as they were seen."""
    seconds: float
    frames_per_second: float
    data_stall: float
    """Share of the time since the moment before that the loop waited for frames, in [0, 1]."""
    share_of_peak: float | None
    """Speed as a share of what the device's measured rate of multiplying matrices would allow;
    None where nobody asked."""
    losses: Mapping[str, Mapping[str, float]]
    """By player and term: means since the moment before."""
    logged: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By player and name, what the model logs beside its losses: means as well."""


Watcher = Callable[[Moment], None]


def nobody(_: Moment) -> None:
    """A watcher that looks away."""
