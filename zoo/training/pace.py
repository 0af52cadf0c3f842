"""How fast training goes, and how much of that is waiting."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from lightning_fabric import Fabric

from zoo.training.checkpoint import Progress
from zoo.training.peak import frames_per_second_at_peak
from zoo.training.run_folder import TrainingConfig


@dataclass(frozen=True)
class Speed:
    """Of the steps between two reports; `zoo.training.watching.Moment` says what each is."""

    frames_per_second: float
    data_stall: float
    share_of_peak: float | None


class Pace:
    """Reads the clock at every report, and waits for no device."""

    def __init__(
        self, config: TrainingConfig, fabric: Fabric, measure_peak: bool, frames_per_step: int
    ) -> None:
        self.batch = frames_per_step
        self.at_peak: float | None = None
        if measure_peak and fabric.is_global_zero:
            self.at_peak = frames_per_second_at_peak(config, fabric.device) * fabric.world_size

    def begin(self, progress: Progress) -> None:
        """Count from here."""
        self.time = time.monotonic()
        self.progress = replace(progress)

    @property
    def seconds(self) -> float:
        """Seconds since the last report, or since it began."""
        return time.monotonic() - self.time

    def since_last(self, progress: Progress) -> Speed:
        """Speed since the last report, or since it began; counts anew from here."""
        began, before = self.time, self.progress
        self.begin(progress)
        seconds = self.time - began
        speed = (progress.step - before.step) * self.batch / seconds
        return Speed(
            frames_per_second=speed,
            data_stall=(progress.waited - before.waited) / seconds,
            share_of_peak=speed / self.at_peak if self.at_peak else None,
        )
