"""Executors: run the tasks of a comparison here, in processes beside this one, or on a cluster.

An executor takes tasks and reports what becomes of them; it decides nothing about their order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

Tell = Callable[[Any], None]
"""Called by work with whatever may interest those who watch; it must survive pickling."""


class Work(Protocol):
    """Something to be done, as plain data: it is pickled, and carried out in another process."""

    @property
    def gpu(self) -> bool:
        """Whether it computes on a GPU."""

    def __call__(self, tell: Tell) -> Any:
        """Do it, and return what came of it."""

    def spoils(self, result: Any) -> bool:
        """Whether the process that came to this result should not be used for other work."""


@dataclass(frozen=True)
class Told:
    """What work told while it was done."""

    number: int
    what: Any


@dataclass(frozen=True)
class Ended:
    """Work that came to an end, one way or the other."""

    number: int
    result: Any = None
    lost: str | None = None
    """Why there is no result, in one line: its process died, or it raised what it never should."""
    interrupted: bool = False


Hear = Callable[[Told | Ended], None]


class Place(Protocol):
    """Where work is done. To be entered before, and left after.

    Left by an error, KeyboardInterrupt included, it asks what is at work to save and to stop.
    """

    capacity: int
    """How many pieces of work may be handed over at once; not all of them need be begun."""

    def at_once(self, gpu: bool | None = None) -> int:
        """How many pieces of work are done beside one another; 0 if there is room for none.

        Of work that computes on a GPU, or of work that does not; with None of both together.
        """

    def has_room(self, gpu: bool) -> bool:
        """Whether work of that kind may be handed over now."""

    def start(self, number: int, work: Work) -> None:
        """Begin work that is called `number` from here on; there is room for it."""

    def wait(self, hear: Hear) -> None:
        """Wait a moment, or until something has happened, and tell of it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def carried_out(place: Place, work: Work, tell: Tell) -> Ended:
    """Have one piece of work done and nothing beside it."""
    ends: list[Ended] = []

    def hear(event: Told | Ended) -> None:
        if isinstance(event, Ended):
            ends.append(event)
        else:
            tell(event.what)

    place.start(0, work)
    while not ends:
        place.wait(hear)
    return ends[0]
