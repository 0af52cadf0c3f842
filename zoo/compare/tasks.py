"""The tasks of a comparison, as plain data: run a cell, measure costs.

Films are given by their entries and opened where the task runs; models are found there by name. So
any machine that has film-zoo, the same plugins and the files can run them.
"""

from __future__ import annotations

import functools
import hashlib
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
import torch

from zoo.api.codec import FilmCodec
from zoo.api.film_entry import FilmEntry
from zoo.api.recipe_and_events import TrainingEvent
from zoo.base import devices
from zoo.base.atomic_files import atomic_write
from zoo.base.errors import ZooError
from zoo.base.frame_size import FrameSize
from zoo.base.interrupts import Interrupted
from zoo.base.numbers import NOT_AVAILABLE
from zoo.base.records import Cost, Environment, Record
from zoo.base.safe_text import error_line, one_line
from zoo.base.workspace import Workspace
from zoo.compare.cells import Cell, config_of
from zoo.compare.costs import load_or_measure_costs
from zoo.compare.executors import Notify
from zoo.compare.run_store import RunStore
from zoo.evaluation.codec_runs import ensure_encoded, evaluate_codec
from zoo.evaluation.cost import CostSubject
from zoo.evaluation.evaluate import evaluate
from zoo.evaluation.metrics import MetricSet
from zoo.films.ingest import open_film
from zoo.films.ingested_film import Film
from zoo.films.source_files import is_present
from zoo.plugins.entry_points import line_in_plugin
from zoo.plugins.registry import registry
from zoo.pretrained.weights import WeightsUnavailable
from zoo.training.run_folder import RunFolder, TrainingConfig
from zoo.training.settings import Settings
from zoo.training.trained_models import ensure_trained, remove_unfinished

LONGEST_REASON = 500
NOT_KNOWN = "not known"
"""The device's name in a record if the process that could read it has died."""
FAILURE = "failure.txt"
"""The traceback of a cell that failed, in its run's folder."""


def failed_record(cell: Cell, config: TrainingConfig | None, error: BaseException | str) -> Record:
    """The record of a cell that failed, with the reason in one line.

    `error` is a string if the process that ran the task has died: the record is then written by
    another process, which does not know the machine.
    """
    if isinstance(error, str):
        reason, where = error, _environment_of_dead(cell, config)
    elif isinstance(error, WeightsUnavailable):
        # Nothing failed: the weights are not available here.
        reason, where = f"{NOT_AVAILABLE}: {error}", _environment_here(cell, config)
    else:
        expected = isinstance(error, ZooError)
        reason = (
            one_line(str(error), LONGEST_REASON) if expected else error_line(error, LONGEST_REASON)
        )
        if not expected and (line := line_in_plugin(error)):
            reason = f"{one_line(reason, LONGEST_REASON - 100)} ({line})"
        where = _environment_here(cell, config)
    return Record(
        model=cell.architecture.name,
        summary=cell.architecture.summary,
        role=cell.architecture.role,
        kind="codec" if issubclass(cell.architecture, FilmCodec) else "autoencoder",
        origin=registry().origins[cell.architecture.name],
        trained_on=cell.trained_on.name,
        evaluated_on=cell.evaluated_on.name,
        evaluation_fingerprint=cell.evaluated_on.fingerprint,
        seed=cell.settings.seed,
        options=config.options if config else {},
        pretrained=getattr(cell.architecture, "pretrained", False),
        status="failed",
        reason=reason[:LONGEST_REASON],
        environment=where,
    )


def _environment_here(cell: Cell, config: TrainingConfig | None) -> Environment:
    compiled = config.compile if config else "none"
    return devices.describe(cell.settings.device, cell.settings.precision, compiled)


def _environment_of_dead(cell: Cell, config: TrainingConfig | None) -> Environment:
    described = devices.describe(devices.choose_device("cpu"), cell.settings.precision)
    return described.model_copy(
        update={
            "device": cell.settings.device.type,
            "compile": config.compile if config else "none",
            **({} if cell.settings.device.type == "cpu" else {"device_name": NOT_KNOWN}),
        }
    )


@dataclass(frozen=True)
class EvaluationStarted:
    """Message: a cell's training is done and its evaluation starts."""


@dataclass(frozen=True)
class EncodingProgress:
    """Message: the progress of a codec."""

    line: str


@dataclass(frozen=True)
class CostMeasurementStarted:
    """Message: the measurement of the costs of so many models starts."""

    models: int


@dataclass(frozen=True)
class FilmReference:
    """What is needed to open a film on any machine."""

    entry: FilmEntry
    size: FrameSize
    holdout: float
    fingerprint: str
    """The fingerprint that it must have."""

    def open(self, workspace: Workspace) -> Film:
        """Open it, ingesting it first if needed; raises ZooError if its fingerprint differs."""
        entry = self.entry
        if not all(map(is_present, entry.files)):
            # The files of films from plugins may have a different path on every machine.
            entry = registry().films.get(entry.name, entry)
        film = _opened(entry, self.size, workspace, self.holdout)
        if film.fingerprint != self.fingerprint:
            raise ZooError(
                f"{film.name} has a different split or frames on this machine; its files differ"
            )
        return film


def scratch_folder(store: str) -> Path:
    """A local folder for films and runs whose permanent place is `store`."""
    digest = hashlib.sha256(store.encode()).hexdigest()[:12]
    return Path(platformdirs.user_cache_dir("film-zoo")) / "nodes" / digest


@functools.lru_cache(maxsize=64)
def _opened(entry: FilmEntry, size: FrameSize, workspace: Workspace, holdout: float) -> Film:
    return open_film(entry, size, workspace, holdout=holdout)


