"""The folder a training leaves: `runs/<film>/<model>/<id>/`.

- run.json: what was asked for, what came of it, on which machine
- weights.safetensors: the weights to use, averaged over the last part of training
- checkpoint.safetensors: everything needed to go on; removed when training is finished
- log.jsonl: losses by player, and scores of a few frames, as training went
- preview.png: originals over reconstructions, refreshed while it trains
- curves.png: losses and scores of the log, drawn when training ends
- tensorboard/: the same for TensorBoard, where it was asked for
- .lock, and .owner.lock while somebody trains it
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic

from zoo.api.film_entry import is_film_name
from zoo.api.recipe import Recipe
from zoo.base.atomic_files import confined, sync, written_aside
from zoo.base.errors import BadInput, told
from zoo.base.records import Environment, TrainingReceived, write_json
from zoo.base.untrusted_files import check_regular, parse_json, read_json
from zoo.base.workspace import Workspace
from zoo.training.callbacks import Moment, Score

if TYPE_CHECKING:
    pass


State = Literal["new", "training", "interrupted", "finished"]
CompileMode = Literal["none", "default"]
"""Not compiled, or by torch.compile in its default mode."""
FolderName = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""Part of a path: `zoo.base.workspace.check_name` keeps files from leading out of a folder."""


def _film_name(name: str) -> str:
    if not is_film_name(name):
        raise ValueError("a film cannot be called so")
    return name


FilmName = Annotated[str, pydantic.AfterValidator(_film_name)]
"""Part of a path as well: as `zoo.api.film_entry.is_film_name` has it."""


class TrainingConfig(pydantic.BaseModel):
    """Everything that decides what a training comes to; its hash names the run."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    model: FolderName
    origin: str
    """Package and version that brought the model: another version is another training."""
    options: dict[str, Any]
    film: FilmName
    film_fingerprint: str
    """What the film's frames are, and which of them are held out."""
    size: str
    budget: str
    batch: int
    seed: int
    precision: str
    compile: CompileMode = "none"
    """Compiled, floats are added up in another order: the weights come out otherwise."""
    source: str = ""
    """Digest of the source that defines the model: an edited model is another one."""
    recipe: Recipe = Recipe()
    """As the model declares it and the user set it."""
    init_from: str | None = None
    """SHA-256 of the weights that training began with; null where it began anew."""

    @property
    def id(self) -> str:
        """A name that tells people the seed and size, and machines everything."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:10]
        return f"{self.size}-{self.budget}-seed{self.seed}-{digest}"


@dataclass(frozen=True)
class Start:
    """Weights to begin with, in place of new ones."""

    run: str
    """The run that left them, for people."""
    weights: Path
    digest: str
    """SHA-256 of the file."""


class RunFile(pydantic.BaseModel):
    """`run.json`: strict and versioned."""

    model_config = pydantic.ConfigDict(extra="forbid")

    schema_version: Literal[3] = 3
    state: State
    config: TrainingConfig
    environment: Environment
    training: TrainingReceived | None = None
    frames_fingerprint: str | None = None
    """What all frames of the film are, whichever are held out."""
    data_stall: float | None = None
    """Share of the training's time spent waiting for frames; null where nothing was trained."""
    started_from: str | None = None
    """The run whose weights it began with."""
    film_on_device: bool | None = None
    """Whether all training frames lay on the GPU, or came batch by batch; null where unknown."""
    score: dict[str, dict[str, float]] | None = None
    """What a few fixed frames scored with the final weights, by part (`held_out`, `seen`, and
    `mean_frame`: the mean of training frames in place of each) and metric; null before."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run."""

    path: Path

    @classmethod
    def of(cls, workspace: Workspace, config: TrainingConfig) -> RunFolder:
        """Where the run of this configuration lies, whether or not it is there yet.

        Raises BadInput where a folder below `runs` on the way there is a link.
        """
        path = workspace.runs / config.film / config.model / config.id
        return cls(confined(path, workspace.runs))

    @property
    def file(self) -> Path:
        """The run's description."""
        return self.path / "run.json"

    @property
    def weights(self) -> Path:
        """Final weights."""
        return self.path / "weights.safetensors"

    @property
    def checkpoint(self) -> Path:
        """State to go on from."""
        return self.path / "checkpoint.safetensors"

    @property
    def log(self) -> Path:
        """Losses, one JSON object a line."""
        return self.path / "log.jsonl"

    @property
    def preview(self) -> Path:
        """Originals over reconstructions."""
        return self.path / "preview.png"

    def evaluation(self, evaluated_on: str) -> Path:
        """The folder of what the model made of a film; raises BadInput where it is a link."""
        return confined(self.path / "evaluation" / evaluated_on, self.path)

    @property
    def tensorboard(self) -> Path:
        """The folder of scalars for TensorBoard; raises BadInput where it is a link."""
        return confined(self.path / "tensorboard", self.path)

    def read(self) -> RunFile | None:
        """The run's description; None if there is no run yet. Raises BadInput if damaged."""
        return read_json(self.file, RunFile) if self.file.exists() else None

    def write(self, description: RunFile) -> None:
        """Write the run's description, whole or not at all, once what it speaks of is on disk."""
        if self.path.exists():
            sync(self.path)
        write_json(self.file, description)

    @property
    def state(self) -> State:
        """How far the run is."""
        description = self.read()
        return description.state if description else "new"


