"""A comparison: plan its cells, find those with a valid record already, and run the others."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from zoo.api.film_entry import FilmEntry
from zoo.api.recipe_and_events import TrainingEvent
from zoo.base.errors import BadInput
from zoo.base.interrupts import RESUME, Interrupted
from zoo.base.records import Cost, Environment, Record
from zoo.base.workspace import Workspace
from zoo.compare.cells import Cell, ModelOrCodec, config_of, plan_cells
from zoo.compare.costs import cost_subjects, with_costs
from zoo.compare.executors import Executor, Message, Notify, Task, TaskEnd
from zoo.compare.run_store import RunStore
from zoo.compare.tasks import (
    NOT_KNOWN,
    CellTask,
    CostTask,
    EncodingProgress,
    EvaluationStarted,
    FilmReference,
    failed_record,
)
from zoo.evaluation.codec_runs import has_stream
from zoo.evaluation.cost import CostSubject
from zoo.evaluation.film_scores import stale_metrics, valid_record, without_metrics
from zoo.evaluation.metrics import MetricSet
from zoo.films.ingested_film import Film
from zoo.training.run_folder import RunFolder
from zoo.training.settings import Settings


def finished_record(workspace: Workspace, cell: Cell, metric_set: MetricSet) -> Record | None:
    """Return the record of a cell that need not run again; None if it must run."""
    folder = RunFolder.of(workspace, config_of(cell))
    record = reusable_record(folder, cell.evaluated_on, metric_set)
    # An untrusted record may name any folder as its run.
    if record is None or record.run != folder.path.relative_to(workspace.root).as_posix():
        return None
    return record.model_copy(update={"seed": cell.settings.seed})


def reusable_record(folder: RunFolder, film: Film, metric_set: MetricSet) -> Record | None:
    """Return the record of an earlier evaluation, if it is valid for the current metrics."""
    if folder.state != "finished":
        return None
    out = folder.evaluation(film.name)
    record = valid_record(out, film)
    if record is None:
        return None
    if record.kind == "codec" and not has_stream(folder, record.model):
        return None
    # Scores of a metric that can no longer be measured are kept. If a metric is missing, or its
    # source has changed, the evaluation is resumed.
    stale = stale_metrics(out, record)
    wanted = {metric.name for metric in metric_set.metrics}
    return without_metrics(record, stale) if wanted <= set(record.scores) - stale else None


class CompareProgress:
    """Callbacks of a running comparison; here they do nothing."""

    shows_throughput = False
    """Whether training shows its share of the device's peak, which then has to be measured."""

    def started(self, cell: Cell) -> None:
        """A cell starts, or is queued by the executor."""

    def training(self, cell: Cell, event: TrainingEvent) -> None:
        """The progress of a cell's training."""

    def encoding(self, cell: Cell, line: str) -> None:
        """The progress of a codec, as a line of text."""

    def evaluating(self, cell: Cell) -> None:
        """A cell is trained, and its evaluation starts."""

    def skipped(self, cell: Cell) -> None:
        """A cell that cannot run, because its model failed on the film that it is trained on."""

    def finished(self, cell: Cell, record: Record, found: bool) -> None:
        """A cell has its record, good or failed; `found` says that it was there already."""


def run_cells(
    cells: Sequence[Cell],
    executor: Executor,
    task_of: Callable[[Cell], CellTask],
    find_record: Callable[[Cell], Record | None],
    progress: CompareProgress,
) -> list[Record]:
    """Run missing cells; a failed cell becomes a failed record. Records are in the cells' order.

    `find_record` returns the record of a cell that need not run again. A model that failed on its
    own film is not evaluated on others: that is one failure, not several. Raises Interrupted when
    tasks were stopped; finished cells are found again the next time.
    """
    schedule = _Schedule(cells, progress, find_record)
    interrupted = False

    def on_event(event: Message | TaskEnd) -> None:
        nonlocal interrupted
        cell = cells[event.number]
        if isinstance(event, Message):
            if isinstance(event.content, TrainingEvent):
                progress.training(cell, event.content)
            elif isinstance(event.content, EncodingProgress):
                progress.encoding(cell, event.content.line)
            elif isinstance(event.content, EvaluationStarted):
                progress.evaluating(cell)
            return
        running.discard(event.number)
        if event.interrupted:
            interrupted = True
        elif event.lost is not None:
            schedule.end(event.number, failed_record(cell, config_of(cell), event.lost))
        else:
            schedule.end(event.number, event.result)

    running: set[int] = set()
    while True:
        while len(running) < executor.capacity and not interrupted:
            number = schedule.next(executor.has_room)
            if number is None:
                break
            running.add(number)
            executor.submit(number, task_of(cells[number]))
        if not running:
            break
        executor.poll(on_event)
    if interrupted:
        raise Interrupted(f"stopped between cells; {RESUME}")
    return schedule.records()


