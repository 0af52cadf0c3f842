"""The matrix of models and films: what is missing is handed out, and failures are gone past."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from zoo.base.records import Record
from zoo.compare.failure import failed_record
from zoo.compare.known import config_of
from zoo.compare.places.place import Ended, Place, Told
from zoo.compare.plan import Cell
from zoo.compare.work import CellWork, Coding, Evaluating
from zoo.training.watching import Interrupted, Moment


class Watcher(Protocol):
    """What a comparison tells those who watch it."""

    shows_pace: bool
    """Whether anybody sees how near training comes to the device's peak, which takes measuring."""

    def started(self, cell: Cell) -> None:
        """A cell is begun, or waits for a machine that has room for it."""

    def trained(self, cell: Cell, moment: Moment) -> None:
        """A moment in the training of a cell."""

    def coding(self, cell: Cell, line: str) -> None:
        """A codec says how far it is."""

    def evaluating(self, cell: Cell) -> None:
        """A cell's model watches the film."""

    def skipped(self, cell: Cell) -> None:
        """A cell that cannot be run, for its model failed on the film it was to be trained on."""

    def finished(self, cell: Cell, record: Record, found: bool) -> None:
        """A cell has its record, good or failed; `found` says that it is an earlier one."""


def run(
    cells: Sequence[Cell],
    place: Place,
    work_of: Callable[[Cell], CellWork],
    found: Callable[[Cell], Record | None],
    watcher: Watcher,
) -> list[Record]:
    """Do what is missing; a failed cell becomes a failed record. Records are in the cells' order.

    `found` gives the record of a cell that need not be run again. A model that failed on its own
    film watches no other: that is one failure and not several. Raises Interrupted when work was
    stopped; what is finished is found again the next time.
    """
    matrix = _Matrix(cells, watcher, found)
    interrupted = False

    def hear(event: Told | Ended) -> None:
        nonlocal interrupted
        cell = cells[event.number]
        if isinstance(event, Told):
            if isinstance(event.what, Moment):
                watcher.trained(cell, event.what)
            elif isinstance(event.what, Coding):
                watcher.coding(cell, event.what.line)
            elif isinstance(event.what, Evaluating):
                watcher.evaluating(cell)
            return
        running.discard(event.number)
        if event.interrupted:
            interrupted = True
        elif event.lost is not None:
            matrix.end(event.number, failed_record(cell, config_of(cell), event.lost))
        else:
            matrix.end(event.number, event.result)

    running: set[int] = set()
    while True:
        while len(running) < place.capacity and not interrupted:
            number = matrix.next(place.has_room)
            if number is None:
                break
            running.add(number)
            place.start(number, work_of(cells[number]))
        if not running:
            break
        place.wait(hear)
    if interrupted:
        raise Interrupted("stopped between cells; the same command goes on")
    return matrix.records()


class _Matrix:
    """Which cells are done, and which can be begun: on other films once their own one is done."""

    def __init__(
        self, cells: Sequence[Cell], watcher: Watcher, found: Callable[[Cell], Record | None]
    ) -> None:
        self._cells, self._watcher, self._found = cells, watcher, found
        self._done: dict[int, Record] = {}
        self._ready = deque(number for number, cell in enumerate(cells) if cell.own)
        self._after: dict[object, list[int]] = {}
        for number, cell in enumerate(cells):
            if not cell.own:
                self._after.setdefault(cell.run, []).append(number)

    def next(self, has_room: Callable[[bool], bool]) -> int | None:
        """A cell that has to be run now; those that are found are done on the way.

        It is the first for which there is room, on a GPU or beside it.
        """
        while True:
            room = {gpu: has_room(gpu) for gpu in (False, True)}
            number = next((n for n in self._ready if room[self._cells[n].gpu]), None)
            if number is None:
                return None
            self._ready.remove(number)
            cell = self._cells[number]
            self._watcher.started(cell)
            record = self._found(cell)
            if record is None:
                return number
            self.end(number, record, found=True)

    def end(self, number: int, record: Record, found: bool = False) -> None:
        """A cell has its record: those that waited for it can be begun, or never will be."""
        cell = self._cells[number]
        self._done[number] = record
        self._watcher.finished(cell, record, found)
        if not cell.own:
            return
        waited: Iterable[int] = self._after.pop(cell.run, ())
        if record.status == "ok":
            self._ready.extend(waited)
        else:
            for other in waited:
                self._watcher.skipped(self._cells[other])

    def records(self) -> list[Record]:
        """The records of all cells that were not skipped, in the cells' order."""
        return [self._done[number] for number in sorted(self._done)]
