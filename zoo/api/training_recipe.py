"""A training's recipe: schedule, averaging, accumulation, precision; declared by a model or set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

import pydantic

from zoo.base.errors import BadInput

Schedule = Literal["cosine", "linear", "constant"]
FULL = 32
"""Bits of a weight that is not rounded."""


class Recipe(pydantic.BaseModel):
    """How a training proceeds, apart from budget and optimisers; all of it identifies the run."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    schedule: Schedule = pydantic.Field(default="cosine", description="how learning rates fall")
    warm_up: float = pydantic.Field(
        default=0.03, ge=0, le=1, description="share of the budget over which learning rates rise"
    )
    final_lr: float = pydantic.Field(
        default=0.02,
        ge=0,
        le=1,
        description="what is left of a learning rate at the end, as a share",
    )
    lr: float = pydantic.Field(
        default=1.0, gt=0, description="factor on the learning rates that the model declares"
    )
    clip: float | Literal["declared", "none"] = pydantic.Field(
        default="declared",
        description="largest norm of a player's gradient, none, or as the model says",
    )
    average: float = pydantic.Field(
        default=0.02,
        ge=0,
        le=1,
        description="share of the training that kept weights average; 0 is none",
    )
    accumulate: int = pydantic.Field(
        default=1, ge=1, le=4096, description="parts that a batch is cut into, one after another"
    )
    precision: str = pydantic.Field(
        default="auto", description="auto, 32, bf16 or 16, where --precision does not say"
    )
    batch: int | None = pydantic.Field(
        default=None, ge=1, le=65_536, description="frames per step, where --batch does not say"
    )
    weight_bits: int = pydantic.Field(
        default=FULL, description="bits of each kept weight, 2 to 16, or 32: as they are"
    )

    @pydantic.field_validator("weight_bits")
    @classmethod
    def _check_bits(cls, bits: int) -> int:
        if not (2 <= bits <= 16 or bits == FULL):
            raise ValueError("weights have 2 to 16 bits, or 32")
        return bits

    @classmethod
    def check_names(cls, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return settings of a recipe if it has all of them; raise BadInput if not."""
        for name in settings:
            if name not in cls.model_fields:
                known = ", ".join(cls.model_fields)
                raise BadInput(f"a recipe has no setting {name!r}; it has: {known}")
        return settings

    def with_settings(self, settings: Mapping[str, Any], model: str) -> Self:
        """This recipe with a user's settings over it; raises BadInput on one that is wrong."""
        self.check_names(settings)
        try:
            return type(self).model_validate({**self.model_dump(), **settings})
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            said = type(self).model_fields[name].description
            raise BadInput(
                f"{model}: the recipe's {name} ({said}) cannot be {settings.get(name)!r}"
            ) from None

    def learning_rate(self, progress: float) -> float:
        """The learning rate at a share of the budget, as a share of the highest one."""
        progress = min(max(progress, 0.0), 1.0)
        if progress < self.warm_up:
            share = progress / self.warm_up
        elif self.schedule == "constant":
            return self.lr
        else:
            over = (progress - self.warm_up) / max(1e-12, 1 - self.warm_up)
            share = 1 - over if self.schedule == "linear" else (1 + math.cos(math.pi * over)) / 2
        return self.lr * (self.final_lr + (1 - self.final_lr) * share)
