"""Checks of training callbacks: one function per promise.

None of them passes on a report: a callback may send it to an address.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from zoo.api.training_callback import FollowedRun, TrainingCallback
from zoo.base.errors import BadInput
from zoo.base.text import describe_value
from zoo.conformance.fixtures import Inconclusive, expect


@contextlib.contextmanager
def _made(kind: type[TrainingCallback]) -> Iterator[tuple[TrainingCallback, Path]]:
    """A callback for a run whose folder is not there yet; Inconclusive if it cannot be used."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "film", "model", "run")
        try:
            kind.check()
            callback = kind(FollowedRun("film/model/run", folder, {"model": "model", "seed": 0}))
        except BadInput as reason:
            raise Inconclusive(str(reason)) from None
        yield callback, folder


def writes_nothing_before_training(kind: type[TrainingCallback]) -> None:
    """A callback that is made leaves the run's folder alone, which training may clear first."""
    with _made(kind) as (callback, folder):
        expect(not folder.exists(), "it makes the run's folder before the first report")
        expect(callable(callback), f"{describe_value(callback)} cannot be called with a report")


def takes_reports(kind: type[TrainingCallback]) -> None:
    """It has a `__call__` of its own, which takes a report."""
    own = any("__call__" in vars(each) for each in kind.__mro__ if each is not TrainingCallback)
    expect(own, "it has no __call__(self, event)")


def closes_without_a_report(kind: type[TrainingCallback]) -> None:
    """A training that fails before its first report closes it all the same."""
    with _made(kind) as (callback, folder):
        callback.close()
        expect(not folder.exists(), "it makes the run's folder when it is closed")


CHECKS: tuple[Callable[[type[TrainingCallback]], None], ...] = (
    takes_reports,
    writes_nothing_before_training,
    closes_without_a_report,
)
