"""Work in this very process: for debuggers, which cannot look into another one."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from zoo.compare.executors import Ended, Hear, Told, Work
from zoo.training.watching import Interrupted


class Inline:
    """Does one piece of work at a time, here; one that ends this process ends everything."""

    capacity = 1

    def __init__(self) -> None:
        self._begun: tuple[int, Work] | None = None

    def at_once(self, gpu: bool | None = None) -> int:
        """One."""
        return 1

    def has_room(self, gpu: bool) -> bool:
        """Whether there is no work yet."""
        return self._begun is None

    def start(self, number: int, work: Work) -> None:
        """Remember the work: it is done while it is waited for."""
        self._begun = number, work

    def wait(self, hear: Hear) -> None:
        """Do it."""
        if self._begun is None:
            return
        (number, work), self._begun = self._begun, None
        try:
            result = work(lambda what: hear(Told(number, what)))
        except Interrupted:
            hear(Ended(number, interrupted=True))
        else:
            hear(Ended(number, result))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """There is nothing to put away."""