@functools.lru_cache(maxsize=1)
def load_metrics(device: torch.device, metrics: str) -> MetricSet:
    """The metrics, kept loaded: their networks take longer to load than a small cell takes."""
    return MetricSet.load(device, metrics)


@dataclass(frozen=True)
class CellTask:
    """Train a model unless it is trained already, and evaluate it on a film."""

    root: Path | None
    """The workspace; None for a local scratch folder, with everything kept in `store`."""
    store: str | None
    """Address to download run folders from and upload them to, in addition to the workspace."""
    trained_on: FilmReference
    evaluated_on: FilmReference
    model: str
    settings: Settings
    metrics: str
    overwrite: bool
    measure_peak: bool
    """Whether training measures the device's peak, to show its share of it."""

    @property
    def gpu(self) -> bool:
        """Whether it computes on a GPU."""
        return self.settings.device.type == "cuda"

    def __call__(self, notify: Notify) -> Record:
        """Run the cell; returns its record, good or failed. Raises Interrupted when stopped."""
        # Whatever fails in a plugin's code, even by running out of memory or a call of sys.exit,
        # fails this cell only. The whole traceback is kept.
        config = folder = None
        workspace = Workspace(self.root or scratch_folder(str(self.store)))
        self.settings.pin_threads()
        cell = self.opened(workspace)
        try:
            config = config_of(cell)
            folder = RunFolder.of(workspace, config)
            store = RunStore(self.store, workspace) if self.store else None
            if store:
                store.download(folder, cell.evaluated_on.name)
            self._train(cell, config, workspace, store, notify)
            notify(EvaluationStarted())
            record = evaluate_cell(cell, workspace, self.metric_set())
            (folder.path / FAILURE).unlink(missing_ok=True)
            if store:
                store.upload(folder, cell.evaluated_on.name)
            return record.model_copy(update={"seed": self.settings.seed})
        except Interrupted:
            raise
        except (Exception, SystemExit) as error:
            if folder and isinstance(error, WeightsUnavailable):
                remove_unfinished(folder, workspace)
            elif folder:
                _write_traceback(folder)
            return failed_record(cell, config, error)

    def taints_process(self, result: Any) -> bool:
        """After a failed cell a process may be in any state."""
        return bool(result.status == "failed")

    def opened(self, workspace: Workspace) -> Cell:
        """The cell, with its films opened; raises ZooError if this machine lacks what it needs."""
        codec = registry().codecs.get(self.model)
        architecture = codec or registry().architecture(self.model)
        training = self.trained_on.open(workspace)
        same = self.evaluated_on == self.trained_on
        evaluation = training if same else self.evaluated_on.open(workspace)
        return Cell(training, architecture, self.settings, evaluation)

    def _train(
        self,
        cell: Cell,
        config: TrainingConfig,
        workspace: Workspace,
        store: RunStore | None,
        notify: Notify,
    ) -> None:
        if not cell.own:
            # Trained and evaluated on its own film by an earlier cell of this comparison.
            return
        if issubclass(cell.architecture, FilmCodec):
            ensure_encoded(
                workspace,
                config,
                cell.trained_on,
                self.overwrite,
                device=self.settings.device,
                notify=lambda line: notify(EncodingProgress(line)),
            )
            return
        folder = RunFolder.of(workspace, config)

        def on_event(event: TrainingEvent) -> None:
            notify(event)
            if store:
                store.upload_checkpoint(folder)

        ensure_trained(
            workspace,
            config,
            cell.trained_on,
            self.settings.device,
            callback=on_event,
            overwrite=self.overwrite,
            measure_peak=self.measure_peak,
        )

    def metric_set(self) -> MetricSet:
        """The metrics, made ready on the cell's device."""
        return load_metrics(self.settings.device, self.metrics)


def evaluate_cell(cell: Cell, workspace: Workspace, metric_set: MetricSet) -> Record:
    """Evaluate the finished run of a cell: the latents of a model, or the stream of a codec."""
    config = config_of(cell)
    evaluate_one = evaluate_codec if issubclass(cell.architecture, FilmCodec) else evaluate
    folder, device = RunFolder.of(workspace, config), cell.settings.device
    return evaluate_one(workspace, folder, config, cell.evaluated_on, metric_set, device)


def _write_traceback(folder: RunFolder) -> None:
    """Write the traceback of the current error into the run's folder, if possible."""
    # If that fails, the disk may be the reason of the failure, which the record has.
    with suppress(OSError), atomic_write(folder.path / FAILURE) as temporary:
        temporary.write_text(traceback.format_exc(), encoding="utf-8")


@dataclass(frozen=True)
class CostTask:
    """Measure the costs of models, one after another, while nothing else runs."""

    root: Path | None
    """The workspace, where measurements are kept; None for a local scratch folder."""
    subjects: Sequence[CostSubject]
    device: torch.device
    threads: int | None
    overwrite: bool

    @property
    def gpu(self) -> bool:
        """Whether it computes on a GPU."""
        return self.device.type == "cuda"

    def __call__(self, notify: Notify) -> dict[str, Cost]:
        """Costs by `CostSubject.key`."""
        if self.threads:
            torch.set_num_threads(self.threads)

        def on_subject(subject: CostSubject, number: int, count: int) -> None:
            if number == 1:
                notify(CostMeasurementStarted(count))

        return load_or_measure_costs(
            Workspace(self.root or scratch_folder("costs")),
            self.subjects,
            self.device,
            overwrite=self.overwrite,
            on_subject=on_subject,
        )

    def taints_process(self, result: Any) -> bool:
        """No: nothing follows a measurement of costs."""
        return False