def with_known_devices(records: Sequence[Record]) -> list[Record]:
    """Fill in the device in records of processes that died, from other records of its type.

    Otherwise a report would take it for another machine. The device stays unknown if the other
    records name none or several.
    """
    known: dict[str, dict[str, Environment]] = {}
    for where in (record.environment for record in records):
        if where.device_name != NOT_KNOWN:
            known.setdefault(where.device, {})[where.device_name] = where
    found = []
    for record in records:
        own, update = record.environment, {}
        devices = known.get(own.device, {})
        if own.device_name == NOT_KNOWN and len(devices) == 1:
            (like,) = devices.values()
            trained = {"precision": own.precision, "compile": own.compile}
            update = {"environment": like.model_copy(update=trained)}
        found.append(record.model_copy(update=update))
    return found


def run_task(executor: Executor, task: Task, notify: Notify) -> TaskEnd:
    """Run a single task while no other runs."""
    ends: list[TaskEnd] = []

    def on_event(event: Message | TaskEnd) -> None:
        if isinstance(event, TaskEnd):
            ends.append(event)
        else:
            notify(event.content)

    executor.submit(0, task)
    while not ends:
        executor.poll(on_event)
    return ends[0]


class _Schedule:
    """Tracks which cells are done and which can start: other films wait for a model's own film."""

    def __init__(
        self,
        cells: Sequence[Cell],
        progress: CompareProgress,
        find_record: Callable[[Cell], Record | None],
    ) -> None:
        self._cells, self._progress, self._find_record = cells, progress, find_record
        self._done: dict[int, Record] = {}
        self._ready = deque(number for number, cell in enumerate(cells) if cell.own)
        self._after: dict[object, list[int]] = {}
        for number, cell in enumerate(cells):
            if not cell.own:
                self._after.setdefault(cell.run, []).append(number)

    def next(self, has_room: Callable[[bool], bool]) -> int | None:
        """Return the next cell to run: the first for which a GPU, or the CPU, has room.

        On the way, cells that have a record already are marked as done.
        """
        while True:
            room = {gpu: has_room(gpu) for gpu in (False, True)}
            number = next((n for n in self._ready if room[self._cells[n].gpu]), None)
            if number is None:
                return None
            self._ready.remove(number)
            cell = self._cells[number]
            self._progress.started(cell)
            record = self._find_record(cell)
            if record is None:
                return number
            self.end(number, record, found=True)

    def end(self, number: int, record: Record, found: bool = False) -> None:
        """Note the record of a cell: those that waited for it can start, or are skipped."""
        cell = self._cells[number]
        self._done[number] = record
        self._progress.finished(cell, record, found)
        if not cell.own:
            return
        waited: Iterable[int] = self._after.pop(cell.run, ())
        if record.status == "ok":
            self._ready.extend(waited)
        else:
            for other in waited:
                self._progress.skipped(self._cells[other])

    def records(self) -> list[Record]:
        """The records of all cells that were not skipped, in the cells' order."""
        return [self._done[number] for number in sorted(self._done)]


