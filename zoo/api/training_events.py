"""Training events, the scores in them, and the callbacks of plugins that receive them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from zoo.base.atomic_files import confined


@dataclass(frozen=True)
class FollowedRun:
    """What a callback knows of the run of a training."""

    name: str
    """As `zoo runs` names it: film, model and id, with slashes between. The same after a resume."""
    folder: Path
    config: Mapping[str, Any]
    """Everything that decides the result, as in the run's `run.json`."""

    def place(self, name: str) -> Path:
        """The path of a file or folder in the run's folder; raises BadInput if it is a link."""
        return confined(self.folder / name, self.folder)


class TrainingCallback:
    """Base of every callback: subclass it, and return the class from `zoo_training_callbacks`.

    `zoo train MODEL --film FILM --track NAME` makes one for the run, calls it with every report of
    the training, and closes it. It gets no report of a training that was finished before. An error
    while the training runs is printed once, and the training goes on without the callback.
    """

    name: ClassVar[str]
    """What `--track` calls it."""
    summary: ClassVar[str]

    def __init__(self, run: FollowedRun) -> None:
        """Raise `zoo.BadInput` if it cannot be used; the run's folder may not exist yet."""
        self.run = run

    @classmethod
    def check(cls) -> None:
        """Raise `zoo.BadInput` if a package is missing; called before the film is decoded."""

    def __call__(self, event: TrainingEvent) -> None:
        """Take one report, `event.scalars()` of step `event.step`; on rank 0 alone."""
        raise NotImplementedError

    def close(self) -> None:
        """The training has ended, or was interrupted; also called after an error."""


PART_LABELS = {"held_out": "held out", "seen": "seen", "mean_frame": "mean frame"}
"""Labels of the frames that are scored while a model trains."""
METRIC_FORMATS = {"psnr": ("PSNR", ".2f", " dB"), "lpips": ("LPIPS", ".3f", "")}
"""Label, number format and unit of the metrics they are scored by."""

Values = Mapping[str, float]
"""Mean over some frames, by metric."""


@dataclass(frozen=True)
class Score:
    """How well a few fixed frames were reconstructed at one step."""

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
    """Throughput as a share of what the measured matrix product rate would allow; None if it was
    not measured."""
    losses: Mapping[str, Mapping[str, float]]
    """Means since the last event, by player and term."""
    logged: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Means of what the model logs beside its losses, by player and name."""
    score: Score | None = None
    """The latest score since the last event, if any."""
    notes: tuple[str, ...] = ()
    """Messages that are given once, such as that held-out frames are getting worse."""

    def scalars(self) -> dict[str, float]:
        """Its numbers by name: `loss/PLAYER/TERM`, `logged/PLAYER/NAME`, `score/METRIC/PART`,
        `frames per second` and `data stall`."""
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
