"""The pieces of work that a comparison is made of, as plain data for whichever process does them.

Films are named by their entries and opened there; models are found there by name. So any machine
that has film-zoo, the same plugins and the files can do them.
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
from zoo.base import environment
from zoo.base.errors import ZooError
from zoo.base.frame_size import FrameSize
from zoo.base.records import Cost, Environment, Record
from zoo.base.text import error_line, one_line
from zoo.base.workspace import Workspace, written_aside
from zoo.compare.cells import Cell, config_of
from zoo.compare.costs import costs_of
from zoo.compare.executors import Tell
from zoo.compare.run_store import RunStore
from zoo.evaluation.codec_runs import ensure_coded, evaluate_coding
from zoo.evaluation.cost import CostSubject
from zoo.evaluation.evaluate import evaluate
from zoo.evaluation.metrics import Judges
from zoo.films.film import Film
from zoo.films.ingest import open_film
from zoo.plugins.entry_points import line_of_plugin
from zoo.plugins.registry import registry
from zoo.training.jobs import Settings, ensure_trained
from zoo.training.run_folder import RunFolder, TrainingConfig
from zoo.training.watching import Interrupted, Moment

LONGEST = 500


def failed_record(cell: Cell, config: TrainingConfig | None, error: BaseException | str) -> Record:
    """The record of a cell that failed, with the reason in one line.

    `error` is a string where the process that did the work is no more: whoever writes the record
    then is elsewhere, and does not know on which machine it was.
    """
    if isinstance(error, str):
        reason, where = error, _elsewhere(cell, config)
    else:
        told = isinstance(error, ZooError)
        reason = one_line(str(error), LONGEST) if told else error_line(error, LONGEST)
        if not told and (line := line_of_plugin(error)):
            reason = f"{one_line(reason, LONGEST - 100)} ({line})"
        where = _here(cell, config)
    return Record(
        model=cell.architecture.name,
        summary=cell.architecture.summary,
        role=cell.architecture.role,
        kind="codec" if issubclass(cell.architecture, FilmCodec) else "autoencoder",
        origin=registry().origins[cell.architecture.name],
        trained_on=cell.film.name,
        evaluated_on=cell.evaluated_on.name,
        evaluation_fingerprint=cell.evaluated_on.fingerprint,
        seed=cell.settings.seed,
        options=config.options if config else {},
        status="failed",
        reason=reason[:LONGEST],
        environment=where,
    )


def _here(cell: Cell, config: TrainingConfig | None) -> Environment:
    compiled = config.compile if config else "none"
    return environment.describe(cell.settings.device, cell.settings.precision, compiled)


def _elsewhere(cell: Cell, config: TrainingConfig | None) -> Environment:
    described = environment.describe(environment.choose_device("cpu"), cell.settings.precision)
    return described.model_copy(
        update={
            "device": cell.settings.device.type,
            "compile": config.compile if config else "none",
            **({} if cell.settings.device.type == "cpu" else {"device_name": "not known"}),
        }
    )


FAILURE = "failure.txt"
"""The traceback of a cell that failed, in its run's folder."""


@dataclass(frozen=True)
class Evaluating:
    """Told when a cell's training is done and its model begins to watch."""


@dataclass(frozen=True)
class Coding:
    """What a codec says of how far it is."""

    line: str


@dataclass(frozen=True)
class Measuring:
    """Told when the costs of so many models begin to be measured."""

    models: int


@dataclass(frozen=True)
class FilmToOpen:
    """A film, as whoever opens it must know it."""

    entry: FilmEntry
    size: FrameSize
    holdout: float
    fingerprint: str
    """What it must turn out to be."""

    def open(self, workspace: Workspace) -> Film:
        """Open it, ingesting it first where that was not done; raises ZooError if it is another."""
        entry = self.entry
        if not all(path.exists() for path in entry.files):
            # Films that plugins bring lie somewhere else on every machine.
            entry = registry().films.get(entry.name, entry)
        film = _opened(entry, self.size, workspace, self.holdout)
        if film.fingerprint != self.fingerprint:
            raise ZooError(
                f"{film.name} has other frames or another split on this machine; its files differ"
            )
        return film


def scratch(store: str) -> Path:
    """A folder on this machine for films and runs of which `store` has all that matters."""
    digest = hashlib.sha256(store.encode()).hexdigest()[:12]
    return Path(platformdirs.user_cache_dir("film-zoo")) / "nodes" / digest


@functools.lru_cache(maxsize=64)
def _opened(entry: FilmEntry, size: FrameSize, workspace: Workspace, holdout: float) -> Film:
    return open_film(entry, size, workspace, holdout=holdout)


@functools.lru_cache(maxsize=1)
def ready_judges(device: torch.device, metrics: str) -> Judges:
    """Metrics with their networks, which take longer to load than a small cell takes."""
    return Judges.open(device, metrics)


