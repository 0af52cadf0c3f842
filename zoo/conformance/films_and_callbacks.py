"""Checks of films and of training callbacks: one function per promise.

No callback gets a report of a training, which it may send to an address.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from zoo.api.film_entry import FilmEntry, parse_fit
from zoo.api.training_events import FollowedRun, TrainingCallback
from zoo.base.errors import BadInput, ZooError
from zoo.base.frame_size import FrameSize
from zoo.base.text import describe_value
from zoo.conformance.fixtures import Broken, Inconclusive, expect
from zoo.films.frame_store import IngestSettings
from zoo.films.probe import probe_files
from zoo.films.source_files import is_present


def files_are_there(entry: FilmEntry) -> None:
    """Every file of the film is there."""
    for path in entry.files:
        expect(path.is_absolute(), f"{path} depends on the folder that one is in: name it whole")
        expect(is_present(path), f"{path} is not there")


def files_are_a_film(entry: FilmEntry) -> None:
    """The files open, and hold pictures of one film."""
    size = FrameSize(64, 36)
    settings = IngestSettings(
        size, parse_fit(entry.fit), entry.crop, entry.start, entry.stop, entry.fps
    )
    try:
        probe_files(entry, settings)
    except ZooError as reason:
        raise Broken(str(reason)) from None


def states_its_licence(entry: FilmEntry) -> None:
    """A licence is stated."""
    if not entry.licence:
        raise Inconclusive("no licence is stated: pictures of the film cannot be published")


FILM_CHECKS: tuple[Callable[[FilmEntry], None], ...] = (
    files_are_there,
    files_are_a_film,
    states_its_licence,
)


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


CALLBACK_CHECKS: tuple[Callable[[type[TrainingCallback]], None], ...] = (
    takes_reports,
    writes_nothing_before_training,
    closes_without_a_report,
)
