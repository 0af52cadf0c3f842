"""The matrix of models and films: run each cell, gather the records, go on past failures."""

from __future__ import annotations

import datetime
import importlib.metadata
import shutil
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av

from zoo import environment
from zoo.autoencoder import Autoencoder
from zoo.codec import FilmCodec
from zoo.errors import BadInput, ZooError
from zoo.evaluation.coding import coding_config, ensure_coded, evaluate_coding
from zoo.evaluation.evaluate import evaluate
from zoo.evaluation.watch import Judges
from zoo.films.film import Film
from zoo.plugins import registry
from zoo.records import MetricInfo, Record, Results, read_json
from zoo.training.engine import Interrupted
from zoo.training.jobs import Settings, ensure_trained
from zoo.training.run_folder import RunFolder, TrainingConfig
from zoo.training.watching import Moment, StopRequest
from zoo.workspace import Workspace

FAILURE = "failure.txt"
"""The traceback of a cell that failed, in its run's folder."""


@dataclass(frozen=True)
class Cell:
    """One model or reference on one film."""

    film: Film
    architecture: type[Autoencoder] | type[FilmCodec]


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

    def finished(self, cell: Cell, record: Record, found: bool) -> None:
        """A cell has its record, good or failed; `found` says that it is an earlier one."""


def plan(films: Sequence[Film], models: Sequence[type[Autoencoder]]) -> list[Cell]:
    """Every model on every film, film by film, and after the models every reference."""
    references = [r for r in registry().references.values() if r not in models]
    codecs = registry().codecs.values()
    rows: list[type[Autoencoder] | type[FilmCodec]] = [*models, *references, *codecs]
    return [Cell(film, entry) for film in films for entry in rows]


def run(
    workspace: Workspace,
    cells: Sequence[Cell],
    settings: Settings,
    judges: Judges,
    watcher: Watcher,
    stop: StopRequest,
    afresh: bool = False,
) -> list[Record]:
    """Train and evaluate what is missing, cell by cell; a failed cell becomes a failed record.

    `afresh` makes everything again, as after a change in a model's code, which no run knows of.
    Raises Interrupted when `stop` was asked; what is finished is found again the next time.
    """
    records = []
    for cell in cells:
        watcher.started(cell)
        record, found = _run_cell(workspace, cell, settings, judges, watcher, stop, afresh)
        watcher.finished(cell, record, found)
        records.append(record)
    return records


def _run_cell(
    workspace: Workspace,
    cell: Cell,
    settings: Settings,
    judges: Judges,
    watcher: Watcher,
    stop: StopRequest,
    afresh: bool,
) -> tuple[Record, bool]:
    # A plugin is a stranger's code: whatever goes wrong in its cell, memory running out or a
    # call of sys.exit included, costs this cell and no other. What it was is kept in full.
    config = folder = None
    try:
        config = _config(cell, settings)
        folder = RunFolder.of(workspace, config)
        known = None if afresh else known_record(folder, cell.film, judges)
        if known:
            return known.model_copy(update={"seed": settings.seed}), True
        if issubclass(cell.architecture, FilmCodec):
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
        judge = evaluate_coding if issubclass(cell.architecture, FilmCodec) else evaluate
        record = judge(workspace, folder, config, cell.film, judges, settings.device)
        (folder.path / FAILURE).unlink(missing_ok=True)
        return record.model_copy(update={"seed": settings.seed}), False
    except Interrupted:
        raise
    except (Exception, SystemExit) as error:
        if folder:
            _keep_traceback(folder)
        return failed_record(cell, settings, config, error), False


def _config(cell: Cell, settings: Settings) -> TrainingConfig:
    if issubclass(cell.architecture, FilmCodec):
        return coding_config(cell.architecture, cell.film, settings)
    return settings.config(cell.architecture, cell.film)


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
    # where another release measured or a picture is gone, the evaluation is made again.
    measured = {metric.name for metric in judges.metrics}
    pictures = (name for p in record.pictures for name in (p.original, p.reconstruction))
    holds = (
        measured <= set(record.scores)
        and record.environment.film_zoo == importlib.metadata.version("film-zoo")
        and _same_codec(record)
        and all((path.parent / name).is_file() for name in pictures)
    )
    return record if holds else None


def _same_codec(record: Record) -> bool:
    """Whether what a codec made would come out the same: other libraries code otherwise."""
    here = (av.__version__, av.ffmpeg_version_info)
    return record.kind != "codec" or here == (record.environment.pyav, record.environment.ffmpeg)


def failed_record(
    cell: Cell, settings: Settings, config: TrainingConfig | None, error: BaseException
) -> Record:
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
        watched=cell.film.name,
        seed=settings.seed,
        options=config.options if config else {},
        status="failed",
        reason=reason[:500],
        environment=environment.describe(
            settings.device, settings.precision, config.compile if config else "none"
        ),
    )


def gather(
    films: Sequence[Film],
    records: list[Record],
    settings: Settings,
    judges: Judges,
    command: str,
) -> Results:
    """Everything that a report is made from."""
    return Results(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=command,
        preset=settings.preset,
        budget=str(settings.budget),
        batch=settings.batch,
        films=[film.info() for film in films],
        metrics=[
            MetricInfo(
                name=metric.name,
                label=metric.label,
                unit=metric.unit,
                better=metric.better,
                digits=metric.digits,
                source=metric.source,
                unavailable=judges.unavailable.get(metric.name),
            )
            for metric in registry().metrics.values()
        ],
        records=records,
    )


def bring_pictures(workspace: Workspace, records: Sequence[Record], results: Path) -> list[Record]:
    """Copy the pictures of every record from its run into the results' own folder.

    Originals are the same for all models of a film and are kept once. Returns the records with
    paths relative to the results' folder, so that the folder stands on its own.
    """
    # What an earlier comparison of other films left would stand there without a word.
    shutil.rmtree(results / "figures" / "frames", ignore_errors=True)
    moved = []
    for record in records:
        pictures = []
        for picture in record.pictures:
            assert record.run is not None, "a record with pictures has a run"
            source = RunFolder(workspace.root / record.run).evaluation(record.watched)
            frames = Path("figures") / "frames" / record.watched
            original = frames / "original" / f"{picture.frame:06d}.png"
            drawn = frames / record.model / f"{picture.frame:06d}.png"
            for name, place in ((picture.original, original), (picture.reconstruction, drawn)):
                (results / place).parent.mkdir(parents=True, exist_ok=True)
                (results / place).write_bytes((source / name).read_bytes())
            pictures.append(
                picture.model_copy(
                    update={"original": original.as_posix(), "reconstruction": drawn.as_posix()}
                )
            )
        moved.append(record.model_copy(update={"pictures": pictures}))
    return moved
