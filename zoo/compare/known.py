"""What an earlier comparison left of a cell, where it still holds."""

from __future__ import annotations

from zoo.api.codec import FilmCodec
from zoo.base.records import Record
from zoo.base.workspace import Workspace
from zoo.compare.plan import Cell
from zoo.evaluation.coding import coding_config
from zoo.evaluation.kept import earlier_record, stale_metrics, without_metrics
from zoo.evaluation.watch import Judges
from zoo.films.film import Film
from zoo.training.run_folder import RunFolder, TrainingConfig


def config_of(cell: Cell) -> TrainingConfig:
    """What decides a cell's run; raises BadInput on bad options."""
    if issubclass(cell.architecture, FilmCodec):
        return coding_config(cell.architecture, cell.film, cell.settings)
    return cell.settings.config(cell.architecture, cell.film)


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