@dataclass(frozen=True)
class Comparison:
    """The request: films, models, settings and metrics, all opened."""

    workspace: Workspace
    entries: Sequence[FilmEntry]
    films: Sequence[Film]
    """The entries, opened."""
    models: Sequence[ModelOrCodec]
    """The named models, references and codecs."""
    sweep: Sequence[Settings]
    metric_set: MetricSet
    metrics: str
    """The text that `metric_set` was loaded from."""
    holdout: float
    cross_film: bool = True
    """Whether models are evaluated on the other films as well."""
    overwrite: bool = False
    codecs: bool = True
    """Whether the default codecs run where no codec is named."""
    store: str | None = None
    """Address at which run folders are stored as well; None for the workspace alone."""
    remote: bool = False
    """Whether tasks run on machines that share nothing but `store` with this one."""

    @functools.cached_property
    def cells(self) -> list[Cell]:
        """Every cell, in the order in which they start."""
        return plan_cells(self.films, self.models, self.sweep, self.cross_film, self.codecs)

    @functools.cached_property
    def found(self) -> dict[Cell, Record]:
        """The cells that need not run again, with their records, before anything runs.

        Empty where there is a store: each cell is looked for there when it is its turn.
        """
        if self.store:
            return {}
        return {cell: record for cell in self.cells if (record := self.find_record(cell))}

    def __post_init__(self) -> None:
        """Raise BadInput if the store's address is invalid."""
        if self.store:
            RunStore(self.store, self.workspace)

    def find_record(self, cell: Cell, download: bool = True) -> Record | None:
        """The record of a cell that need not run again, from the workspace or the store.

        Without `download`, records in the store are read but no run is downloaded.
        """
        if self.overwrite:
            return None
        try:
            folder = RunFolder.of(self.workspace, config_of(cell))
        except BadInput:
            return None
        try:
            if self._store and not download:
                with self._store.preview(folder, cell.evaluated_on.name) as preview:
                    return finished_record(preview or self.workspace, cell, self.metric_set)
            elif self._store:
                self._store.download(folder, cell.evaluated_on.name)
            return finished_record(self.workspace, cell, self.metric_set)
        except BadInput:
            # A damaged run: the cell runs, and its record says so.
            return None

    def is_trained(self, cell: Cell) -> bool:
        """Whether a cell's run is finished, so that only an evaluation is missing."""
        if self.overwrite:
            return False
        try:
            return RunFolder.of(self.workspace, config_of(cell)).state == "finished"
        except BadInput:
            return False

    def run(self, executor: Executor, progress: CompareProgress) -> list[Record]:
        """Run all cells; their records are without costs. Raises Interrupted when stopped."""
        records = run_cells(
            self.cells,
            executor,
            functools.partial(self.task, measure_peak=progress.shows_throughput),
            lambda cell: self.found.get(cell) or self.find_record(cell),
            progress,
        )
        if self._store and self.remote:
            for record in records:
                if record.run:
                    self._store.download(
                        RunFolder(self.workspace.root / record.run), record.evaluated_on
                    )
        return with_known_devices(records)

    def with_costs(
        self, records: Sequence[Record], executor: Executor, notify: Notify
    ) -> list[Record]:
        """Return the records with the costs of their models, measured while nothing else runs.

        Raises Interrupted when the measurement was stopped.
        """
        found = list(records)
        # If some models ran on a GPU and others on the CPU, costs are measured on both.
        for device in dict.fromkeys([self.sweep[0].device, torch.device("cpu")]):
            subjects = {
                number: subject
                for number, subject in cost_subjects(self.workspace, found).items()
                if found[number].environment.device == device.type
            }
            if subjects:
                found = self._measured(found, subjects, device, executor, notify)
        return found

    def _measured(
        self,
        records: Sequence[Record],
        subjects: Mapping[int, CostSubject],
        device: torch.device,
        executor: Executor,
        notify: Notify,
    ) -> list[Record]:
        task = CostTask(
            None if self.remote else self.workspace.root,
            list(subjects.values()),
            device,
            self.sweep[0].threads,
            self.overwrite,
        )
        end = run_task(executor, task, notify)
        if end.interrupted:
            raise Interrupted(f"stopped while costs were measured; {RESUME}")
        if end.lost is not None:
            reason = f"nothing was measured: {end.lost}"
            empty = {s.key: _no_cost(s.batch, reason) for s in subjects.values()}
            return with_costs(records, subjects, empty)
        costs: Mapping[str, Cost] = end.result
        return with_costs(records, subjects, costs)

    @functools.cached_property
    def _store(self) -> RunStore | None:
        return RunStore(self.store, self.workspace) if self.store else None

    def task(self, cell: Cell, measure_peak: bool) -> CellTask:
        """The task of a cell, as plain data for any process."""
        return CellTask(
            root=None if self.remote else self.workspace.root,
            store=self.store,
            trained_on=self._reference(cell.trained_on),
            evaluated_on=self._reference(cell.evaluated_on),
            model=cell.architecture.name,
            settings=cell.settings,
            metrics=self.metrics,
            overwrite=self.overwrite,
            measure_peak=measure_peak,
        )

    def _reference(self, film: Film) -> FilmReference:
        entry = next(entry for entry in self.entries if entry.name == film.name)
        return FilmReference(entry, film.size, self.holdout, film.fingerprint)


def _no_cost(batch: int, reason: str) -> Cost:
    return Cost(batch=batch, unavailable={"train": reason, "round_trip": reason})
