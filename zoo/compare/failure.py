"""The record of a cell that failed."""

from __future__ import annotations

from zoo.api.codec import FilmCodec
from zoo.base import environment
from zoo.base.errors import ZooError
from zoo.base.records import Environment, Record
from zoo.base.text import error_line, one_line
from zoo.compare.plan import Cell
from zoo.plugins.entry_points import line_of_plugin
from zoo.plugins.registry import registry
from zoo.training.run_folder import TrainingConfig

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