@dataclass(frozen=True)
class CellWork:
    """Train a model where that was not done, and have it watch a film."""

    root: Path | None
    """Of the workspace; None for a folder of this machine's own, to which `store` is then all."""
    store: str | None
    """Address of the place that run folders are fetched from and kept in, beside the workspace."""
    film: FilmToOpen
    evaluated_on: FilmToOpen
    model: str
    settings: Settings
    metrics: str
    overwrite: bool
    measure_peak: bool
    """Whether somebody watches how near training comes to the device's peak."""

    @property
    def gpu(self) -> bool:
        """Whether it computes on a GPU."""
        return self.settings.device.type == "cuda"

    def __call__(self, tell: Tell) -> Record:
        """Its record, good or failed. Raises Interrupted where training was stopped."""
        # A plugin is a stranger's code: whatever goes wrong in its cell, memory running out or a
        # call of sys.exit included, costs this cell and no other. What it was is kept in full.
        config = folder = None
        workspace = Workspace(self.root or scratch(str(self.store)))
        self.settings.pin_threads()
        cell = self.opened(workspace)
        try:
            config = config_of(cell)
            folder = RunFolder.of(workspace, config)
            store = RunStore(self.store, workspace) if self.store else None
            if store:
                store.fetch(folder, cell.evaluated_on.name)
            self._train(cell, config, workspace, store, tell)
            tell(Evaluating())
            record = self._evaluate(cell, config, workspace, folder)
            (folder.path / FAILURE).unlink(missing_ok=True)
            if store:
                store.keep(folder, cell.evaluated_on.name)
            return record.model_copy(update={"seed": self.settings.seed})
        except Interrupted:
            raise
        except (Exception, SystemExit) as error:
            if folder:
                _keep_traceback(folder)
            return failed_record(cell, config, error)

    def spoils(self, result: Any) -> bool:
        """A process in which a cell failed may be left in any state."""
        return bool(result.status == "failed")

    def opened(self, workspace: Workspace) -> Cell:
        """The cell itself; raises ZooError where this machine has not what it needs."""
        codec = registry().codecs.get(self.model)
        architecture = codec or registry().architecture(self.model)
        film = self.film.open(workspace)
        evaluated_on = film if self.evaluated_on == self.film else self.evaluated_on.open(workspace)
        return Cell(film, architecture, self.settings, evaluated_on)

    def _train(
        self,
        cell: Cell,
        config: TrainingConfig,
        workspace: Workspace,
        store: RunStore | None,
        tell: Tell,
    ) -> None:
        if not cell.own:
            # Trained and evaluated on its own film by an earlier cell of this comparison.
            return
        if issubclass(cell.architecture, FilmCodec):
            ensure_coded(
                workspace,
                config,
                cell.film,
                self.overwrite,
                device=self.settings.device,
                told=lambda line: tell(Coding(line)),
            )
            return
        folder = RunFolder.of(workspace, config)

        def watch(moment: Moment) -> None:
            tell(moment)
            if store:
                store.keep_checkpoint(folder)

        ensure_trained(
            workspace,
            config,
            cell.film,
            self.settings.device,
            watch=watch,
            overwrite=self.overwrite,
            measure_peak=self.measure_peak,
        )

    def _evaluate(
        self, cell: Cell, config: TrainingConfig, workspace: Workspace, folder: RunFolder
    ) -> Record:
        codec = issubclass(cell.architecture, FilmCodec)
        evaluate_ = evaluate_coding if codec else evaluate
        device = self.settings.device
        return evaluate_(workspace, folder, config, cell.evaluated_on, self.judges(), device)

    def judges(self) -> Judges:
        """The metrics, made ready on the cell's device."""
        return ready_judges(self.settings.device, self.metrics)


def _keep_traceback(folder: RunFolder) -> None:
    """Write the error that is being handled into the run's folder, if that can be written."""
    # Where it cannot, the disk may be the very reason of the failure, which the record tells.
    with suppress(OSError), written_aside(folder.path / FAILURE) as aside:
        aside.write_text(traceback.format_exc(), encoding="utf-8")


@dataclass(frozen=True)
class CostWork:
    """Measure what models cost, one after another, with nothing beside it."""

    root: Path | None
    """Of the workspace, where passes are kept; None for a folder of this machine's own."""
    subjects: Sequence[CostSubject]
    device: torch.device
    threads: int | None
    overwrite: bool

    @property
    def gpu(self) -> bool:
        """Whether it computes on a GPU."""
        return self.device.type == "cuda"

    def __call__(self, tell: Tell) -> dict[str, Cost]:
        """Costs by `CostSubject.key`."""
        if self.threads:
            torch.set_num_threads(self.threads)

        def watch(subject: CostSubject, number: int, count: int) -> None:
            if number == 1:
                tell(Measuring(count))

        return costs_of(
            Workspace(self.root or scratch("costs")),
            self.subjects,
            self.device,
            overwrite=self.overwrite,
            watch=watch,
        )

    def spoils(self, result: Any) -> bool:
        """A model that failed here may leave anything behind, but nothing follows."""
        return False
