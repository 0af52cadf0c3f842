"""A run's folder, `runs/<film>/<model>/<id>/`: its configuration, description and log.

- run.json: configuration, state, scores and environment
- weights.safetensors: the final weights (EMA)
- checkpoint.safetensors: everything needed to resume; removed when training has finished
- log.jsonl: losses by player, and scores of a few frames, over the training
- scale.safetensors: the quantiser of the latents, in a run that was published
- preview.png: originals over reconstructions, refreshed during training
- progress.html: curves, pictures and scores while it trains, in a page that refreshes itself
- curves.png: losses and scores of the log, plotted when training ends
- tensorboard/, wandb/: the same for other programs, with --track
- .lock, and .owner.lock while a process trains it

Nothing here needs torch.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from zoo.api.film_entry import is_film_name
from zoo.api.recipe_and_events import FULL, Recipe, Score, TrainingEvent
from zoo.base.atomic_files import (
    atomic_write,
    confined,
    link_or_copy,
    remove,
    replace_folder,
    sync,
    write_json,
)
from zoo.base.errors import BadInput, disk_errors
from zoo.base.locks import is_lock
from zoo.base.records import Environment, TrainingReceived
from zoo.base.untrusted_files import check_regular, parse_json, read_json
from zoo.base.workspace import Workspace

LONGEST_LINE = 1 << 20
"""The most bytes of a line in a log; those that film-zoo writes have a few hundred."""
MOST_ENTRIES = 50_000

RunState = Literal["new", "training", "interrupted", "finished"]
CompileMode = Literal["none", "default"]
"""Not compiled, or by torch.compile in its default mode."""
FolderName = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""Part of a path, by the rule of `zoo.base.workspace.check_name`."""


def _film_name(name: str) -> str:
    if not is_film_name(name):
        raise ValueError("a film cannot be called that")
    return name


FilmName = Annotated[str, pydantic.AfterValidator(_film_name)]
"""Part of a path, by the rule of `zoo.api.film_entry.is_film_name`."""


class TrainingConfig(pydantic.BaseModel):
    """Everything that decides the result of a training; its hash names the run."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    model: FolderName
    origin: str
    """Package and version that provide the model: another version is another training."""
    options: dict[str, Any]
    film: FilmName
    film_fingerprint: str
    """Identifies the film's frames, and which of them are held out."""
    size: str
    budget: str
    batch: int
    seed: int
    precision: str
    compile: CompileMode = "none"
    """Part of the identity: compiled code adds floats in another order, so weights differ."""
    source: str = ""
    """Digest of the source that defines the model: an edited model is another model."""
    recipe: Recipe = Recipe()
    """The model's recipe with the user's settings."""
    init_from: str | None = None
    """SHA-256 of the initial weights; null for a new model."""

    @property
    def id(self) -> str:
        """The run's name: size, budget and seed, then a digest of everything."""
        described = self.model_dump(mode="json")
        # Without the default, runs from before there was a choice keep their names.
        if described["recipe"]["weight_bits"] == FULL:
            del described["recipe"]["weight_bits"]
        canonical = json.dumps(described, sort_keys=True)
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:10]
        return f"{self.size}-{self.budget}-seed{self.seed}-{digest}"


@dataclass(frozen=True)
class InitialWeights:
    """Weights of another run that a training starts from."""

    run: str
    """That run's name."""
    weights: Path
    digest: str
    """SHA-256 of the file."""


