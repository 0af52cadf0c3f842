"""Scalars for TensorBoard: a watcher that writes what training tells it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo.base.errors import BadInput
from zoo.training.watching import Moment, Watcher

SECONDS_BETWEEN_WRITES = 10


def require_tensorboard() -> type[Any]:
    """Return TensorBoard's writer; raises BadInput where the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise BadInput(
            "--tensorboard needs a package that is not here: pip install 'film-zoo[tensorboard]'"
        ) from None
    return SummaryWriter


@contextmanager
def scalars(folder: Path) -> Iterator[Watcher]:
    """Yield a watcher that writes losses, what is logged, scores, frames/s and data stall.

    What an earlier training wrote of the same steps is hidden, so that a run that was killed and
    resumed has one curve. Raises BadInput as `require_tensorboard`.
    """
    kind = require_tensorboard()
    writer: Any = None

    def watch(moment: Moment) -> None:
        nonlocal writer
        if writer is None:
            # Not before training tells something: `--overwrite` empties the run's folder first, and
            # the first step told is the first that an earlier training may have told already.
            writer = kind(str(folder), purge_step=moment.step, flush_secs=SECONDS_BETWEEN_WRITES)
        for player, terms in moment.losses.items():
            for term, value in terms.items():
                writer.add_scalar(f"loss/{player}/{term}", value, moment.step)
        for player, terms in moment.logged.items():
            for name, value in terms.items():
                writer.add_scalar(f"logged/{player}/{name}", value, moment.step)
        if moment.score:
            for part, values in moment.score.values.items():
                for metric, value in values.items():
                    writer.add_scalar(f"score/{metric}/{part}", value, moment.step)
        writer.add_scalar("frames per second", moment.frames_per_second, moment.step)
        writer.add_scalar("data stall", moment.data_stall, moment.step)

    try:
        yield watch
    finally:
        if writer is not None:
            writer.close()


def together(*watchers: Watcher) -> Watcher:
    """One watcher that tells several, in their order."""

    def watch(moment: Moment) -> None:
        for watcher in watchers:
            watcher(moment)

    return watch
