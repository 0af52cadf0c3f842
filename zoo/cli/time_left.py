"""How long a comparison will take still, from the cells of it that have been run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from zoo.compare.plan import Cell


class TimeLeft:
    """Takes a cell to last as long as those of the same model, or of any where none is known."""

    def __init__(self, cells: Sequence[Cell], clock: Callable[[], float] = time.monotonic) -> None:
        self._waiting = list(cells)
        self._clock = clock
        self._begun = clock()
        self._lasted: dict[tuple[str, bool], list[float]] = {}

    def started(self) -> None:
        """The next cell is begun."""
        self._begun = self._clock()

    def finished(self, cell: Cell, found: bool) -> None:
        """A cell is done; one that was found, or that cannot be run, says nothing of others."""
        self._waiting.remove(cell)
        if not found:
            self._lasted.setdefault(_kind(cell), []).append(self._clock() - self._begun)
        self._begun = self._clock()

    def seconds(self) -> float | None:
        """Seconds that are left; None while no cell of a kind that is waiting has been run."""
        total = 0.0
        for number, cell in enumerate(self._waiting):
            usual = self._usual(cell)
            if usual is None:
                return None
            begun = self._clock() - self._begun if number == 0 else 0.0
            total += max(0.0, usual - begun)
        return total

    def _usual(self, cell: Cell) -> float | None:
        own = self._lasted.get(_kind(cell))
        alike = own or [
            s for kind, each in self._lasted.items() if kind[1] == cell.own for s in each
        ]
        return statistics.fmean(alike) if alike else None


def _kind(cell: Cell) -> tuple[str, bool]:
    return cell.architecture.name, cell.own
