"""The folder a user stands in, and where everything in it lies.

films.toml   the catalogue: meant to be read and edited
runs/        one folder a trained model: runs/<film>/<model>/<id>/
results/     what `zoo compare` writes
.zoo/        what can be rebuilt: decoded frames, caches
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import BadInput

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Workspace:
    """Paths below one root; creates nothing until something is written."""

    root: Path

    @classmethod
    def here(cls) -> Workspace:
        """The workspace in the current folder."""
        return cls(Path.cwd())

    @property
    def catalogue(self) -> Path:
        """The catalogue of films, a TOML file."""
        return self.root / "films.toml"

    @property
    def runs(self) -> Path:
        """Trained models."""
        return self.root / "runs"

    @property
    def results(self) -> Path:
        """Reports and the records behind them."""
        return self.root / "results"

    @property
    def stores(self) -> Path:
        """Decoded films."""
        return self.root / ".zoo" / "films"


def check_name(name: str, what: str) -> str:
    """Return `name` if it can be a folder's name on any system; raise BadInput if not.

    `what` says in the message what the name is of, such as "film".
    """
    if not _NAME.fullmatch(name) or ".." in name:
        shown = name if len(name) <= 40 else name[:40] + "…"
        raise BadInput(
            f"a {what}'s name has letters, digits, '-', '_' and '.', starts with a letter or "
            f"digit and is at most 64 long; not {shown!r}"
        )
    return name


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write a file at; rename it into place if all went well.

    A reader sees the old file or the new one, never half of either, whatever kills the writer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        # mkstemp makes files private; what lands in a workspace has the user's ordinary rights.
        aside.chmod(0o666 & ~_umask())
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
