"""Callbacks of a training: functions of its events; several as one, and those of plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from zoo.api.training_events import FollowedRun, TrainingCallback, TrainingEvent
from zoo.base.text import error_line

Callback = Callable[[TrainingEvent], None]


def ignore_event(_: TrainingEvent) -> None:
    """A callback that does nothing."""


def call_all(*callbacks: Callback) -> Callback:
    """One callback that calls several in order."""

    def call(event: TrainingEvent) -> None:
        for callback in callbacks:
            callback(event)

    return call


@contextmanager
def following(
    kinds: Sequence[type[TrainingCallback]],
    run: FollowedRun,
    notify: Callable[[str], None],
) -> Iterator[Callback]:
    """Yield a callback that passes events on to callbacks of plugins, made for this run.

    One that fails is reported to `notify` and gets no more events: a training does not end because
    another program does. Raises BadInput if one cannot be used.
    """
    active = [kind(run) for kind in kinds]

    def guarded(callback: TrainingCallback, act: Callable[[], None]) -> None:
        try:
            act()
        except (Exception, SystemExit) as error:
            notify(f"{callback.name} failed, and gets no more reports: {error_line(error)}")
            if callback in active:
                active.remove(callback)

    def pass_on(event: TrainingEvent) -> None:
        for callback in list(active):
            guarded(callback, partial(callback, event))

    everyone = list(active)
    try:
        yield pass_on
    finally:
        for callback in everyone:
            guarded(callback, callback.close)
