"""What is promised of a film that a plugin brings, one function each; all are given its entry."""

from __future__ import annotations

from collections.abc import Callable

from zoo.base.errors import ZooError
from zoo.base.frame_size import FrameSize
from zoo.conformance.verdict import Broken, CannotTell, expect
from zoo.films.entry import FilmEntry
from zoo.films.geometry import parse_fit
from zoo.films.settings import IngestSettings
from zoo.films.survey import look_at


def files_are_there(entry: FilmEntry) -> None:
    """Every file of the film is there."""
    for path in entry.files:
        expect(path.is_absolute(), f"{path} depends on the folder that one is in: name it whole")
        expect(path.is_file(), f"{path} is not there")


def files_are_a_film(entry: FilmEntry) -> None:
    """The files open, and hold pictures of one film."""
    size = FrameSize(64, 36)
    settings = IngestSettings(
        size, parse_fit(entry.fit), entry.crop, entry.start, entry.stop, entry.fps
    )
    try:
        look_at(entry, settings)
    except ZooError as reason:
        raise Broken(str(reason)) from None


def states_its_licence(entry: FilmEntry) -> None:
    """A licence is stated."""
    if not entry.licence:
        raise CannotTell("no licence is stated: pictures of the film are for its owner's eyes")


CHECKS: tuple[Callable[[FilmEntry], None], ...] = (
    files_are_there,
    files_are_a_film,
    states_its_licence,
)
