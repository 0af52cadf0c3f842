"""Presets (named sets of defaults) and budgets (amounts of training)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize


@dataclass(frozen=True)
class Preset:
    """A named set of defaults for one purpose; models may add their own option values for it."""

    name: str
    purpose: str
    size: FrameSize
    latent: int
    budget: str
    """In the form that `Budget.parse` reads; a user's own budget replaces it completely."""
    batch: int
    threads: int | None
    """CPU threads of a process; None for torch's default."""
    bf16_on_cpu: bool = False
    """Whether `--precision auto` means bf16 on a CPU that supports it."""


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "film",
            "whole films, on a GPU",
            FrameSize(256, 144),
            200,
            # Six epochs are 30,000 steps for a feature film, but 40 for a clip of ten seconds.
            "6epochs-min20000steps",
            32,
            None,
        ),
        Preset(
            "laptop",
            "whole films, on two CPU cores",
            FrameSize(256, 144),
            200,
            # Six epochs of a one-minute clip would end before anything is learned.
            "6epochs-min3000steps",
            8,
            None,
            bf16_on_cpu=True,
        ),
        # Frames instead of epochs: the same amount for a clip of two seconds and for a film.
        Preset("quick", "short clips, on two CPU cores", FrameSize(96, 54), 16, "4000frames", 8, 1),
    )
}
DEFAULT_PRESET = "film"


def preset_named(name: str) -> Preset:
    """The preset of that name; raises BadInput listing the presets if there is none."""
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
"""Seconds in a unit of time, by the unit's first letter."""
_FORM = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?([a-z]+)(?:-min ?(\d{1,12}) ?steps?)?")


@dataclass(frozen=True)
class Budget:
    """An amount of training. Except for seconds, it is known in steps before training starts."""

    amount: float
    unit: Unit
    least_steps: int = 0
    """Smallest number of steps, however short an epoch is; only for a budget in epochs."""

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
                "a budget must be more than 0 and look like 6epochs, 2000steps, 9000frames, 90s, "
                f"2min, 1h or 6epochs-min20000steps; not {text!r}"
            )
        if match[3] and (unit != "epochs" or not int(match[3])):
            raise BadInput(
                f"only a budget in epochs may have a minimum of steps, of 1 or more; not {text!r}"
            )
        if unit in ("steps", "frames") and "." in match[1]:
            raise BadInput(f"a budget in {unit} must be a whole number; not {text!r}")
        each = _SECONDS.get(match[2][0], 1) if unit == "seconds" else 1
        return cls(float(match[1]) * each, unit, int(match[3] or 0))

    def steps(self, frames_in_epoch: int, batch: int) -> int | None:
        """The number of steps, rounded up; None for a budget in seconds."""
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
        """The budget in the form that `parse` reads; part of the names of runs."""
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
    """Format a number without an exponent and without trailing zeros."""
    return f"{amount:{thousands}.6f}".rstrip("0").rstrip(".")
