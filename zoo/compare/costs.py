"""Costs in a pass of their own: every model once, one after another, with nothing beside them.

Ratios of speeds belong to one process, so a pass is kept as a whole (`.zoo/costs/`): it is found
again for its models, or some of them, on the same machine. With any other model the whole set is
measured again.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import pydantic
import torch

from zoo.base import environment
from zoo.base.atomic_files import confined, kept_if_possible
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.records import Cost, Environment, Record, write_json
from zoo.base.untrusted_files import read_json
from zoo.base.workspace import Workspace
from zoo.evaluation.cost import CostSubject, Machine, measure_cost
from zoo.evaluation.model_summary import anatomy
from zoo.plugins.model_building import parse_options
from zoo.training.heap import keep_freed_memory
from zoo.training.run_folder import RunFolder

BENCH_VERSION: Literal[1] = 1
TIMINGS = (
    *("train", "encode", "decode", "round_trip"),
    *("encode_one", "decode_one", "round_trip_one"),
)
_SAME_SPEED = {"commit", "pyav", "ffmpeg"}
"""What an environment says that changes no speed, or that another release tells as well."""

Watch = Callable[[CostSubject, int, int], None]
"""Told of each subject before it is measured, with its number from 1 up and how many there are."""


class BenchRow(pydantic.BaseModel):
    """One model of a pass."""

    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)

    subject: CostSubject
    parameters: int | None
    """Trained ones; null where the model could not be built."""
    cost: Cost

    @property
    def failure(self) -> str | None:
        """Why nothing could be timed; None if something was."""
        if any(getattr(self.cost, timing) for timing in TIMINGS):
            return None
        return next(iter(self.cost.unavailable.values()), "nothing could be timed")


class Bench(pydantic.BaseModel):
    """A pass, as `results/bench.json` and `.zoo/costs/` hold it."""

    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = BENCH_VERSION
    created: str
    """UTC, ISO 8601."""
    command: str | None
    """What measures this again; null for a pass within a comparison."""
    environment: Environment
    rows: list[BenchRow]


def nobody(subject: CostSubject, number: int, count: int) -> None:
    """A watcher that looks away."""


def measure_all(
    subjects: Iterable[CostSubject],
    device: torch.device,
    *,
    watch: Watch = nobody,
    command: str | None = None,
) -> Bench:
    """Measure every distinct subject once, in order, on as many threads as torch has now.

    Nothing that computes or draws should run in this process meanwhile, a live display included.
    A subject that fails is a row with its reasons. Raises BadInput if there are none.
    """
    distinct = _distinct(subjects)
    if not distinct:
        raise BadInput("there is no model to measure")
    threads = torch.get_num_threads()
    if device.type == "cpu":
        # Training does so, and what is set for a process stays.
        keep_freed_memory()
    machine = Machine(device)
    rows = []
    for number, subject in enumerate(distinct, start=1):
        watch(subject, number, len(distinct))
        # A plugin may have changed it.
        torch.set_num_threads(threads)
        cost = measure_cost(subject, machine)
        rows.append(BenchRow(subject=subject, parameters=_parameters(subject), cost=cost))
    torch.set_num_threads(threads)
    return Bench(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=command,
        environment=_environment(distinct, device),
        rows=rows,
    )


def costs_of(
    workspace: Workspace,
    subjects: Iterable[CostSubject],
    device: torch.device,
    *,
    overwrite: bool = False,
    watch: Watch = nobody,
) -> dict[str, Cost]:
    """Costs by `CostSubject.key`: those of an earlier pass over these models, or measured now.

    An earlier pass may have had more models. `overwrite` measures whatever is there. A pass in
    which a model failed is not kept.
    """
    distinct = _distinct(subjects)
    if not distinct:
        return {}
    here = _environment(distinct, device)
    wanted = {subject.key for subject in distinct}
    bench = None if overwrite else _found(workspace, wanted, here)
    if bench is None:
        bench = measure_all(distinct, device, watch=watch)
        if not any(row.failure for row in bench.rows):
            with kept_if_possible("measured costs"):
                write_json(_folder(workspace) / f"{_digest(wanted, here)}.json", bench)
    return {row.subject.key: row.cost for row in bench.rows if row.subject.key in wanted}


def subjects_of(workspace: Workspace, records: Sequence[Record]) -> dict[int, CostSubject]:
    """What is to be measured for records of this workspace's runs, by their places.

    Nothing for failed records, for codecs, which are timed where they code, and for other films
    than a model's own.
    """
    return {
        number: CostSubject.of(run.config)
        for number, record in enumerate(records)
        if record.status == "ok" and record.kind == "autoencoder" and record.run
        if record.trained_on == record.evaluated_on
        if (run := RunFolder(workspace.root / record.run).read())
    }


def with_costs(
    records: Sequence[Record], subjects: Mapping[int, CostSubject], costs: Mapping[str, Cost]
) -> list[Record]:
    """The records with the costs of their subjects, by `CostSubject.key`."""
    return [
        record.model_copy(update={"cost": costs[subjects[number].key]})
        if number in subjects
        else record
        for number, record in enumerate(records)
    ]


def _distinct(subjects: Iterable[CostSubject]) -> list[CostSubject]:
    return list({subject.key: subject for subject in subjects}.values())


def _environment(subjects: Sequence[CostSubject], device: torch.device) -> Environment:
    # What is fitted directly is never compiled, and does not say how the others are.
    said = next((s for s in subjects if s.compile != "none"), subjects[0])
    return environment.describe(device, said.precision, said.compile)


def _folder(workspace: Workspace) -> Path:
    return confined(workspace.costs, workspace.costs.parent)


def _found(workspace: Workspace, wanted: set[str], here: Environment) -> Bench | None:
    """The latest pass on this machine that measured all these models; None without one."""
    passes = [
        bench
        for path in _folder(workspace).glob("*.json")
        if (bench := _kept(path)) and _same_machine(bench.environment, here)
        if wanted <= {row.subject.key for row in bench.rows}
    ]
    return max(passes, key=lambda bench: bench.created, default=None)


def _same_machine(there: Environment, here: Environment) -> bool:
    return there.model_dump(exclude=_SAME_SPEED) == here.model_dump(exclude=_SAME_SPEED)


def _digest(wanted: set[str], here: Environment) -> str:
    """What a pass over these subjects on this machine is kept under."""
    decisive = {
        "version": BENCH_VERSION,
        "subjects": sorted(wanted),
        "environment": here.model_dump(mode="json", exclude=_SAME_SPEED),
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def _kept(path: Path) -> Bench | None:
    try:
        return read_json(path, Bench)
    except BadInput:
        # Written by another version, or damaged: it is measured again.
        return None


def _parameters(subject: CostSubject) -> int | None:
    """Trained parameters, counted without weights; None where the model cannot be built."""
    try:
        architecture = subject.architecture
        options = parse_options(architecture, subject.options)
        return anatomy(architecture, FrameSize.parse(subject.size), options).parameters
    except (Exception, SystemExit):
        return None  # the cost says why
