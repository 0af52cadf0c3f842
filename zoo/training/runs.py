"""The runs of a workspace: find them, choose one by name, remove them.

Nothing here needs torch. Nothing in `runs/` is trusted: a folder that is not a valid run is listed
as damaged, with the reason.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from zoo.base.atomic_files import confined
from zoo.base.errors import BadInput, ZooError
from zoo.base.locks import IN_FOLDER, exclusive_lock, holder, is_lock
from zoo.base.records import Record
from zoo.base.untrusted_files import read_json
from zoo.base.workspace import Workspace
from zoo.training.run_folder import RunFile, RunFolder, last_entry

BUNDLED = Path(__file__).with_name("bundled")
"""Runs that come with film-zoo, one folder each, as `zoo push` writes them."""
SHORTEST_DIGEST = 4
CANDIDATES_NAMED = 6
_DIGEST = re.compile(r".+-([0-9a-f]{10})")

RunStatus = Literal["training", "stopped", "interrupted", "finished", "damaged"]
"""`stopped`: run.json says `training`, but no process is training it."""


@dataclass(frozen=True)
class Run:
    """One folder of `runs/`."""

    folder: RunFolder
    name: str
    """Its path below `runs/`, with slashes: `<film>/<model>/<id>`."""
    status: RunStatus
    problem: str | None = None
    """Why it is damaged, in one line."""
    description: RunFile | None = None
    """None if it could not be read, or is not written yet."""
    frames: int | None = None
    """Frames trained on so far; None if unknown, as for a reference."""
    seconds: float | None = None
    record: Record | None = None
    """Its evaluation on its own film."""
    record_problem: str | None = None
    modified: float | None = None
    """Latest modification time of its files, in seconds since 1970."""

    @property
    def film(self) -> str:
        """The name of the film that it was trained on; of a damaged run, from its folder."""
        return self.description.config.film if self.description else self._part(0)

    @property
    def model(self) -> str:
        """The model's name; of a damaged run, from its folder."""
        return self.description.config.model if self.description else self._part(1)

    @property
    def bundled(self) -> bool:
        """Whether it came with film-zoo: it is outside of `runs/` and never changed."""
        return self.folder.path.parent == BUNDLED

    @property
    def id(self) -> str:
        """The last part of the name."""
        return self.name.rsplit("/", 1)[-1]

    @property
    def digest(self) -> str:
        """The unique end of the id; the whole id if it does not end in a digest."""
        parts = _DIGEST.fullmatch(self.id)
        return parts[1] if parts else self.id

    def _part(self, index: int) -> str:
        parts = self.name.split("/")
        return parts[index] if len(parts) == 3 else ""


def find_runs(workspace: Workspace) -> list[Run]:
    """Every run of a workspace, sorted by name."""
    root = workspace.runs
    if not root.is_dir():
        return []
    return [_inspect(path, _name(path, root)) for path in _folders(root, depth=3)]


def choose_run(runs: Sequence[Run], name: str, workspace: Workspace) -> Run:
    """Return the one run that the user names.

    `name` is a run's path, name or id, a film's and model's name, or the beginning of a name, an id
    or an id's digest; where `runs` has no such run, the name of one that comes with film-zoo.
    Raises BadInput with the candidates if it matches none or several; the newest are named first.
    """
    found = runs_named(runs, name, workspace)
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInput(f"{name!r} is ambiguous; it may be {_newest_first(found)}")
    there_are = (
        f"there are {_listed(runs)}" if runs else f"there are no runs here{workspace.is_above}"
    )
    raise BadInput(f"no run is called {name!r}; {there_are}")


def runs_named(runs: Sequence[Run], name: str, workspace: Workspace) -> list[Run]:
    """The runs that a name may mean, as `choose_run` reads it."""
    wanted = _relative_name(workspace.runs, name)
    for matches in _matches(runs, wanted) if wanted else ():
        if matches:
            return matches
    return [run for run in bundled_runs() if run.name == name]


def bundled_runs() -> list[Run]:
    """The trained runs that come with film-zoo, sorted by name."""
    found = []
    for path in sorted(BUNDLED.iterdir()) if BUNDLED.is_dir() else ():
        folder = RunFolder(path)
        if path.is_dir() and (description := folder.read()):
            received = description.training
            found.append(
                Run(
                    folder,
                    path.name,
                    "finished",
                    description=description,
                    frames=received.frames if received else None,
                    seconds=received.seconds if received else None,
                )
            )
    return found


def _matches(runs: Sequence[Run], wanted: str) -> Iterator[list[Run]]:
    """The runs that a name matches, by the strictest rule first."""
    yield [run for run in runs if wanted in (run.name, run.id)]
    yield [run for run in runs if run.name.startswith(wanted + "/")]
    yield [
        run
        for run in runs
        if any(part.startswith(wanted) for part in (run.name, run.id, run.digest))
    ]


def short_digests(runs: Sequence[Run]) -> dict[str, str]:
    """The shortest unique beginning of each run's digest, by the run's name."""
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


def check_removable(run: Run, workspace: Workspace) -> None:
    """Raise BadInput if this run may not be removed: it is in use, or outside the workspace."""
    if run.bundled:
        raise BadInput(f"{run.name} comes with film-zoo and cannot be removed")
    if run.folder.path == workspace.runs:  # if `runs/` itself cannot be listed
        raise BadInput(f"{run.folder.path} holds all runs, and cannot be read")
    confined(run.folder.path, workspace.runs)
    if who := holder(run.folder.path / IN_FOLDER):
        raise BadInput(f"{run.name} is being trained by {who}; stop it first")


