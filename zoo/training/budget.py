"""How long to train: in epochs, steps, frames or seconds, written `6epochs` or `90s`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from zoo.errors import BadInput

Unit = Literal["epochs", "steps", "frames", "seconds"]

_UNITS: dict[str, Unit] = {
    **dict.fromkeys(("epoch", "epochs", "e"), "epochs"),
    **dict.fromkeys(("step", "steps"), "steps"),
    **dict.fromkeys(("frame", "frames"), "frames"),
    **dict.fromkeys(("s", "second", "seconds"), "seconds"),
}
_FORM = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?([a-z]+)")


@dataclass(frozen=True)
class Budget:
    """An amount of training. All but seconds are known in steps before training starts."""

    amount: float
    unit: Unit

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read `6epochs`, `2000steps`, `9000frames` or `90s`; raises BadInput on anything else."""
        match = _FORM.fullmatch(text.strip().lower())
        unit = _UNITS.get(match[2]) if match else None
        if not match or not unit or float(match[1]) <= 0:
            raise BadInput(
                f"a budget is written 6epochs, 2000steps, 9000frames or 90s; not {text!r}"
            )
        if unit in ("steps", "frames") and "." in match[1]:
            raise BadInput(f"a budget in {unit} is a whole number; not {text!r}")
        return cls(float(match[1]), unit)

    def steps(self, frames_in_epoch: int, batch: int) -> int | None:
        """Steps to take, rounded up to whole steps; None if the clock decides."""
        match self.unit:
            case "epochs":
                return max(1, math.ceil(self.amount * frames_in_epoch / batch))
            case "frames":
                return max(1, math.ceil(self.amount / batch))
            case "steps":
                return int(self.amount)
            case "seconds":
                return None

    def __str__(self) -> str:
        amount = int(self.amount) if self.amount == int(self.amount) else self.amount
        return f"{amount}s" if self.unit == "seconds" else f"{amount}{self.unit}"
