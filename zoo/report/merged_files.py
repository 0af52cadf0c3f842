"""The files of a merge: each is kept in `merged/` under the hash of what it holds.

So no two of them meet under one name, what several folders have alike is kept once, and to merge
again changes no file that the report of before still shows.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from zoo.errors import BadInput
from zoo.reading import check_regular
from zoo.report.folder import MERGED
from zoo.report.placing import placed
from zoo.workspace import written_aside

_DIGITS = 32
"""Of a hash, in hexadecimal."""


@dataclass
class Files:
    """What a merge holds, by its names there: where a file lies now, or what is to be in it."""

    _held: dict[str, Path | bytes] = field(default_factory=dict)
    _known: dict[Path, str] = field(default_factory=dict)

    def take(self, folder: Path, name: str) -> str:
        """Give a file that a record names in `folder` its name in the merge.

        One that is not there is given a name that is not there either. Raises BadInput where it
        lies outside `folder`, is no regular file or cannot be read.
        """
        path = placed(folder, name)
        if path not in self._known:
            try:
                if not path.exists():
                    return f"{MERGED}/absent-{_plain(path.stem)}{_plain_suffix(path.suffix)}"
                check_regular(path)
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise BadInput(f"{path} cannot be read: {error.strerror}") from None
            self._known[path] = _hashed(path.stem, path.suffix, digest)
            self._held[self._known[path]] = path
        return self._known[path]

    def add(self, stem: str, suffix: str, content: bytes) -> str:
        """Give what is new its name in the merge."""
        hashed = _hashed(stem, suffix, hashlib.sha256(content).hexdigest())
        self._held[hashed] = content
        return hashed

    def write(self, into: Path, out: Path) -> None:
        """Write all of them below `out`; those that `into` has already are not copied again."""
        for name, content in self._held.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            if not _linked(into / name, out / name):
                with written_aside(out / name) as aside:
                    if isinstance(content, bytes):
                        aside.write_bytes(content)
                    else:
                        shutil.copyfile(content, aside)


def _linked(old: Path, new: Path) -> bool:
    """Give a file that is there, no link, a second name; False where that cannot be done."""
    if old.parent.is_symlink() or old.is_symlink() or not old.is_file():
        return False
    try:
        new.hardlink_to(old)
    except OSError:  # no file system has to know it
        return False
    return True


def _hashed(stem: str, suffix: str, digest: str) -> str:
    short = digest[:_DIGITS]
    # What comes from an earlier merge has its hash already.
    return f"{MERGED}/{_plain(stem.removesuffix(f'-{short}'))}-{short}{_plain_suffix(suffix)}"


def _plain(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem)[:40].strip("-") or "file"


def _plain_suffix(suffix: str) -> str:
    return suffix if re.fullmatch(r"[.][A-Za-z0-9]{1,8}", suffix) else ""
