"""A training's recipe, which a model declares or a user sets, and the events that it reports.

A recipe sets the schedule, EMA, accumulation and precision. Events carry losses and scores to the
callbacks of plugins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic

from zoo.base.atomic_files import confined
from zoo.base.errors import BadInput

Schedule = Literal["cosine", "linear", "constant"]
FULL = 32
"""Bits of a weight that is not rounded."""


class Recipe(pydantic.BaseModel):
    """Training settings other than budget and optimisers; all are part of a run's identity."""

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
    clip: Annotated[float, pydantic.Field(gt=0)] | Literal["declared", "none"] = pydantic.Field(
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
        """Return `settings`; raise BadInput if a name in it is not a recipe setting."""
        for name in settings:
            if name not in cls.model_fields:
                known = ", ".join(cls.model_fields)
                raise BadInput(f"a recipe has no setting {name!r}; it has: {known}")
        return settings

    def with_settings(self, settings: Mapping[str, Any], model: str) -> Self:
        """This recipe, overridden by a user's settings; raises BadInput on an invalid one."""
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

    def check_accumulation(self, samples: int, model: str) -> None:
        """Raise BadInput unless a batch of `samples` can be cut into `accumulate` equal parts."""
        parts = min(samples, self.accumulate)
        if samples % parts:
            raise BadInput(
                f"{model}: a batch of {samples} samples cannot be cut into {parts} equal parts; "
                "set --batch or --recipe accumulate=... so that it can"
            )

    def learning_rate(self, progress: float) -> float:
        """The factor on a declared learning rate at `progress`, a share of the budget."""
        progress = min(max(progress, 0.0), 1.0)
        if progress < self.warm_up:
            share = progress / self.warm_up
        elif self.schedule == "constant":
            return self.lr
        else:
            over = (progress - self.warm_up) / max(1e-12, 1 - self.warm_up)
            share = 1 - over if self.schedule == "linear" else (1 + math.cos(math.pi * over)) / 2
        return self.lr * (self.final_lr + (1 - self.final_lr) * share)


@dataclass(frozen=True)
class FollowedRun:
    """What a callback knows about the run."""

    name: str
    """The name in `zoo runs`: film, model and id, joined by slashes. A resume keeps it."""
    folder: Path
    config: Mapping[str, Any]
    """Everything that decides the result, as in the run's `run.json`."""

    def place(self, name: str) -> Path:
        """The path of a file or folder in the run's folder; raises BadInput if this is a link."""
        return confined(self.folder / name, self.folder)


class TrainingCallback:
    """Base class of every callback; plugins return subclasses from `zoo_training_callbacks`.

    `zoo train MODEL --film FILM --track NAME` makes one for the run, calls it with every event and
    closes it. A finished training is not replayed. If the callback raises an error during training,
    it is printed once and training continues without the callback.
    """

    name: ClassVar[str]
    """The name that `--track` takes."""
    summary: ClassVar[str]

    def __init__(self, run: FollowedRun) -> None:
        """Raise `zoo.BadInput` if it cannot be used. The run's folder may not exist yet."""
        self.run = run

    @classmethod
    def check(cls) -> None:
        """Raise `zoo.BadInput` if a package is missing; called before the film is decoded."""

    def __call__(self, event: TrainingEvent) -> None:
        """Take one event: `event.scalars()` at step `event.step`. Called on rank 0 only."""
        raise NotImplementedError

    def close(self) -> None:
        """Finish: called when training has ended, was interrupted or failed."""


PART_LABELS = {"held_out": "held out", "seen": "seen", "mean_frame": "mean frame"}
"""Labels of the parts of the film that are scored during training."""
METRIC_FORMATS = {"psnr": ("PSNR", ".2f", " dB"), "lpips": ("LPIPS", ".3f", "")}
"""Label, number format and unit of the metrics used for these scores."""

Values = Mapping[str, float]
"""Means over some frames, by metric."""


@dataclass(frozen=True)
class Score:
    """Scores of the reconstructions of a few fixed frames at one step."""

    step: int
    values: Mapping[str, Values]
    """By part of the film: `seen`, and `held_out` if frames are held out."""


def format_scores(values: Values) -> str:
    """Scores as text: `PSNR 27.31 dB, LPIPS 0.213`."""
    texts = []
    for metric, value in values.items():
        label, form, unit = METRIC_FORMATS.get(metric, (metric, ".4g", ""))
        texts.append(f"{label} {value:{form}}{unit}")
    return ", ".join(texts)


@dataclass(frozen=True)
class TrainingEvent:
    """One report of a training."""

    step: int
    steps: int | None
    """None if the budget is in seconds."""
    progress: float
    """Share of the budget used, in [0, 1]."""
    frames: int
    """Frames trained on; a frame counts each time it is used."""
    seconds: float
    frames_per_second: float
    data_stall: float
    """Share of the time since the last event spent waiting for frames, in [0, 1]."""
    share_of_peak: float | None
    """Throughput as a share of what the measured matrix product rate allows; None if that was not
    measured."""
    losses: Mapping[str, Mapping[str, float]]
    """Means since the last event, by player and term."""
    logged: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Means of the model's other logged numbers since the last event, by player and name."""
    score: Score | None = None
    """The latest score since the last event, if any."""
    notes: tuple[str, ...] = ()
    """Messages that are shown once, such as that held-out frames are getting worse."""

    def scalars(self) -> dict[str, float]:
        """The event's numbers by name: `loss/PLAYER/TERM`, `logged/PLAYER/NAME`,
        `score/METRIC/PART`, `frames per second` and `data stall`."""
        found = {
            f"{kind}/{player}/{name}": value
            for kind, players in (("loss", self.losses), ("logged", self.logged))
            for player, values in players.items()
            for name, value in values.items()
        }
        if self.score:
            for part, values in self.score.values.items():
                found |= {f"score/{metric}/{part}": value for metric, value in values.items()}
        speeds = {"frames per second": self.frames_per_second, "data stall": self.data_stall}
        return {**found, **speeds}
