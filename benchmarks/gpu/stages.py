"""The stages of a run in their order, and what supervisor and worker tell one another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from zoo.base.gpu_records import (
    FilmResult,
    MachineResult,
    MediaResult,
    SmokeResult,
    Stage,
    ThroughputResult,
    WorkloadResult,
)
from zoo.base.untrusted_files import read_json


@dataclass(frozen=True)
class Plan:
    """What one stage is given."""

    kind: type[Stage[Any]]
    until: float
    """Share of the whole time at which it ends at the latest: what an earlier stage leaves of its
    own goes to those after it."""
    item: float
    """Share of the stage's time that one measurement may take, so that none starves the others."""


STAGES = {
    "machine": Plan(Stage[MachineResult], until=0.04, item=1.0),
    "smoke": Plan(Stage[SmokeResult], until=0.30, item=0.3),
    "throughput": Plan(Stage[ThroughputResult], until=0.58, item=0.3),
    "workload": Plan(Stage[WorkloadResult], until=0.70, item=0.6),
    "media": Plan(Stage[MediaResult], until=0.79, item=0.4),
    "films": Plan(Stage[FilmResult], until=1.0, item=0.6),
}
"""By name: the module `benchmarks.gpu.<name>` does the work and `<name>.json` holds its results."""


class Setup(pydantic.BaseModel):
    """What is the same for all stages of a run."""

    model_config = pydantic.ConfigDict(frozen=True)

    device: str
    tiny: bool
    films: list[Path]
    models: list[str]
    """To try; none means all."""
    out: Path
    work: Path
    """A folder for frames and runs, removed at the end."""


class Order(pydantic.BaseModel):
    """One line to a worker: do this stage, or what is left of it."""

    stage: str
    setup: Setup
    deadline: float
    """Seconds since 1970; the worker is killed then."""


def stage_file(out: Path, name: str) -> Path:
    """Where a stage's results are."""
    return out / f"{name}.json"


def read_stage(out: Path, name: str) -> Stage[Any]:
    """A stage's results so far; raises BadInput if its file is damaged."""
    return read_json(stage_file(out, name), STAGES[name].kind)