class Log:
    """The log of a run: lines are added as training goes, and cut back on resuming."""

    def __init__(self, path: Path, keep_up_to_step: int) -> None:
        self.path = path
        lines = []
        if path.exists():
            check_regular(path)
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        # A last line that was cut short by a kill is left out.
        whole = [line for line in lines if line.endswith("\n")]
        kept = [line for line in whole if _step(line, path) <= keep_up_to_step]
        # Also where all are kept: if a link is there, lines are not added to what it points to.
        with written_aside(path) as aside:
            aside.write_text("".join(kept), encoding="utf-8")

    def add(self, moment: Moment) -> None:
        """Add one line and hand it to the operating system at once."""
        entry: dict[str, Any] = {
            "step": moment.step,
            "frames": moment.frames,
            "losses": moment.losses,
            "seconds": round(moment.seconds, 3),
            "data_stall": round(moment.data_stall, 4),
        }
        if moment.logged:
            entry["logged"] = moment.logged
        if moment.score:
            entry["score"] = {"step": moment.score.step, **moment.score.values}
        with told(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, allow_nan=False) + "\n")


def _step(line: str, path: Path) -> int:
    try:
        return int(parse_json(line)["step"])
    except (ValueError, OverflowError, KeyError, TypeError):
        raise BadInput(f"{path} is damaged; delete it and try again") from None


LONGEST_LINE = 1 << 20
"""Bytes of a line in a log; ours take some hundreds."""
MOST_ENTRIES = 50_000


@dataclass(frozen=True)
class LogEntry:
    """One line of a run's log."""

    step: int
    frames: int
    seconds: float
    losses: Mapping[str, Mapping[str, float]]
    """By player and term: means since the line before."""
    logged: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By player and name, what the model logs beside its losses: means as well."""
    score: Score | None = None
    """Of a few frames, where there was one since the line before."""


def read_log(path: Path) -> list[LogEntry]:
    """Read a `log.jsonl`; a last line that is cut short or still being written is left out.

    Of a log of very many lines, evenly spaced ones are read. A file that is not there is an empty
    log. Raises BadInput if a line is not one of a log.
    """
    entries: list[LogEntry] = []
    every = 1
    try:
        check_regular(path)
        with path.open("rb") as file:
            for number in itertools.count():
                line = file.readline(LONGEST_LINE)
                if not line.endswith(b"\n"):
                    if len(line) == LONGEST_LINE:
                        raise BadInput(f"{path} is damaged at line {number + 1}")
                    break
                if number % every == 0:
                    entries.append(_entry(line, f"{path} is damaged at line {number + 1}"))
                if len(entries) > MOST_ENTRIES:
                    entries, every = entries[::2], 2 * every
    except FileNotFoundError:
        return []
    return entries


def last_entry(path: Path) -> LogEntry | None:
    """Read the last whole line of a log, however long the log is; raises BadInput as `read_log`."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 65_536))
            lines = file.read().splitlines(keepends=True)
    except FileNotFoundError:
        return None
    whole = [line for line in lines if line.endswith(b"\n")]
    if not whole:
        return None
    return _entry(whole[-1], f"{path} is damaged at its end")


def _entry(line: bytes, complaint: str) -> LogEntry:
    try:
        found = parse_json(line)
        score = found.get("score")
        entry = LogEntry(
            step=int(found["step"]),
            frames=int(found["frames"]),
            seconds=float(found["seconds"]),
            losses=_numbers(found["losses"]),
            logged=_numbers(found.get("logged", {})),
            score=None if score is None else Score(int(score.pop("step")), _numbers(score)),
        )
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError):
        raise BadInput(complaint) from None
    counts = [entry.step, entry.frames, entry.score.step if entry.score else 0]
    if not math.isfinite(entry.seconds) or not all(0 <= c < 1 << 62 for c in counts):
        raise BadInput(complaint)
    return entry


def _numbers(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Numbers by two names; raises ValueError where one is not finite, or what is no such thing."""
    numbers = {
        str(group): {str(name): float(value) for name, value in values.items()}
        for group, values in found.items()
    }
    if not all(math.isfinite(value) for group in numbers.values() for value in group.values()):
        raise ValueError
    return numbers