def remove_run(run: Run, workspace: Workspace) -> None:
    """Delete a run's folder, and the folders above it that are then empty.

    Raises BadInput as `check_removable`, and ZooError if files cannot be deleted.
    """
    check_removable(run, workspace)
    path = run.folder.path
    try:
        with exclusive_lock(path / IN_FOLDER, run.name, waiting=None):
            # run.json first, so that a partial removal leaves nothing that passes for a run.
            run.folder.file.unlink(missing_ok=True)
            shutil.rmtree(path)
    except OSError as error:
        raise ZooError(f"{error.filename or path}: {error.strerror}") from None
    parent = path.parent
    while parent != workspace.runs:
        with suppress(OSError):  # not empty
            parent.rmdir()
        parent = parent.parent


def files_of(run: Run) -> dict[str, int]:
    """Sizes in bytes of a run's files, by path in its folder."""
    return {
        path.relative_to(run.folder.path).as_posix(): status.st_size
        for path, status in _files(run.folder.path)
    }


def _folders(path: Path, depth: int) -> Iterator[Path]:
    """Folders `depth` levels below, and folders above them that contain a run.json."""
    try:
        children = [child for child in sorted(path.iterdir()) if child.is_dir()]
    except OSError:
        yield path
        return
    for child in children:
        if child.name.startswith("."):
            continue
        if depth == 1 or _holds_run(child):
            if not _holds_nothing(child):
                yield child
        else:
            yield from _folders(child, depth - 1)


def _holds_run(folder: Path) -> bool:
    try:
        return (folder / "run.json").exists()
    except OSError:  # reported when it is listed
        return False


def _holds_nothing(folder: Path) -> bool:
    """Whether a folder holds at most a free lock, as a refused training leaves behind."""
    try:
        locks = all(is_lock(path) for path in folder.iterdir())
    except OSError:  # reported when it is listed
        return False
    return locks and not holder(folder / IN_FOLDER)


def _name(path: Path, root: Path) -> str:
    """A run's path below `runs/`; the name of `runs/` itself if it cannot be read."""
    return root.name if path == root else path.relative_to(root).as_posix()


def _inspect(path: Path, name: str) -> Run:
    folder = RunFolder(path)
    modified = max((status.st_mtime for _, status in _files(path)), default=None)
    try:
        return _read(folder, name, modified)
    except (BadInput, OSError) as error:
        problem = str(error)
        if not isinstance(error, BadInput):
            problem = f"this folder cannot be read: {error.strerror or error}"
        problem = problem.removeprefix(f"{path}{os.sep}")
        return Run(folder, name, "damaged", problem=problem, modified=modified)


def _read(folder: RunFolder, name: str, modified: float | None) -> Run:
    """Read a run; raises BadInput or OSError if it is damaged."""
    description = folder.read()
    if description is None:
        if holder(folder.path / IN_FOLDER):  # training has just begun
            return Run(folder, name, "training", modified=modified)
        failed = (folder.path / "failure.txt").exists()
        raise BadInput("there is no run.json" + ("; failure.txt says why" if failed else ""))
    config = description.config
    expected = f"{config.film}/{config.model}/{folder.path.name}"
    if name != expected:
        raise BadInput(f"its run.json belongs in {expected}")

    status: RunStatus
    match description.state:
        case "finished":
            status = "finished"
        case _ if holder(folder.path / IN_FOLDER):
            status = "training"
        case "interrupted":
            status = "interrupted"
        case _:
            status = "stopped"
    frames = description.training.frames if description.training else None
    seconds = description.training.seconds if description.training else None
    # run.json is written when training begins and ends; in between, the log is up to date.
    if status in ("training", "stopped") and (last := last_entry(folder.log)):
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
        status,
        description=description,
        frames=frames,
        seconds=seconds,
        record=record,
        record_problem=record_problem,
        modified=modified,
    )


def _files(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Files below a folder except locks; skips files that have just disappeared."""
    for folder, _, names in os.walk(path):
        for name in sorted(names):
            if not is_lock(Path(name)):
                with suppress(OSError):
                    file = Path(folder, name)
                    yield file, file.lstat()


def _relative_name(root: Path, name: str) -> str:
    """Return the name below `root` if `name` is a path into it, else `name`."""
    if "\0" in name:  # not allowed in paths
        return name
    # First as written, for a run that is itself a link; then with all links resolved.
    for resolve in (os.path.abspath, os.path.realpath):
        path, top = Path(resolve(name)), Path(resolve(root))
        if top in path.parents:
            return path.relative_to(top).as_posix()
    return name.strip("/")


def _listed(runs: Sequence[Run]) -> str:
    names = [run.name for run in runs[:CANDIDATES_NAMED]]
    more = len(runs) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _newest_first(runs: Sequence[Run]) -> str:
    """Runs with the time at which each was last touched."""
    newest = sorted(runs, key=lambda run: run.modified or 0, reverse=True)
    named = [
        f"{run.name} ({datetime.fromtimestamp(run.modified).astimezone():%Y-%m-%d %H:%M})"
        if run.modified
        else run.name
        for run in newest[:CANDIDATES_NAMED]
    ]
    more = len(runs) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
