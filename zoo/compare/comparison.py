"""A comparison: which cells it has, which have a valid record already, and running the others."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from zoo.api.film_entry import FilmEntry
from zoo.base.errors import BadInput
from zoo.base.records import Cost, Record
from zoo.base.workspace import Workspace
from zoo.compare.cells import Cell, Entry, config_of, plan
from zoo.compare.costs import subjects_of, with_costs
from zoo.compare.executors import Ended, Place, Tell, Told, carried_out
from zoo.compare.run_store import RunStore
from zoo.compare.tasks import CellWork, Coding, CostWork, Evaluating, FilmToOpen, failed_record
from zoo.evaluation.cost import CostSubject
from zoo.evaluation.film_scores import earlier_record, stale_metrics, without_metrics
from zoo.evaluation.metrics import Judges
from zoo.films.film import Film
from zoo.training.jobs import Settings
from zoo.training.run_folder import RunFolder
from zoo.training.watching import Interrupted, Moment


def found(workspace: Workspace, cell: Cell, judges: Judges) -> Record | None:
    """The record of a cell that need not be run again; None where it must be."""
    folder = RunFolder.of(workspace, config_of(cell))
    record = known_record(folder, cell.evaluated_on, judges)
    # A record that a stranger wrote may name any folder as its run.
    if record is None or record.run != folder.path.relative_to(workspace.root).as_posix():
        return None
    return record.model_copy(update={"seed": cell.settings.seed})


def known_record(folder: RunFolder, film: Film, judges: Judges) -> Record | None:
    """The record of an earlier comparison, if it still holds for what can be measured now."""
    if folder.state != "finished":
        return None
    out = folder.evaluation(film.name)
    record = earlier_record(out, film)
    if record is None:
        return None
    # A metric that was measured then and cannot be now stays measured; the other way round, and
    # where its source has changed, the evaluation is gone on with.
    stale = stale_metrics(out, record)
    wanted = {metric.name for metric in judges.metrics}
    return without_metrics(record, stale) if wanted <= set(record.scores) - stale else None


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


def run_cells(
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
    matrix = _Schedule(cells, watcher, found)
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


class _Schedule:
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


@dataclass(frozen=True)
class Comparison:
    """What was asked for, with the films opened and the metrics ready."""

    workspace: Workspace
    entries: Sequence[FilmEntry]
    films: Sequence[Film]
    """The entries, opened."""
    models: Sequence[Entry]
    """What was named: models, references and codecs."""
    sweep: Sequence[Settings]
    judges: Judges
    metrics: str
    """The words that `judges` were made from."""
    holdout: float
    others: bool = True
    """Whether models watch other films as well."""
    overwrite: bool = False
    store: str | None = None
    """Address of the place where run folders are kept, if that is not the workspace."""
    apart: bool = False
    """Whether the machines that work share nothing but `store` with this one."""

    @functools.cached_property
    def cells(self) -> list[Cell]:
        """Every cell, in the order in which they are begun."""
        return plan(self.films, self.models, self.sweep, self.others)

    def __post_init__(self) -> None:
        """Raises BadInput if the store's address means nothing."""
        if self.store:
            RunStore(self.store, self.workspace)

    def found(self, cell: Cell, look_only: bool = False) -> Record | None:
        """The record of a cell that need not be run again. It is looked for in the store, too.

        With `look_only` nothing is brought from there.
        """
        if self.overwrite:
            return None
        try:
            folder = RunFolder.of(self.workspace, config_of(cell))
        except BadInput:
            return None
        try:
            if self._store and look_only:
                with self._store.seen(folder, cell.evaluated_on.name) as there:
                    return found(there or self.workspace, cell, self.judges)
            elif self._store:
                self._store.fetch(folder, cell.evaluated_on.name)
            return found(self.workspace, cell, self.judges)
        except BadInput:
            # A damaged run: running the cell says so in its record.
            return None

    def is_trained(self, cell: Cell) -> bool:
        """Whether a cell's run is finished here, so that only an evaluation is missing."""
        if self.overwrite:
            return False
        try:
            return RunFolder.of(self.workspace, config_of(cell)).state == "finished"
        except BadInput:
            return False

    def run(self, place: Place, watcher: Watcher) -> list[Record]:
        """The records of all cells, without costs. Raises Interrupted when work was stopped."""
        records = run_cells(
            self.cells,
            place,
            functools.partial(self.work, measure_peak=watcher.shows_pace),
            self.found,
            watcher,
        )
        if self._store and self.apart:
            for record in records:
                if record.run:
                    self._store.fetch(
                        RunFolder(self.workspace.root / record.run), record.evaluated_on
                    )
        return records

    def with_costs(self, records: Sequence[Record], place: Place, tell: Tell) -> list[Record]:
        """The records with what their models cost, measured with nothing beside it.

        Raises Interrupted when the measurement was stopped.
        """
        found = list(records)
        # What was done on the processor beside a GPU is timed there as well.
        for device in dict.fromkeys([self.sweep[0].device, torch.device("cpu")]):
            there = {
                number: subject
                for number, subject in subjects_of(self.workspace, found).items()
                if found[number].environment.device == device.type
            }
            if there:
                found = self._timed(found, there, device, place, tell)
        return found

    def _timed(
        self,
        records: Sequence[Record],
        subjects: Mapping[int, CostSubject],
        device: torch.device,
        place: Place,
        tell: Tell,
    ) -> list[Record]:
        work = CostWork(
            None if self.apart else self.workspace.root,
            list(subjects.values()),
            device,
            self.sweep[0].threads,
            self.overwrite,
        )
        end = carried_out(place, work, tell)
        if end.interrupted:
            raise Interrupted("stopped while costs were measured; the same command measures again")
        if end.lost is not None:
            reason = f"nothing was measured: {end.lost}"
            empty = {s.key: _no_cost(s.batch, reason) for s in subjects.values()}
            return with_costs(records, subjects, empty)
        costs: Mapping[str, Cost] = end.result
        return with_costs(records, subjects, costs)

    @functools.cached_property
    def _store(self) -> RunStore | None:
        return RunStore(self.store, self.workspace) if self.store else None

    def work(self, cell: Cell, measure_peak: bool) -> CellWork:
        """A cell as plain data, for whichever process runs it."""
        return CellWork(
            root=None if self.apart else self.workspace.root,
            store=self.store,
            film=self._to_open(cell.film),
            evaluated_on=self._to_open(cell.evaluated_on),
            model=cell.architecture.name,
            settings=cell.settings,
            metrics=self.metrics,
            overwrite=self.overwrite,
            measure_peak=measure_peak,
        )

    def _to_open(self, film: Film) -> FilmToOpen:
        entry = next(entry for entry in self.entries if entry.name == film.name)
        return FilmToOpen(entry, film.size, self.holdout, film.fingerprint)


def _no_cost(batch: int, reason: str) -> Cost:
    return Cost(batch=batch, unavailable={"train": reason, "round_trip": reason})
