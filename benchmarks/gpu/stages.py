"""The stages of a run in their order, and the messages between supervisor and worker."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from zoo.base.gpu_records import (
    NOT_REACHED,
    FilmResult,
    MachineResult,
    MediaResult,
    SmokeResult,
    Stage,
    State,
    ThroughputResult,
    WorkloadResult,
)
from zoo.base.untrusted_files import read_json

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Plan:
    """The kind of a stage's results, and its share of the time."""

    kind: type[Stage[Any]]
    share: float
    """Share of the remaining time, relative to the shares of later stages. Time that a stage leaves
    over goes to those after it, as does the time of a stage that was not chosen."""
    item: float
    """Share of the stage's time that one measurement may take, so that none starves the others."""


STAGES = {
    "machine": Plan(Stage[MachineResult], share=0.02, item=1.0),
    "smoke": Plan(Stage[SmokeResult], share=0.14, item=0.4),
    "throughput": Plan(Stage[ThroughputResult], share=0.27, item=0.3),
    "workload": Plan(Stage[WorkloadResult], share=0.15, item=0.7),
    "media": Plan(Stage[MediaResult], share=0.08, item=0.5),
    "films": Plan(Stage[FilmResult], share=0.34, item=1.0),
}
"""By name: the module `benchmarks.gpu.<name>` does the work and `<name>.json` holds its results."""


class Setup(pydantic.BaseModel):
    """Settings that all stages of a run share."""

    model_config = pydantic.ConfigDict(frozen=True)

    device: str
    tiny: bool
    films: list[Path]
    licence: str | None = None
    """The licence of the films, as the user states it."""
    models: list[str]
    """Models to try; empty means all."""
    out: Path
    work: Path
    """A folder for frames and runs, removed at the end."""


class Order(pydantic.BaseModel):
    """One line to a worker: do this stage, or what is left of it."""

    stage: str
    setup: Setup
    seconds: float
    """Seconds for the stage once the worker begins it; the worker's start-up is not counted."""
    deadline: float
    """Seconds since 1970: no item is begun after it."""


def stage_file(out: Path, name: str) -> Path:
    """Return the file of a stage's results."""
    return out / f"{name}.json"


def close(stage: Stage[Any], state: State, why: str) -> None:
    """Mark a stage that has ended, and those of its items that it did not get to."""
    for item in stage.items:
        if item.state in ("running", "waiting"):
            item.error = [why if item.state == "running" else NOT_REACHED]
            item.state = state
    if stage.state in ("running", "waiting"):
        stage.state, stage.error = state, [why]


def time_is_over(allowed: float) -> str:
    """Why a stage was cut off."""
    return f"the stage's {allowed:.0f} s were over"


def read_stage(out: Path, name: str) -> Stage[Any]:
    """A stage's results so far; raises BadInput if its file is damaged."""
    return read_json(stage_file(out, name), STAGES[name].kind)


def without_folders(line: str) -> str:
    """A line to publish, without the folders of this machine: of its code, and its user's."""
    for folder in sorted({str(ROOT), *sys.path}, key=len, reverse=True):
        if len(folder) > 1:
            line = line.replace(f"{folder}/", "")
    return line.replace(str(Path.home()), "~")
