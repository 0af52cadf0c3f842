"""The files of a merge: each is kept in `merged/` under the hash of what it holds.

So no two of them meet under one name, what several folders have alike is kept once, and to merge
again changes no file that the report of before still shows.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from zoo.errors import BadInput
from zoo.reading import check_regular
from zoo.records import Results
from zoo.report.placing import placed
from zoo.workspace import written_aside

FILES = "merged"
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
                    return f"{FILES}/absent-{_plain(path.stem)}{_plain_suffix(path.suffix)}"
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

    def write(self, into: Path) -> None:
        """Write all that is not there yet."""
        for name, content in self._held.items():
            if not (into / name).exists():
                with written_aside(into / name) as aside:
                    if isinstance(content, bytes):
                        aside.write_bytes(content)
                    else:
                        shutil.copyfile(content, aside)

    def remove_others(self, into: Path) -> None:
        """Remove what an earlier merge held and this one does not."""
        for path in (into / FILES).glob("*"):
            if f"{FILES}/{path.name}" not in self._held and path.is_file():
                path.unlink()


def named(results: Results) -> Iterator[str]:
    """Every file that films and records name."""
    for film in results.films:
        yield from (name for name in (film.barcode, film.series, film.video) if name)
    for record in results.records:
        for picture in record.pictures:
            yield from (picture.original, picture.reconstruction)
        if record.video:
            yield record.video


def _hashed(stem: str, suffix: str, digest: str) -> str:
    short = digest[:_DIGITS]
    # What comes from an earlier merge has its hash already.
    return f"{FILES}/{_plain(stem.removesuffix(f'-{short}'))}-{short}{_plain_suffix(suffix)}"


def _plain(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem)[:40].strip("-") or "file"


def _plain_suffix(suffix: str) -> str:
    return suffix if re.fullmatch(r"[.][A-Za-z0-9]{1,8}", suffix) else ""
