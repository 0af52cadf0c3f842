"""The workspace: the current folder, and the paths of everything in it.

films.toml   the catalogue of films, for the user to read and edit
runs/        one folder per trained model: runs/<film>/<model>/<id>/
results/     what `zoo compare` writes
downloads/   films that `zoo films add` downloaded
.zoo/        data that can be rebuilt: decoded frames, caches
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from zoo.base.atomic_files import confined, sweep_below
from zoo.base.errors import BadInput

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def cache_folder() -> Path:
    """The cache that all workspaces share: `ZOO_CACHE`, or film-zoo's part of the user's cache."""
    import platformdirs

    return Path(os.environ.get("ZOO_CACHE") or platformdirs.user_cache_dir("film-zoo"))


@dataclass(frozen=True)
class Workspace:
    """The paths of a workspace; nothing is created before something is written."""

    root: Path

    @classmethod
    def here(cls) -> Workspace:
        """The workspace in the current folder."""
        return cls(Path.cwd())

    @property
    def above(self) -> Path | None:
        """The nearest parent folder that is a workspace, as its films.toml shows; None if none."""
        return next((up for up in self.root.absolute().parents if _has_films(up)), None)

    @property
    def is_above(self) -> str:
        """A hint for messages if a parent folder is a workspace, else empty."""
        return (
            f"; `cd {shlex.quote(str(self.above))}` goes to the workspace above this folder"
            if self.above
            else ""
        )

    @property
    def catalogue(self) -> Path:
        """The catalogue of films, a TOML file."""
        return self.root / "films.toml"

    @property
    def runs(self) -> Path:
        """The folder of trained models."""
        return self.root / "runs"

    @property
    def results(self) -> Path:
        """The folder of the report and the records behind it."""
        return self.root / "results"

    @property
    def downloads(self) -> Path:
        """The folder of downloaded films."""
        return self.root / "downloads"

    @property
    def stores(self) -> Path:
        """The folder of decoded films."""
        return self.root / ".zoo" / "films"

    @property
    def costs(self) -> Path:
        """The folder of measured costs."""
        return self.root / ".zoo" / "costs"

    def sweep(self, film: str) -> None:
        """Remove partial files that killed processes left among a film's stores and runs.

        Also sweeps the costs of all films. Results folders are swept when they are written. Raises
        BadInput if one of these folders is a link.
        """
        for folder in (self.stores / film, self.runs / film, self.costs):
            sweep_below(confined(folder, folder.parent))


def check_name(name: str, what: str) -> str:
    """Return `name` if it can be a folder name on any system; raise BadInput if not.

    `what` says in the message what is named, such as "film".
    """
    if not _NAME.fullmatch(name) or ".." in name:
        shown = name if len(name) <= 40 else name[:40] + "…"
        raise BadInput(
            f"a {what}'s name has letters, digits, '-', '_' and '.', starts with a letter or "
            f"digit and is at most 64 long; not {shown!r}"
        )
    return name


def _has_films(folder: Path) -> bool:
    try:
        return (folder / "films.toml").is_file()
    except OSError:  # a folder without read permission
        return False
