"""The runs of a workspace: found, named as a user names them, and removed.

Nothing here needs torch. Whatever lies in `runs/` is looked at and never trusted: a folder that
is no run, or no longer one, is found with the reason.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zoo.base.atomic_files import confined
from zoo.base.errors import BadInput, ZooError
from zoo.base.locks import IN_FOLDER, alone, holder, is_lock
from zoo.base.records import Record
from zoo.base.untrusted_files import read_json
from zoo.base.workspace import Workspace
from zoo.training.run_folder import RunFile, RunFolder, last_entry

SHORTEST_DIGEST = 4
CANDIDATES_NAMED = 6
_DIGEST = re.compile(r".+-([0-9a-f]{10})")

Standing = Literal["training", "stopped", "interrupted", "finished", "damaged"]
"""`stopped`: its description says that it is being trained, but nobody trains it."""


@dataclass(frozen=True)
class Run:
    """One folder of `runs/` as it was found."""

    folder: RunFolder
    name: str
    """Its path below `runs/`, with slashes: `<film>/<model>/<id>`."""
    standing: Standing
    problem: str | None = None
    """Why it is damaged, in one line."""
    description: RunFile | None = None
    """None where it could not be read, or is not written yet."""
    frames: int | None = None
    """Frames trained on so far; None where nobody counted, as for a reference."""
    seconds: float | None = None
    record: Record | None = None
    """What came of evaluating it on its own film."""
    record_problem: str | None = None
    touched: float | None = None
    """When a file of it was last written, in seconds since 1970."""

    @property
    def film(self) -> str:
        """The film's name, as the folder has it."""
        return self._part(0)

    @property
    def model(self) -> str:
        """The model's name, as the folder has it."""
        return self._part(1)

    @property
    def id(self) -> str:
        """The last part of the name."""
        return self.name.rsplit("/", 1)[-1]

    @property
    def digest(self) -> str:
        """The part of the id that no other run has: its end, or all of one we did not make."""
        parts = _DIGEST.fullmatch(self.id)
        return parts[1] if parts else self.id

    def _part(self, index: int) -> str:
        parts = self.name.split("/")
        return parts[index] if len(parts) == 3 else ""


def find_runs(workspace: Workspace) -> list[Run]:
    """Look at every run of a workspace, in the order of their names."""
    root = workspace.runs
    if not root.is_dir():
        return []
    return [_look_at(path, _name(path, root)) for path in _folders(root, depth=3)]


def choose_run(runs: Sequence[Run], word: str, workspace: Workspace) -> Run:
    """Return the one run that a user's word means.

    A word is a run's path or name, its id, a film's and model's name, or the beginning of a name,
    an id or an id's digest. Raises BadInput with the candidates if it means none or several.
    """
    wanted = _below(workspace.runs, word)
    for meant in _readings(runs, wanted) if wanted else ():
        if len(meant) == 1:
            return meant[0]
        if meant:
            raise BadInput(f"{word!r} may be {_named(meant)}")
    there_are = (
        f"there are {_named(runs)}" if runs else f"there are no runs here{workspace.is_above}"
    )
    raise BadInput(f"no run is called {word!r}; {there_are}")


def _readings(runs: Sequence[Run], wanted: str) -> Iterator[list[Run]]:
    """What a word may mean, the narrowest reading first."""
    yield [run for run in runs if wanted in (run.name, run.id)]
    yield [run for run in runs if run.name.startswith(wanted + "/")]
    yield [
        run
        for run in runs
        if any(part.startswith(wanted) for part in (run.name, run.id, run.digest))
    ]


def short_digests(runs: Sequence[Run]) -> dict[str, str]:
    """By name: the shortest beginnings of the ids' digests that tell the runs apart."""
    digests = [run.digest for run in runs]
    short = {run.name: run.digest for run in runs}
    for run in runs:
        if run.digest == run.id:
            continue
        for length in range(SHORTEST_DIGEST, len(run.digest)):
            if sum(other.startswith(run.digest[:length]) for other in digests) == 1:
                short[run.name] = run.digest[:length]
                break
    return short


def refuse_to_remove(run: Run, workspace: Workspace) -> None:
    """Raise BadInput if removing this run would be wrong: it is in use, or lies elsewhere."""
    if run.folder.path == workspace.runs:  # found so where it cannot be listed
        raise BadInput(f"{run.folder.path} holds all runs, and cannot be read")
    confined(run.folder.path, workspace.runs)
    if who := holder(run.folder.path / IN_FOLDER):
        raise BadInput(f"{run.name} is being trained by {who}; stop it first")


