"""The matrix of models and films: run each cell, one after another, and go on past failures."""

from __future__ import annotations

import importlib.metadata
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import av

from zoo import environment
from zoo.codec import FilmCodec
from zoo.compare.plan import Cell
from zoo.errors import BadInput, ZooError
from zoo.evaluation.coding import coding_config, ensure_coded, evaluate_coding
from zoo.evaluation.evaluate import LATENTS, evaluate
from zoo.evaluation.judge import HASHES
from zoo.evaluation.watch import Judges
from zoo.films.film import Film
from zoo.plugins import registry
from zoo.records import Record, read_json
from zoo.training.engine import Interrupted
from zoo.training.jobs import ensure_trained
from zoo.training.run_folder import RunFolder, TrainingConfig
from zoo.training.watching import Moment, StopRequest
from zoo.workspace import Workspace

FAILURE = "failure.txt"
"""The traceback of a cell that failed, in its run's folder."""


class Watcher(Protocol):
    """What a comparison tells those who watch it."""

    shows_pace: bool
    """Whether anybody sees how near training comes to the device's peak, which takes measuring."""

    def started(self, cell: Cell) -> None:
        """A cell is begun."""

    def trained(self, moment: Moment) -> None:
        """A moment in the training of the cell."""

    def evaluating(self, cell: Cell) -> None:
        """The cell's model watches the film."""

    def skipped(self, cell: Cell) -> None:
        """A cell that cannot be run, for its model failed on the film it was to be trained on."""

    def finished(self, cell: Cell, record: Record, found: bool) -> None:
        """A cell has its record, good or failed; `found` says that it is an earlier one."""


def run(
    workspace: Workspace,
    cells: Sequence[Cell],
    judges: Judges,
    watcher: Watcher,
    stop: StopRequest,
    afresh: bool = False,
) -> list[Record]:
    """Train and evaluate what is missing, cell by cell; a failed cell becomes a failed record.

    A model that failed on its own film watches no other: that is one failure and not several.
    `afresh` makes everything again, as after a change in a model's code, which no run knows of.
    Raises Interrupted when `stop` was asked; what is finished is found again the next time.
    """
    records: list[Record] = []
    failed = set()
    for cell in cells:
        if cell.run in failed:
            watcher.skipped(cell)
            continue
        watcher.started(cell)
        record, found = _run_cell(workspace, cell, judges, watcher, stop, afresh)
        watcher.finished(cell, record, found)
        records.append(record)
        if cell.own and record.status == "failed":
            failed.add(cell.run)
    return records


def _run_cell(
    workspace: Workspace,
    cell: Cell,
    judges: Judges,
    watcher: Watcher,
    stop: StopRequest,
    afresh: bool,
) -> tuple[Record, bool]:
    # A plugin is a stranger's code: whatever goes wrong in its cell, memory running out or a
    # call of sys.exit included, costs this cell and no other. What it was is kept in full.
    config = folder = None
    settings = cell.settings
    try:
        config = _config(cell)
        folder = RunFolder.of(workspace, config)
        known = None if afresh else known_record(folder, cell.watched, judges)
        if known:
            return known.model_copy(update={"seed": settings.seed}), True
        if not cell.own:
            # Trained and evaluated on its own film by an earlier cell of this comparison.
            pass
        elif issubclass(cell.architecture, FilmCodec):
            ensure_coded(workspace, config, cell.film, afresh)
        else:
            ensure_trained(
                workspace,
                config,
                cell.film,
                settings.device,
                watch=watcher.trained,
                stop=stop,
                afresh=afresh,
                measure_peak=watcher.shows_pace,
            )
        if stop.asked:
            raise Interrupted("stopped between cells; the same command goes on")
        watcher.evaluating(cell)
        codec = issubclass(cell.architecture, FilmCodec)
        evaluate_ = evaluate_coding if codec else evaluate
        record = evaluate_(workspace, folder, config, cell.watched, judges, settings.device)
        (folder.path / FAILURE).unlink(missing_ok=True)
        return record.model_copy(update={"seed": settings.seed}), False
    except Interrupted:
        raise
    except (Exception, SystemExit) as error:
        if folder:
            _keep_traceback(folder)
        return failed_record(cell, config, error), False


def _config(cell: Cell) -> TrainingConfig:
    if issubclass(cell.architecture, FilmCodec):
        return coding_config(cell.architecture, cell.film, cell.settings)
    return cell.settings.config(cell.architecture, cell.film)


def _keep_traceback(folder: RunFolder) -> None:
    """Write the error that is being handled into the run's folder, if that can be written."""
    # Where it cannot, the disk may be the very reason of the failure, which the record tells.
    with suppress(OSError):
        folder.path.mkdir(parents=True, exist_ok=True)
        (folder.path / FAILURE).write_text(traceback.format_exc(), encoding="utf-8")


def known_record(folder: RunFolder, film: Film, judges: Judges) -> Record | None:
    """The record of an earlier comparison, if it still holds for what can be measured now."""
    path = folder.evaluation(film.name) / "record.json"
    if folder.state != "finished" or not path.exists():
        return None
    try:
        record = read_json(path, Record)
    except BadInput:
        # Written by another version: the evaluation is made again, the training is kept.
        return None
    # A metric that was measured then and cannot be now stays measured; the other way round, and
    # where another release measured or a file is gone, the evaluation is made again.
    measured = {metric.name for metric in judges.metrics}
    holds = (
        record.watched_fingerprint == film.fingerprint
        and measured <= set(record.scores)
        and record.environment.film_zoo == importlib.metadata.version("film-zoo")
        and _same_codec(record)
        and (path.parent / HASHES).is_file()
        and (record.kind == "codec" or (path.parent / LATENTS).is_file())
    )
    return record if holds else None


def _same_codec(record: Record) -> bool:
    """Whether what a codec made would come out the same: other libraries code otherwise."""
    here = (av.__version__, av.ffmpeg_version_info)
    return record.kind != "codec" or here == (record.environment.pyav, record.environment.ffmpeg)


def failed_record(cell: Cell, config: TrainingConfig | None, error: BaseException) -> Record:
    """The record of a cell that failed, with the reason in one line."""
    kind = "" if isinstance(error, ZooError) else f"{type(error).__name__}: "
    reason = " ".join(f"{kind}{error}".split())
    return Record(
        model=cell.architecture.name,
        summary=cell.architecture.summary,
        role=cell.architecture.role,
        kind="codec" if issubclass(cell.architecture, FilmCodec) else "autoencoder",
        origin=registry().origins[cell.architecture.name],
        trained_on=cell.film.name,
        watched=cell.watched.name,
        watched_fingerprint=cell.watched.fingerprint,
        seed=cell.settings.seed,
        options=config.options if config else {},
        status="failed",
        reason=reason[:500],
        environment=environment.describe(
            cell.settings.device,
            cell.settings.precision,
            config.compile if config else "none",
        ),
    )
