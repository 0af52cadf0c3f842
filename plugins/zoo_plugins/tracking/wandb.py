"""Weights & Biases; WANDB_MODE=offline keeps everything in the run's folder `wandb/`."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

import zoo
from zoo import BadInput, TrainingEvent, hookimpl
from zoo.base.extras import missing_extra

PROJECT = "film-zoo"
"""Unless WANDB_PROJECT names another."""


class WeightsAndBiases(zoo.TrainingCallback):
    """Logs losses, logged values, scores and speeds; a resumed training goes on with its run."""

    name: ClassVar[str] = "wandb"
    summary: ClassVar[str] = "Weights & Biases; WANDB_MODE=offline needs no account"
    _session: Any = None

    @classmethod
    def check(cls) -> None:
        """Raise BadInput if the package is not installed."""
        _package()

    def __call__(self, event: TrainingEvent) -> None:
        """Log the scalars of one report."""
        if self._session is None:
            wandb = _package()
            settings = wandb.Settings(console="off", silent=True)
            self._session = wandb.init(
                project=settings.project or PROJECT,
                name=self.run.name,
                # Of the whole name, which has letters that an identifier may not have.
                id=hashlib.sha256(self.run.name.encode()).hexdigest()[:16],
                resume="allow",
                dir=str(self.run.folder),
                config=dict(self.run.config),
                settings=settings,
            )
        self._session.log(event.scalars(), step=event.step)

    def close(self) -> None:
        """Send or write what is left."""
        if self._session is not None:
            self._session.finish()


def _package() -> Any:
    try:
        import wandb
    except ImportError:
        raise BadInput(missing_extra("wandb", "--track wandb")) from None
    return wandb


@hookimpl
def zoo_training_callbacks() -> list[type[zoo.TrainingCallback]]:
    """Weights & Biases."""
    return [WeightsAndBiases]