def remove_run(run: Run, workspace: Workspace) -> None:
    """Delete a run's folder, and those above it that this leaves empty.

    Raises BadInput as `refuse_to_remove`, and ZooError if files could not be deleted.
    """
    refuse_to_remove(run, workspace)
    path = run.folder.path
    try:
        with alone(path / IN_FOLDER, run.name, waiting=None):
            # First, so that a removal cut short leaves nothing that passes for a finished run.
            run.folder.file.unlink(missing_ok=True)
            shutil.rmtree(path)
    except OSError as error:
        raise ZooError(f"{error.filename or path}: {error.strerror}") from None
    above = path.parent
    while above != workspace.runs:
        with suppress(OSError):  # not empty
            above.rmdir()
        above = above.parent


def files_of(run: Run) -> dict[str, int]:
    """Sizes in bytes of a run's files, by their path in its folder."""
    return {
        path.relative_to(run.folder.path).as_posix(): status.st_size
        for path, status in _files(run.folder.path)
    }


def _folders(path: Path, depth: int) -> Iterator[Path]:
    """Folders that are runs by their place, `depth` below, or by holding a description."""
    try:
        children = [child for child in sorted(path.iterdir()) if child.is_dir()]
    except OSError:
        yield path
        return
    for child in children:
        if child.name.startswith("."):
            continue
        if depth == 1 or _holds_run(child):
            yield child
        else:
            yield from _folders(child, depth - 1)


def _holds_run(folder: Path) -> bool:
    try:
        return (folder / "run.json").exists()
    except OSError:  # what may not be read is found so when it is listed
        return False


def _name(path: Path, root: Path) -> str:
    """A run's path below `runs/`; that of `runs/` itself where it cannot be read."""
    return root.name if path == root else path.relative_to(root).as_posix()


def _look_at(path: Path, name: str) -> Run:
    folder = RunFolder(path)
    touched = max((status.st_mtime for _, status in _files(path)), default=None)
    try:
        return _read(folder, name, touched)
    except (BadInput, OSError) as error:
        said = str(error)
        if not isinstance(error, BadInput):
            said = f"this folder cannot be read: {error.strerror or error}"
        reason = said.removeprefix(f"{path}{os.sep}")
        return Run(folder, name, "damaged", problem=reason, touched=touched)


def _read(folder: RunFolder, name: str, touched: float | None) -> Run:
    """Read a run; raises BadInput or OSError with what is wrong."""
    description = folder.read()
    if description is None:
        if holder(folder.path / IN_FOLDER):  # a training that has just begun
            return Run(folder, name, "training", touched=touched)
        failed = (folder.path / "failure.txt").exists()
        raise BadInput("there is no run.json" + ("; failure.txt says why" if failed else ""))
    config = description.config
    expected = f"{config.film}/{config.model}/{folder.path.name}"
    if name != expected:
        raise BadInput(f"its run.json belongs in {expected}")

    standing: Standing
    match description.state:
        case "finished":
            standing = "finished"
        case _ if holder(folder.path / IN_FOLDER):
            standing = "training"
        case "interrupted":
            standing = "interrupted"
        case _:
            standing = "stopped"
    frames = description.training.frames if description.training else None
    seconds = description.training.seconds if description.training else None
    # A description is written when training begins and when it ends; in between the log knows.
    if standing in ("training", "stopped") and (last := last_entry(folder.log)):
        frames, seconds = last.frames, last.seconds

    record, record_problem = None, None
    try:
        record_path = folder.evaluation(config.film) / "record.json"
        if record_path.exists():
            record = read_json(record_path, Record)
    except BadInput as error:
        record_problem = str(error)
    return Run(
        folder,
        name,
        standing,
        description=description,
        frames=frames,
        seconds=seconds,
        record=record,
        record_problem=record_problem,
        touched=touched,
    )


def _files(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Files below a folder but its locks; one that is gone by now is passed over."""
    for folder, _, names in os.walk(path):
        for name in sorted(names):
            if not is_lock(Path(name)):
                with suppress(OSError):
                    file = Path(folder, name)
                    yield file, file.lstat()


def _below(root: Path, word: str) -> str:
    """A word as a name below `root`, where it is a path that leads there."""
    if "\0" in word:  # no path has one
        return word
    # As it is written first, for a run that is itself a link; then with all links followed.
    for follow in (os.path.abspath, os.path.realpath):
        place, top = Path(follow(word)), Path(follow(root))
        if top in place.parents:
            return place.relative_to(top).as_posix()
    return word.strip("/")


def _named(runs: Sequence[Run]) -> str:
    names = [run.name for run in runs[:CANDIDATES_NAMED]]
    more = len(runs) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
