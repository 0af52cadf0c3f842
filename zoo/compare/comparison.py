"""A comparison: which cells it has, which of them are known, and how the others are done."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from zoo.api.film_entry import FilmEntry
from zoo.base.errors import BadInput
from zoo.base.records import Cost, Record
from zoo.base.workspace import Workspace
from zoo.compare import matrix
from zoo.compare.costs import subjects_of, with_costs
from zoo.compare.known import config_of, found
from zoo.compare.places.place import Place, Tell, carried_out
from zoo.compare.plan import Cell, Entry, plan
from zoo.compare.run_store import RunStore
from zoo.compare.work import CellWork, CostWork, FilmToOpen
from zoo.evaluation.cost_subject import CostSubject
from zoo.evaluation.watch import Judges
from zoo.films.film import Film
from zoo.training.jobs import Settings
from zoo.training.run_folder import RunFolder
from zoo.training.watching import Interrupted


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

    def run(self, place: Place, watcher: matrix.Watcher) -> list[Record]:
        """The records of all cells, without costs. Raises Interrupted when work was stopped."""
        records = matrix.run(
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
