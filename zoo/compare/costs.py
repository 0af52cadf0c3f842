"""Measure the costs of several models in one pass, one at a time, while nothing else runs.

Speeds are only comparable within one process, so a pass is saved as a whole (`.zoo/costs/`). It is
reused for its models, or some of them, on the same machine; with any other model all of them are
measured again.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pydantic
import torch

from zoo.base import devices
from zoo.base.atomic_files import best_effort, confined, write_json
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.records import Cost, Environment, Record
from zoo.base.untrusted_files import read_json
from zoo.base.workspace import Workspace
from zoo.evaluation.cost import CostSubject, Profiler, measure_cost
from zoo.evaluation.model_summary import summarise_model
from zoo.plugins.model_building import parse_options
from zoo.report.costs import TIMINGS
from zoo.training.run_folder import RunFolder
from zoo.training.throughput_and_memory import keep_freed_memory

BENCH_VERSION: Literal[1] = 1
_SAME_SPEED = {"commit", "pyav", "ffmpeg"}
"""Fields of an environment that do not affect speed, or are implied by others."""

OnSubject = Callable[[CostSubject, int, int], None]
"""Called with each subject before it is measured, its number from 1 up and how many there are."""


class BenchRow(pydantic.BaseModel):
    """One model of a pass."""

    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)

    subject: CostSubject
    parameters: int | None
    """Trained parameters; null if the model could not be built."""
    cost: Cost

    @property
    def failure(self) -> str | None:
        """Why nothing could be timed; None if anything was."""
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
    """The command that measures it again; null for a pass within a comparison."""
    environment: Environment
    rows: list[BenchRow]


def measure_all(
    subjects: Iterable[CostSubject],
    device: torch.device,
    *,
    on_subject: OnSubject = lambda *_: None,
    command: str | None = None,
) -> Bench:
    """Measure every distinct subject once, in order, on as many threads as torch has now.

    Nothing else should compute in this process meanwhile, not even a live display. A subject that
    fails becomes a row with the reasons. Raises BadInput if there are none.
    """
    distinct = _distinct(subjects)
    if not distinct:
        raise BadInput("there is no model to measure")
    threads = torch.get_num_threads()
    if device.type == "cpu":
        # As training does; it cannot be unset in a process.
        keep_freed_memory()
    profiler = Profiler(device)
    rows = []
    for number, subject in enumerate(distinct, start=1):
        on_subject(subject, number, len(distinct))
        # A plugin may have changed the number of threads.
        torch.set_num_threads(threads)
        cost = measure_cost(subject, profiler)
        rows.append(BenchRow(subject=subject, parameters=_parameters(subject), cost=cost))
    torch.set_num_threads(threads)
    return Bench(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=command,
        environment=_environment(distinct, device),
        rows=rows,
    )


def load_or_measure_costs(
    workspace: Workspace,
    subjects: Iterable[CostSubject],
    device: torch.device,
    *,
    overwrite: bool = False,
    on_subject: OnSubject = lambda *_: None,
) -> dict[str, Cost]:
    """Return costs by `CostSubject.key`, from a saved pass over these models or measured now.

    A saved pass may have more models. `overwrite` measures in any case. A pass in which a model
    failed is not saved.
    """
    distinct = _distinct(subjects)
    if not distinct:
        return {}
    here = _environment(distinct, device)
    wanted = {subject.key for subject in distinct}
    bench = None if overwrite else _saved_pass(workspace, wanted, here)
    if bench is None:
        bench = measure_all(distinct, device, on_subject=on_subject)
        if not any(row.failure for row in bench.rows):
            with best_effort("measured costs"):
                write_json(_folder(workspace) / f"{_digest(wanted, here)}.json", bench)
    return {row.subject.key: row.cost for row in bench.rows if row.subject.key in wanted}


def cost_subjects(workspace: Workspace, records: Sequence[Record]) -> dict[int, CostSubject]:
    """Return the subjects to measure for records of this workspace's runs, by record index.

    Failed records have none, nor do evaluations on other films and codecs, which are timed when
    they encode.
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
    """The records with the costs of their subjects; `costs` are by `CostSubject.key`."""
    return [
        record.model_copy(update={"cost": costs[subjects[number].key]})
        if number in subjects
        else record
        for number, record in enumerate(records)
    ]


def _distinct(subjects: Iterable[CostSubject]) -> list[CostSubject]:
    return list({subject.key: subject for subject in subjects}.values())


def _environment(subjects: Sequence[CostSubject], device: torch.device) -> Environment:
    # References that are fitted directly are never compiled; look at the others.
    shown = next((s for s in subjects if s.compile != "none"), subjects[0])
    return devices.describe(device, shown.precision, shown.compile)


def _folder(workspace: Workspace) -> Path:
    return confined(workspace.costs, workspace.costs.parent)


def _saved_pass(workspace: Workspace, wanted: set[str], here: Environment) -> Bench | None:
    """The latest saved pass on this machine with all these models; None without one."""
    passes = [
        bench
        for path in _folder(workspace).glob("*.json")
        if (bench := _read_pass(path)) and _deciding(bench.environment) == _deciding(here)
        if wanted <= {row.subject.key for row in bench.rows}
    ]
    return max(passes, key=lambda bench: bench.created, default=None)


def _deciding(environment: Environment) -> dict[str, Any]:
    """Return the fields of an environment that speed depends on."""
    return environment.model_dump(mode="json", exclude=_SAME_SPEED)


def _digest(wanted: set[str], here: Environment) -> str:
    """The file name of a pass over these subjects on this machine."""
    decisive = {
        "version": BENCH_VERSION,
        "subjects": sorted(wanted),
        "environment": _deciding(here),
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def _read_pass(path: Path) -> Bench | None:
    try:
        return read_json(path, Bench)
    except BadInput:
        # Written by another version, or damaged: measure again.
        return None


def _parameters(subject: CostSubject) -> int | None:
    """Trained parameters, counted without weights; None where the model cannot be built."""
    try:
        architecture = subject.architecture
        options = parse_options(architecture, subject.options)
        return summarise_model(architecture, FrameSize.parse(subject.size), options).parameters
    except (Exception, SystemExit):
        return None  # the cost says why
