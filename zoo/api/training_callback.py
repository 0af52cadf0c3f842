"""Training callbacks: they follow a training as it runs, as programs that keep experiments do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from zoo.base.atomic_files import confined

if TYPE_CHECKING:
    from zoo.training.callbacks import TrainingEvent


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

    `zoo train --track NAME` makes one for the run, calls it with every report of the training, and
    closes it. It gets no report of a training that was finished before. An error while the training
    runs is printed once, and the training goes on without the callback.
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
