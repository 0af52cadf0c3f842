"""Presets, which are named sets of defaults, and budgets, which are amounts of training."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize


@dataclass(frozen=True)
class Preset:
    """Defaults for one purpose; models may have option values of their own by its name."""

    name: str
    purpose: str
    size: FrameSize
    latent: int
    budget: str
    """As `Budget` reads it; a user's own budget takes its place whole."""
    batch: int
    threads: int | None
    """Threads a process computes with on a CPU; None leaves it to torch."""
    bf16_on_cpu: bool = False
    """Whether `--precision auto` is bf16 on a processor that computes in it."""


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "film",
            "whole films, on a GPU",
            FrameSize(256, 144),
            200,
            # Six epochs of a feature film are 30,000 steps; those of a clip of ten seconds are 40.
            "6epochs-min20000steps",
            32,
            None,
        ),
        Preset(
            "laptop",
            "whole films, on two CPU cores",
            FrameSize(256, 144),
            200,
            # Six epochs of a clip of a minute would be over before anything is learned.
            "6epochs-min3000steps",
            8,
            None,
            bf16_on_cpu=True,
        ),
        # Frames, and not epochs: as many for a clip of two seconds as for a film.
        Preset("quick", "short clips, on two CPU cores", FrameSize(96, 54), 16, "4000frames", 8, 1),
    )
}
DEFAULT_PRESET = "film"


def preset_named(name: str) -> Preset:
    """The preset of that name; raises BadInput naming those there are."""
    if name not in PRESETS:
        raise BadInput(f"no preset is called {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]


Unit = Literal["epochs", "steps", "frames", "seconds"]
_UNITS: dict[str, Unit] = {
    **dict.fromkeys(("epoch", "epochs", "e"), "epochs"),
    **dict.fromkeys(("step", "steps"), "steps"),
    **dict.fromkeys(("frame", "frames"), "frames"),
    **dict.fromkeys(("s", "second", "seconds"), "seconds"),
    **dict.fromkeys(("min", "minute", "minutes"), "seconds"),
    **dict.fromkeys(("h", "hour", "hours"), "seconds"),
}
_SECONDS = {"m": 60, "h": 3600}
"""By the first letter of a unit of time."""
_FORM = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?([a-z]+)(?:-min ?(\d{1,12}) ?steps?)?")


@dataclass(frozen=True)
class Budget:
    """An amount of training. All but seconds are known in steps before training starts."""

    amount: float
    unit: Unit
    least_steps: int = 0
    """Steps that are taken at least, however few frames an epoch has; of epochs only."""

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read `6epochs`, `2000steps`, `9000frames`, `90s`, `2min`, `1h` or
        `6epochs-min20000steps`.

        Raises BadInput on anything else.
        """
        match = _FORM.fullmatch(text.strip().lower())
        unit = _UNITS.get(match[2]) if match else None
        if not match or not unit or float(match[1]) <= 0:
            raise BadInput(
                "a budget is written 6epochs, 2000steps, 9000frames, 90s, 2min, 1h or "
                f"6epochs-min20000steps, and is more than 0; not {text!r}"
            )
        if match[3] and (unit != "epochs" or not int(match[3])):
            raise BadInput(f"a budget in epochs may have a floor of steps, from 1 up; not {text!r}")
        if unit in ("steps", "frames") and "." in match[1]:
            raise BadInput(f"a budget in {unit} is a whole number; not {text!r}")
        each = _SECONDS.get(match[2][0], 1) if unit == "seconds" else 1
        return cls(float(match[1]) * each, unit, int(match[3] or 0))

    def steps(self, frames_in_epoch: int, batch: int) -> int | None:
        """Steps to take, rounded up to whole steps; None if the clock decides."""
        match self.unit:
            case "epochs":
                steps = math.ceil(self.amount * frames_in_epoch / batch)
                return max(1, steps, self.least_steps)
            case "frames":
                return max(1, math.ceil(self.amount / batch))
            case "steps":
                return int(self.amount)
            case "seconds":
                return None

    def __str__(self) -> str:
        """The budget as `parse` reads it; part of the names of runs."""
        floor = f"-min{self.least_steps}steps" if self.least_steps else ""
        unit = "s" if self.unit == "seconds" else self.unit
        return f"{_plain(self.amount)}{unit}{floor}"

    @property
    def in_words(self) -> str:
        """The budget for people: `6 epochs, at least 20,000 steps`."""
        unit = self.unit.removesuffix("s") if self.amount == 1 else self.unit
        floor = f", at least {self.least_steps:,} steps" if self.least_steps else ""
        return f"{_plain(self.amount, ',')} {unit}{floor}"


def _plain(amount: float, thousands: str = "") -> str:
    """A number without an exponent, and without zeros at its end."""
    return f"{amount:{thousands}.6f}".rstrip("0").rstrip(".")
