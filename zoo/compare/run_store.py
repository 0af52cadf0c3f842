"""Run folders kept at an address: s3://, gs://, a shared path, whatever fsspec can reach.

A run is a manifest beside files that are named by their hashes. The manifest is written last, and
files that an older one names stay until then: a reader sees the run before or after a change,
never half of either, and what a killed writer left is only rubbish to be written over. What a model
made of other films than its own is kept apart, film by film: several machines write it at once.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import fsspec
import pydantic

from zoo.errors import BadInput, ZooError
from zoo.training.run_folder import RunFolder
from zoo.workspace import Workspace, written_aside

MANIFEST = "manifest.json"
BLOCK = 1 << 20


class _File(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    sha256: str = pydantic.Field(pattern="^[0-9a-f]{64}$")
    size: int = pydantic.Field(ge=0)


class _Manifest(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    files: dict[str, _File]
    """By path in the run's folder, with slashes."""

    @pydantic.field_validator("files")
    @classmethod
    def _stay_inside(cls, files: dict[str, _File]) -> dict[str, _File]:
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
                raise ValueError(f"{name!r} leads out of the run's folder")
        return files


class RunStore:
    """The runs at one address, of the workspace whose run folders they are."""

    def __init__(self, address: str, workspace: Workspace) -> None:
        """Raises BadInput if fsspec knows no such address, or lacks the package for it."""
        try:
            self._files: Any
            self._files, root = fsspec.core.url_to_fs(address)
        except (ValueError, ImportError) as error:
            raise BadInput(f"--runs {address}: {' '.join(str(error).split())}") from None
        self._root = root.rstrip("/")
        self._workspace = workspace
        self._kept: dict[Path, tuple[int, int]] = {}

    def fetch(self, folder: RunFolder, watched: str) -> bool:
        """Bring a run, and what its model made of a film, to what is kept; False for nothing.

        Raises ZooError if what is kept is damaged, or cannot be reached.
        """
        own = self._fetch(folder, folder.path)
        if own and watched != _film(folder):
            self._fetch(folder, folder.evaluation(watched))
        return own

    def keep(self, folder: RunFolder, watched: str) -> None:
        """Keep what a model made of a film, and with its own film the run itself.

        Raises ZooError if it cannot be written.
        """
        self._keep(folder, folder.path if watched == _film(folder) else folder.evaluation(watched))

    def _fetch(self, folder: RunFolder, part: Path) -> bool:
        try:
            manifest = self._read(part)
            if manifest is None:
                return False
            # What says that a run is finished comes last.
            wanted = sorted(manifest.files.items(), key=lambda named: named[0] == "run.json")
            for name, file in wanted:
                if not _is(part / name, file):
                    self._bring(part, name, file)
            for path in _own_files(folder, part):
                if path.relative_to(part).as_posix() not in manifest.files:
                    path.unlink()
        except OSError as error:
            raise ZooError(f"{self._place(part)} cannot be read: {error}") from None
        return True

    def _keep(self, folder: RunFolder, part: Path) -> None:
        try:
            before = self._read(part)
            files = {}
            for path in _own_files(folder, part):
                file = _File(sha256=_hash(path), size=path.stat().st_size)
                files[path.relative_to(part).as_posix()] = file
                self._send(part, path, file)
            manifest = _Manifest(files=files).model_dump_json().encode()
            self._files.pipe_file(f"{self._place(part)}/{MANIFEST}", manifest)
            if before:
                still = {file.sha256 for file in files.values()}
                for old in {file.sha256 for file in before.files.values()} - still:
                    self._files.rm_file(self._blob(part, old))
        except OSError as error:
            raise ZooError(f"{self._place(part)} cannot be written: {error}") from None

    def keep_checkpoint(self, folder: RunFolder) -> None:
        """Keep a run that is being trained, if its checkpoint is another than was kept last."""
        if not folder.checkpoint.exists():
            return
        status = folder.checkpoint.stat()
        now = status.st_mtime_ns, status.st_size
        if self._kept.get(folder.path) != now:
            self.keep(folder, _film(folder))
            self._kept[folder.path] = now

    def _read(self, part: Path) -> _Manifest | None:
        path = f"{self._place(part)}/{MANIFEST}"
        try:
            text = self._files.cat_file(path)
        except FileNotFoundError:
            return None
        try:
            return _Manifest.model_validate_json(text)
        except pydantic.ValidationError as error:
            first = error.errors()[0]["msg"]
            raise ZooError(f"{path} is damaged: {' '.join(first.split())}") from None

    def _bring(self, part: Path, name: str, file: _File) -> None:
        blob = self._blob(part, file.sha256)
        with written_aside(part / name) as aside:
            with self._files.open(blob, "rb") as kept, aside.open("wb") as written:
                # No more than was promised, whatever lies there.
                _copy(kept, written, file.size)
            if not _is(aside, file):
                raise ZooError(
                    f"{blob} is damaged; remove {self._place(part)} and run the command again"
                )

    def _send(self, part: Path, path: Path, file: _File) -> None:
        blob = self._blob(part, file.sha256)
        if self._files.exists(blob) and self._files.size(blob) == file.size:
            return
        self._files.makedirs(str(PurePosixPath(blob).parent), exist_ok=True)
        with path.open("rb") as read, self._files.open(blob, "wb") as written:
            shutil.copyfileobj(read, written, BLOCK)

    def _place(self, part: Path) -> str:
        return f"{self._root}/{part.relative_to(self._workspace.runs).as_posix()}"

    def _blob(self, part: Path, digest: str) -> str:
        return f"{self._place(part)}/files/{digest}"


def _film(folder: RunFolder) -> str:
    """The film that a run was trained on: `<film>/<model>/<id>`."""
    return folder.path.parts[-3]


def _own_files(folder: RunFolder, part: Path) -> list[Path]:
    """A part's files that mean something elsewhere: no lock, and nothing that is half written."""
    foreign = folder.path / "evaluation"
    own = foreign / _film(folder)
    return [
        path
        for path in sorted(part.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
        if part != folder.path or foreign not in path.parents or own in path.parents
    ]


def _copy(source: Any, target: Any, size: int) -> None:
    left = size
    while left > 0 and (block := source.read(min(BLOCK, left))):
        target.write(block)
        left -= len(block)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is(path: Path, file: _File) -> bool:
    return path.is_file() and path.stat().st_size == file.size and _hash(path) == file.sha256
