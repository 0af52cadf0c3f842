"""Figures that are measured one by one, and why those are missing that could not be."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from zoo.api.metric import Unavailable
from zoo.base.errors import ZooError, is_out_of_memory
from zoo.base.text import error_line, one_line

LONGEST_REASON = 500


class Figures:
    """What came out, by the names of `Cost`, and why the rest did not."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.values: dict[str, Any] = {}
        self.unavailable: dict[str, str] = {}

    def asked(self, *names: str) -> _Asked:
        """A `with` block in which whatever goes wrong costs these figures and no others."""
        return _Asked(self, names)


class _Asked:
    """Notes why figures are missing that a block of work did not get to, and goes on after it."""

    def __init__(self, figures: Figures, names: tuple[str, ...]) -> None:
        self.figures = figures
        self.names = names

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        # A plugin is a stranger's code: a call of sys.exit counts as a failure of its own.
        if not isinstance(error, Exception | SystemExit):
            return False
        # Its traceback would keep the tensors of the failed work alive.
        error.__traceback__ = None
        figures = self.figures
        batch = 1 if self.names[0].endswith("_one") else figures.batch
        reason = _reason(error, batch)
        for name in self.names:
            if name not in figures.values:
                figures.unavailable.setdefault(name, reason)
        return True


def _reason(error: BaseException, batch: int) -> str:
    """Why a figure is missing, in one line."""
    if isinstance(error, ZooError | Unavailable):
        said = str(error)
    elif is_out_of_memory(error):
        said = f"memory ran out with a batch of {batch}"
    else:
        return error_line(error, LONGEST_REASON)
    return one_line(said, LONGEST_REASON)
