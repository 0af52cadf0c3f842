"""TensorBoard: scalars in the run's folder `tensorboard/`."""

from __future__ import annotations

from typing import Any, ClassVar

import zoo
from zoo import BadInput, FollowedRun, TrainingEvent, hookimpl
from zoo.base.extras import missing_extra

SECONDS_BETWEEN_WRITES = 10


class TensorBoard(zoo.TrainingCallback):
    """Writes losses, logged values, scores and speeds.

    Steps that an earlier training wrote again are hidden, so that a run that was killed and resumed
    has one curve.
    """

    name: ClassVar[str] = "tensorboard"
    summary: ClassVar[str] = "scalars in the run's folder tensorboard/"

    def __init__(self, run: FollowedRun) -> None:
        super().__init__(run)
        self._folder = run.place("tensorboard")
        self._writer: Any = None

    @classmethod
    def check(cls) -> None:
        """Raise BadInput if the package is not installed."""
        _writer_class()

    def __call__(self, event: TrainingEvent) -> None:
        """Write the scalars of one report."""
        if self._writer is None:
            # Opened at the first event: only then is the run's folder cleared, and the first step
            # known that an earlier training may have written already.
            self._writer = _writer_class()(
                str(self._folder), purge_step=event.step, flush_secs=SECONDS_BETWEEN_WRITES
            )
        for name, value in event.scalars().items():
            self._writer.add_scalar(name, value, event.step)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


def _writer_class() -> type[Any]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise BadInput(missing_extra("tensorboard", "--track tensorboard")) from None
    return SummaryWriter


@hookimpl
def zoo_training_callbacks() -> list[type[zoo.TrainingCallback]]:
    """TensorBoard."""
    return [TensorBoard]
