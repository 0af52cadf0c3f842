"""What an earlier comparison left of a cell, where it still holds."""

from __future__ import annotations

import importlib.metadata

import av

from zoo.codec import FilmCodec
from zoo.compare.plan import Cell
from zoo.errors import BadInput
from zoo.evaluation.coding import coding_config
from zoo.evaluation.evaluate import LATENTS
from zoo.evaluation.judge import HASHES
from zoo.evaluation.watch import Judges
from zoo.films.film import Film
from zoo.records import Record, read_json
from zoo.training.run_folder import RunFolder, TrainingConfig
from zoo.workspace import Workspace


def config_of(cell: Cell) -> TrainingConfig:
    """What decides a cell's run; raises BadInput on bad options."""
    if issubclass(cell.architecture, FilmCodec):
        return coding_config(cell.architecture, cell.film, cell.settings)
    return cell.settings.config(cell.architecture, cell.film)


def found(workspace: Workspace, cell: Cell, judges: Judges) -> Record | None:
    """The record of a cell that need not be run again; None where it must be."""
    folder = RunFolder.of(workspace, config_of(cell))
    record = known_record(folder, cell.watched, judges)
    # A record that a stranger wrote may name any folder as its run.
    if record is None or record.run != folder.path.relative_to(workspace.root).as_posix():
        return None
    return record.model_copy(update={"seed": cell.settings.seed})


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
