"""A store of run folders at an address: s3://, gs://, a shared path, whatever fsspec can reach.

A run is a manifest beside files that are named by their hashes. The manifest is written last, and
the files of an older one stay until then: a reader sees the run before or after a change, never a
mixture, and what a killed writer left is ignored and overwritten. Evaluations on other films are
stored separately, film by film, because several machines write them at once.

Of the local and the stored copy, the one that is ahead is never overwritten. A finished run is
ahead of one in training, more steps are ahead of fewer, and otherwise the later copy is ahead.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pydantic

from zoo.base.atomic_files import atomic_write, confined
from zoo.base.errors import BadInput, ZooError
from zoo.base.extras import missing_extra
from zoo.base.locks import IN_FOLDER, LockHeld, exclusive_lock, is_lock
from zoo.base.untrusted_files import file_sha256, parse_json
from zoo.base.workspace import Workspace
from zoo.training.run_folder import RunFile, RunFolder

MANIFEST = "manifest.json"
BLOCK = 1 << 20
RUN, WEIGHTS, CODING = "run.json", "weights.safetensors", "coding.json"
CHECKPOINT = "checkpoint.safetensors"
LARGEST_HEADER = 16 << 20
"""Bytes of a checkpoint's header, which says at which step it was written."""


class _File(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    sha256: str = pydantic.Field(pattern="^[0-9a-f]{64}$")
    size: int = pydantic.Field(ge=0)


class _Manifest(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = 1
    files: dict[str, _File]
    """By path in the run's folder, with slashes."""
    written: float = 0.0
    """When the newest of them was written, in seconds since 1970; 0 if not known."""
    weights: str | None = None
    """SHA-256 of the weights evaluated on another film; null for a run itself, or if not known."""

    @pydantic.field_validator("files")
    @classmethod
    def _stay_inside(cls, files: dict[str, _File]) -> dict[str, _File]:
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
                raise ValueError(f"{name!r} points outside the run's folder")
        return files


class _Digest(pydantic.BaseModel):
    """The hash of a file, with its size and time to detect a change."""

    model_config = pydantic.ConfigDict(extra="forbid")

    size: int
    changed: int
    """Nanoseconds since 1970."""
    sha256: str


class _Digests(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    files: dict[str, _Digest]


@dataclass(frozen=True, order=True)
class _Progress:
    """How far a run is; the greater of two is ahead."""

    finished: bool
    step: int
    """The step of the checkpoint; 0 for a finished run, -1 without either."""
    written: float


class RunStore:
    """The runs of a workspace at one address."""

    def __init__(self, address: str, workspace: Workspace) -> None:
        """Raises BadInput if fsspec cannot open the address, or lacks the package for it."""
        try:
            import fsspec
        except ImportError:
            raise BadInput(missing_extra("remote", "--runs")) from None
        try:
            self._files: Any
            self._files, root = fsspec.core.url_to_fs(address)
        except (ValueError, ImportError, OSError) as error:
            raise BadInput(f"--runs {address}: {' '.join(str(error).split())}") from None
        self._root = root.rstrip("/")
        self._workspace = workspace
        self._uploaded: dict[Path, tuple[int, int]] = {}

    def download(self, folder: RunFolder, evaluated_on: str) -> None:
        """Download a run, and its evaluation on a film, if the stored copy is ahead.

        A run that another process uses is left alone. Raises ZooError if the stored copy is damaged
        or cannot be reached.
        """
        if not self._ahead(folder, evaluated_on):
            return
        with (
            suppress(LockHeld),
            exclusive_lock(folder.path / IN_FOLDER, str(folder.path), waiting=None),
        ):
            for part, manifest in self._ahead(folder, evaluated_on):
                self._download_part(folder, part, manifest)

    @contextmanager
    def preview(self, folder: RunFolder, evaluated_on: str) -> Iterator[Workspace | None]:
        """Yield a temporary workspace with the run as after `download`; None if nothing changes.

        Only its JSON files have contents. The real workspace is not changed.
        """
        parts = self._ahead(folder, evaluated_on)
        if not parts:
            yield None
            return
        with tempfile.TemporaryDirectory(prefix="film-zoo-") as temporary:
            copy = Workspace(Path(temporary))
            contents: dict[Path, bytes] = {}
            for path in folder.path.rglob("*"):
                if path.is_file():
                    contents[path] = path.read_bytes() if path.suffix == ".json" else b""
            for part, manifest in parts:
                for name, file in manifest.files.items():
                    contents[part / name] = (
                        self._text(part, file) if name.endswith(".json") else b""
                    )
            for path, content in contents.items():
                target = copy.root / path.relative_to(self._workspace.root)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            yield copy

    def upload(self, folder: RunFolder, evaluated_on: str) -> None:
        """Upload an evaluation; if it is on the training film, with the run itself.

        A stored copy stays if it is ahead, or if its model has other weights. Raises ZooError if it
        cannot be written.
        """
        stored = self._read(folder.path)
        if evaluated_on == _training_film(folder):
            if stored is None or self._stored_progress(folder, stored) <= self._local_progress(
                folder
            ):
                self._upload_part(folder, folder.path, None)
            return
        weights = self._digest(folder, folder.weights)
        if stored is None or _weights_digest(stored) in (None, weights):
            self._upload_part(folder, folder.evaluation(evaluated_on), weights)

    def upload_checkpoint(self, folder: RunFolder) -> None:
        """Upload a run in training, if its checkpoint has changed since the last upload."""
        if not folder.checkpoint.exists():
            return
        status = folder.checkpoint.stat()
        now = status.st_mtime_ns, status.st_size
        if self._uploaded.get(folder.path) != now:
            self.upload(folder, _training_film(folder))
            self._uploaded[folder.path] = now

    def _ahead(self, folder: RunFolder, evaluated_on: str) -> list[tuple[Path, _Manifest]]:
        """The parts of a run whose stored copy is ahead of the local one."""
        own = self._read(folder.path)
        if own is None:
            return []
        found = []
        weights = self._digest(folder, folder.weights)
        if self._stored_progress(folder, own) > self._local_progress(folder):
            found.append((folder.path, own))
            weights = _weights_digest(own)
        if evaluated_on != _training_film(folder):
            part = folder.evaluation(evaluated_on)
            stored = self._read(part)
            if (
                stored is not None
                and (stored.weights or _weights_digest(own)) == weights
                and (found or stored.written > _newest(_part_files(folder, part)))
            ):
                found.append((part, stored))
        return found

    def _local_progress(self, folder: RunFolder) -> _Progress:
        written = _newest(_part_files(folder, folder.path))
        try:
            run = folder.read()
        except BadInput:
            run = None  # damaged: behind any that is not
        if run and run.state == "finished":
            if folder.weights.exists() or (folder.path / CODING).exists():
                return _Progress(True, 0, written)
            return _Progress(False, -1, written)
        try:
            with folder.checkpoint.open("rb") as file:
                size = int.from_bytes(file.read(8), "little")
                return _Progress(False, _step(file.read(min(size, LARGEST_HEADER))), written)
        except FileNotFoundError:
            return _Progress(False, -1, written)

    def _stored_progress(self, folder: RunFolder, manifest: _Manifest) -> _Progress:
        if run := manifest.files.get(RUN):
            with suppress(pydantic.ValidationError):
                described = RunFile.model_validate_json(self._text(folder.path, run))
                if described.state == "finished":
                    return _Progress(True, 0, manifest.written)
        checkpoint = manifest.files.get(CHECKPOINT)
        if checkpoint is None:
            return _Progress(False, -1, manifest.written)
        blob = self._blob(folder.path, checkpoint.sha256)
        with self._reading(folder.path), self._files.open(blob, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            return _Progress(False, _step(file.read(min(size, LARGEST_HEADER))), manifest.written)

    def _download_part(self, folder: RunFolder, part: Path, manifest: _Manifest) -> None:
        for name in manifest.files:
            confined((part / name).parent, self._workspace.runs)
        known = self._digests(part)
        same_model = _weights_digest(manifest) == self._digest(folder, folder.weights)
        with self._reading(part), ExitStack() as stack:
            # Files are moved into place once all of them have been read, in reverse order: so
            # run.json, which marks a run as finished, comes last.
            for name, file in sorted(manifest.files.items(), key=lambda named: named[0] != RUN):
                if not self._is(part, name, file, known):
                    temporary = stack.enter_context(atomic_write(part / name))
                    self._download_file(part, temporary, file)
                    if manifest.written:
                        os.utime(temporary, (manifest.written, manifest.written))
        own = _part_files(folder, part)
        if part == folder.path and not same_model:
            # Evaluations on other films were made with other weights.
            foreign = confined(part / "evaluation", part)
            own += [p for p in foreign.rglob("*") if p.is_file() and not is_lock(p)]
        for path in own:
            if path.relative_to(part).as_posix() not in manifest.files:
                path.unlink(missing_ok=True)
        self._remember(part, known, manifest.files)

    def _upload_part(self, folder: RunFolder, part: Path, weights: str | None) -> None:
        try:
            before = self._read(part)
            known, files = self._digests(part), {}
            own = _part_files(folder, part)
            for path in own:
                name = path.relative_to(part).as_posix()
                digest = _remembered(known, name, path) or file_sha256(path)
                files[name] = _File(sha256=digest, size=path.stat().st_size)
                self._send(part, path, files[name])
            manifest = _Manifest(files=files, written=_newest(own), weights=weights)
            text = manifest.model_dump_json().encode()
            self._files.pipe_file(f"{self._address(part)}/{MANIFEST}", text)
            if before:
                still = {file.sha256 for file in files.values()}
                for old in {file.sha256 for file in before.files.values()} - still:
                    with suppress(FileNotFoundError):  # another machine was first
                        self._files.rm_file(self._blob(part, old))
        except OSError as error:
            raise ZooError(f"{self._address(part)} cannot be written: {error}") from None
        self._remember(part, known, files)

    @contextmanager
    def _reading(self, part: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, ZooError):
                raise
            raise ZooError(f"{self._address(part)} cannot be read: {error}") from None

    def _digest(self, folder: RunFolder, path: Path) -> str | None:
        """The hash of a file of a run, which is read only if it changed; None if there is none."""
        if not path.is_file():
            return None
        name = path.relative_to(folder.path).as_posix()
        return _remembered(self._digests(folder.path), name, path) or file_sha256(path)

    def _is(self, part: Path, name: str, file: _File, known: dict[str, _Digest]) -> bool:
        path = part / name
        if not path.is_file() or path.stat().st_size != file.size:
            return False
        return (_remembered(known, name, path) or file_sha256(path)) == file.sha256

    def _digests(self, part: Path) -> dict[str, _Digest]:
        """Hashes of a part's files as of its last download or upload."""
        with suppress(OSError, ValueError):
            return _Digests.model_validate_json(self._digests_path(part).read_bytes()).files
        return {}

    def _remember(self, part: Path, known: dict[str, _Digest], files: dict[str, _File]) -> None:
        digests = {}
        for name, file in files.items():
            with suppress(FileNotFoundError):
                status = (part / name).stat()
                digests[name] = _Digest(
                    size=status.st_size, changed=status.st_mtime_ns, sha256=file.sha256
                )
        if digests != known:
            with atomic_write(self._digests_path(part)) as temporary:
                temporary.write_text(_Digests(files=digests).model_dump_json(), encoding="utf-8")

    def _digests_path(self, part: Path) -> Path:
        top = self._workspace.root / ".zoo"
        folder = top / "kept" / part.relative_to(self._workspace.runs)
        return confined(folder, top) / "digests.json"

    def _read(self, part: Path) -> _Manifest | None:
        path = f"{self._address(part)}/{MANIFEST}"
        try:
            with self._reading(part):
                text = self._files.cat_file(path)
        except ZooError as error:
            if isinstance(error.__context__, FileNotFoundError):
                return None
            raise
        try:
            return _Manifest.model_validate_json(text)
        except pydantic.ValidationError as error:
            first = error.errors()[0]["msg"]
            raise ZooError(f"{path} is damaged: {' '.join(first.split())}") from None

    def _download_file(self, part: Path, temporary: Path, file: _File) -> None:
        blob = self._blob(part, file.sha256)
        with self._files.open(blob, "rb") as stored, temporary.open("wb") as written:
            # No more bytes than the manifest says, whatever is stored.
            _copy(stored, written, file.size)
        if temporary.stat().st_size != file.size or file_sha256(temporary) != file.sha256:
            raise self._damaged(part, blob)

    def _text(self, part: Path, file: _File) -> bytes:
        """The content of a small file, checked."""
        blob = self._blob(part, file.sha256)
        with self._reading(part), self._files.open(blob, "rb") as stored:
            text: bytes = stored.read(file.size)
        if hashlib.sha256(text).hexdigest() != file.sha256:
            raise self._damaged(part, blob)
        return text

    def _damaged(self, part: Path, blob: str) -> ZooError:
        return ZooError(
            f"{blob} is damaged; remove {self._address(part)} and run the command again"
        )

    def _send(self, part: Path, path: Path, file: _File) -> None:
        blob = self._blob(part, file.sha256)
        if self._files.exists(blob) and self._files.size(blob) == file.size:
            return
        self._files.makedirs(str(PurePosixPath(blob).parent), exist_ok=True)
        if path.is_symlink():
            raise BadInput(f"{path} is a link, but only files can be sent: replace it with a copy")
        with path.open("rb") as read, self._files.open(blob, "wb") as written:
            shutil.copyfileobj(read, written, BLOCK)

    def _address(self, part: Path) -> str:
        return f"{self._root}/{part.relative_to(self._workspace.runs).as_posix()}"

    def _blob(self, part: Path, digest: str) -> str:
        return f"{self._address(part)}/files/{digest}"


def _training_film(folder: RunFolder) -> str:
    """The film that a run is trained on: `<film>/<model>/<id>`."""
    return folder.path.parts[-3]


def _part_files(folder: RunFolder, part: Path) -> list[Path]:
    """Return a part's files to store: no locks, temporary files or unfinished replacements."""
    foreign = folder.path / "evaluation"
    own = foreign / _training_film(folder)
    return [
        path
        for path in sorted(part.rglob("*"))
        if path.is_file()
        if not any(name.startswith(".") for name in path.relative_to(part).parts)
        if part != folder.path or foreign not in path.parents or own in path.parents
    ]


def _copy(source: Any, target: Any, size: int) -> None:
    left = size
    while left > 0 and (block := source.read(min(BLOCK, left))):
        target.write(block)
        left -= len(block)


def _remembered(known: dict[str, _Digest], name: str, path: Path) -> str | None:
    """The remembered hash of a file, if the file has not changed."""
    digest, status = known.get(name), path.stat()
    if digest and (digest.size, digest.changed) == (status.st_size, status.st_mtime_ns):
        return digest.sha256
    return None


def _weights_digest(manifest: _Manifest) -> str | None:
    file = manifest.files.get(WEIGHTS)
    return file.sha256 if file else None


def _newest(paths: list[Path]) -> float:
    """The time at which the newest of some files was written; -1 if there are none."""
    return max((path.stat().st_mtime for path in paths), default=-1.0)


def _step(header: bytes) -> int:
    """The step of a checkpoint, from its header; -1 if it has none."""
    with suppress(ValueError, KeyError, TypeError, OverflowError):
        return int(parse_json(parse_json(header.decode())["__metadata__"]["progress"])["step"])
    return -1