class RunFile(pydantic.BaseModel):
    """The contents of `run.json`, strict and versioned."""

    model_config = pydantic.ConfigDict(extra="forbid")

    schema_version: Literal[3] = 3
    state: RunState
    config: TrainingConfig
    environment: Environment
    training: TrainingReceived | None = None
    frames_fingerprint: str | None = None
    """Identifies all frames of the film, whichever are held out."""
    data_stall: float | None = None
    """Share of the training's time spent waiting for frames; null if nothing was trained."""
    started_from: str | None = None
    """The run whose weights it started from."""
    film_on_device: bool | None = None
    """Whether all training frames were on the GPU, or loaded batch by batch; null if unknown."""
    score: dict[str, dict[str, float]] | None = None
    """Scores of a few fixed frames with the final weights, by part and metric; null before. Parts
    are `held_out`, `seen` and `mean_frame`, which scores the mean frame in place of the model."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run."""

    path: Path

    @classmethod
    def of(cls, workspace: Workspace, config: TrainingConfig) -> RunFolder:
        """The folder of this configuration's run, whether or not it exists yet.

        Raises BadInput if a folder on the way there, below `runs`, is a link.
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
        """Everything needed to resume."""
        return self.path / "checkpoint.safetensors"

    @property
    def log(self) -> Path:
        """Losses and scores, one JSON object per line."""
        return self.path / "log.jsonl"

    @property
    def scale(self) -> Path:
        """The quantiser of the latents, in a run that `zoo push` published."""
        return self.path / "scale.safetensors"

    @property
    def preview(self) -> Path:
        """Originals over reconstructions."""
        return self.path / "preview.png"

    def evaluation(self, film: str) -> Path:
        """The folder of the evaluation on a film; raises BadInput if it is a link."""
        return confined(self.path / "evaluation" / film, self.path)

    def to_train(self, overwrite: bool) -> RunFolder:
        """Return the folder to train in: a hidden one inside this, to `overwrite` an existing run.

        The earlier run stays until its replacement is complete and `replace` puts it in place.
        Raises BadInput if the hidden folder is a link.
        """
        if not overwrite or not self.file.exists():
            return self
        return RunFolder(confined(self.path / ".replacement", self.path))

    def replace(self, replacement: RunFolder) -> None:
        """Replace the whole run by `replacement`; the caller holds the lock."""
        with replace_folder(self.path) as new:
            shutil.copytree(
                replacement.path, new, symlinks=True, copy_function=link_or_copy, dirs_exist_ok=True
            )

    def read(self) -> RunFile | None:
        """The run's description; None if there is no run yet. Raises BadInput if damaged."""
        return read_json(self.file, RunFile) if self.file.exists() else None

    def write(self, description: RunFile) -> None:
        """Write run.json atomically, after everything else in the folder is on disk."""
        if self.path.exists():
            sync(self.path)
        write_json(self.file, description)

    @property
    def state(self) -> RunState:
        """The state in run.json; `new` if there is none."""
        description = self.read()
        return description.state if description else "new"

    def clear(self, *kept: str) -> None:
        """Make the folder, or remove all but its locks and `kept`; the caller holds the lock."""
        self.path.mkdir(parents=True, exist_ok=True)
        # run.json first, so that a partial removal leaves nothing that passes for a finished run.
        self.file.unlink(missing_ok=True)
        for path in self.path.iterdir():
            if not is_lock(path) and path.name not in kept:
                remove(path)


class RunLog:
    """Appends lines to a run's log; lines after the resumed step are cut off first."""

    def __init__(self, path: Path, keep_up_to_step: int) -> None:
        self.path = path
        lines = []
        if path.exists():
            check_regular(path)
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        # A kill may have cut the last line short.
        whole = [line for line in lines if line.endswith("\n")]
        kept = [line for line in whole if _step(line, path) <= keep_up_to_step]
        # Rewritten even if all lines are kept: a link is replaced, not followed.
        with atomic_write(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")

    def add(self, event: TrainingEvent) -> None:
        """Append one line and flush it to the operating system."""
        entry: dict[str, Any] = {
            "step": event.step,
            "frames": event.frames,
            "losses": event.losses,
            "seconds": round(event.seconds, 3),
            "data_stall": round(event.data_stall, 4),
        }
        if event.logged:
            entry["logged"] = event.logged
        if event.score:
            entry["score"] = {"step": event.score.step, **event.score.values}
        with disk_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, allow_nan=False) + "\n")


def _step(line: str, path: Path) -> int:
    try:
        return int(parse_json(line)["step"])
    except (ValueError, OverflowError, KeyError, TypeError):
        raise BadInput(f"{path} is damaged; delete it and try again") from None


@dataclass(frozen=True)
class LogEntry:
    """One line of a run's log."""

    step: int
    frames: int
    seconds: float
    losses: Mapping[str, Mapping[str, float]]
    """Means since the previous line, by player and term."""
    logged: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Means of what the model logs beside its losses, by player and name."""
    score: Score | None = None
    """The score of a few frames, if there was one since the previous line."""


def read_log(path: Path) -> list[LogEntry]:
    """Read a `log.jsonl`; skips a last line that is cut short or still being written.

    If a log is very long, evenly spaced lines are read. A missing file is an empty log. Raises
    BadInput if a line is damaged.
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
    """Read a line of a log; raises BadInput with `complaint`."""
    try:
        fields = parse_json(line)
        score = fields.get("score")
        entry = LogEntry(
            step=int(fields["step"]),
            frames=int(fields["frames"]),
            seconds=float(fields["seconds"]),
            losses=_numbers(fields["losses"]),
            logged=_numbers(fields.get("logged", {})),
            score=None if score is None else Score(int(score.pop("step")), _numbers(score)),
        )
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError):
        raise BadInput(complaint) from None
    counts = [entry.step, entry.frames, entry.score.step if entry.score else 0]
    if not math.isfinite(entry.seconds) or not all(0 <= c < 1 << 62 for c in counts):
        raise BadInput(complaint)
    return entry


def _numbers(fields: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Read numbers by group and name; raises ValueError if one is not finite or no number."""
    numbers = {
        str(group): {str(name): float(value) for name, value in values.items()}
        for group, values in fields.items()
    }
    if not all(math.isfinite(value) for group in numbers.values() for value in group.values()):
        raise ValueError
    return numbers
