"""What training tells those who watch it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from zoo.base.errors import ZooError


class Interrupted(ZooError):
    """Training was asked to stop, and saved where it was."""

    exit_code = 130


Values = Mapping[str, float]
"""By metric: the mean over some frames."""
PARTS = {"held_out": "held out", "seen": "seen", "mean_frame": "mean frame"}
"""What the frames are called that are scored while a model trains."""
METRICS = {"psnr": ("PSNR", ".2f", " dB"), "lpips": ("LPIPS", ".3f", "")}
"""What they are scored by: label, form and unit. Named here, since nothing here needs torch."""


def in_words(values: Values) -> str:
    """What some frames score: `PSNR 27.31 dB, LPIPS 0.213`."""
    said = []
    for metric, value in values.items():
        label, form, unit = METRICS.get(metric, (metric, ".4g", ""))
        said.append(f"{label} {value:{form}}{unit}")
    return ", ".join(said)


@dataclass(frozen=True)
class Score:
    """How well a few fixed frames were reconstructed at one step."""

    step: int
    values: Mapping[str, Values]
    """By part of the film: `held_out`, where there are such frames, and `seen`."""


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
    score: Score | None = None
    """The last one since the moment before, if there is one."""
    notes: tuple[str, ...] = ()
    """What is said once, such as that held-out frames have been getting worse."""


Watcher = Callable[[Moment], None]


def nobody(_: Moment) -> None:
    """A watcher that looks away."""
