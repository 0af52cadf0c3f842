"""How long a comparison will take still, from the cells of it that have been run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from zoo.compare.plan import Cell


class TimeLeft:
    """Takes a cell to last as long as those of the same model, or of any where none is known.

    Where several cells are run at once, as many are taken to be to the end.
    """

    def __init__(self, cells: Sequence[Cell], clock: Callable[[], float] = time.monotonic) -> None:
        self._waiting = list(cells)
        self._clock = clock
        self._begun: dict[Cell, float] = {}
        self._heard: set[Cell] = set()
        self._lasted: dict[tuple[str, bool], list[float]] = {}

    def started(self, cell: Cell) -> None:
        """A cell is begun, or waits for room on a machine."""
        self._begun[cell] = self._clock()

    def heard(self, cell: Cell) -> None:
        """A cell tells of itself: if it waited for room, it does so no longer."""
        if cell not in self._heard:
            self._heard.add(cell)
            if len(self._begun) > len(self._heard):
                self._begun[cell] = self._clock()

    def finished(self, cell: Cell, found: bool) -> None:
        """A cell is done; one that was found, or that cannot be run, says nothing of others."""
        self._waiting.remove(cell)
        self._heard.discard(cell)
        begun = self._begun.pop(cell, None)
        if not found and begun is not None:
            self._lasted.setdefault(_kind(cell), []).append(self._clock() - begun)

    def seconds(self) -> float | None:
        """Seconds that are left; None while no cell of a kind that is waiting has been run."""
        total = 0.0
        for cell in self._waiting:
            usual = self._usual(cell)
            if usual is None:
                return None
            now = self._clock()
            total += max(0.0, usual - (now - self._begun.get(cell, now)))
        return total / max(1, len(self._heard))

    def _usual(self, cell: Cell) -> float | None:
        own = self._lasted.get(_kind(cell))
        alike = own or [
            s for kind, each in self._lasted.items() if kind[1] == cell.own for s in each
        ]
        return statistics.fmean(alike) if alike else None


def _kind(cell: Cell) -> tuple[str, bool]:
    return cell.architecture.name, cell.own
