"""Run folders kept at an address: s3://, gs://, a shared path, whatever fsspec can reach.

A run is a manifest beside files that are named by their hashes. The manifest is written last, and
files that an older one names stay until then: a reader sees the run before or after a change,
never half of either, and what a killed writer left is only rubbish to be written over. What a model
made of other films than its own is kept apart, film by film: several machines write it at once.

Neither side is the truth. A finished run is further than one that is being trained, more steps are
further than fewer, and then the later one is: what is further stays as it is, here and there.
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

import fsspec
import pydantic

from zoo.base.atomic_files import confined
from zoo.base.errors import BadInput, ZooError
from zoo.base.locks import IN_FOLDER, Held, alone, is_lock
from zoo.base.untrusted_files import parse_json
from zoo.base.workspace import Workspace, written_aside
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
    """When the newest of them was written, in seconds since 1970; 0 if that is not known."""
    weights: str | None = None
    """SHA-256 of the weights that saw another film; null for a run itself, or if not known."""

    @pydantic.field_validator("files")
    @classmethod
    def _stay_inside(cls, files: dict[str, _File]) -> dict[str, _File]:
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
                raise ValueError(f"{name!r} leads out of the run's folder")
        return files


class _Digest(pydantic.BaseModel):
    """What a file's hash was, and by what it is seen that the file is still the same."""

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
class _Standing:
    """How far a run is: the greater of two is further."""

    finished: bool
    step: int
    """Of the checkpoint; 0 for a finished run, -1 without either."""
    written: float


class RunStore:
    """The runs at one address, of the workspace whose run folders they are."""

    def __init__(self, address: str, workspace: Workspace) -> None:
        """Raises BadInput if fsspec cannot open the address, or lacks the package for it."""
        try:
            self._files: Any
            self._files, root = fsspec.core.url_to_fs(address)
        except (ValueError, ImportError, OSError) as error:
            raise BadInput(f"--runs {address}: {' '.join(str(error).split())}") from None
        self._root = root.rstrip("/")
        self._workspace = workspace
        self._kept: dict[Path, tuple[int, int]] = {}

    def fetch(self, folder: RunFolder, evaluated_on: str) -> None:
        """Bring a run, and what its model made of a film, where what is kept is further.

        A run that another process works on is left alone. Raises ZooError if what is kept is
        damaged, or cannot be reached.
        """
        if not self._further(folder, evaluated_on):
            return
        with suppress(Held), alone(folder.path / IN_FOLDER, str(folder.path), waiting=None):
            for part, manifest in self._further(folder, evaluated_on):
                self._bring_part(folder, part, manifest)

    @contextmanager
    def seen(self, folder: RunFolder, evaluated_on: str) -> Iterator[Workspace | None]:
        """Yield a workspace with the run as `fetch` would leave it; None if that changes nothing.

        Files are empty in it, but for descriptions and records. Nothing else is changed.
        """
        parts = self._further(folder, evaluated_on)
        if not parts:
            yield None
            return
        with tempfile.TemporaryDirectory(prefix="film-zoo-") as place:
            there = Workspace(Path(place))
            held: dict[Path, bytes] = {}
            for path in folder.path.rglob("*"):
                if path.is_file():
                    held[path] = path.read_bytes() if path.suffix == ".json" else b""
            for part, manifest in parts:
                for name, file in manifest.files.items():
                    held[part / name] = self._text(part, file) if name.endswith(".json") else b""
            for path, content in held.items():
                copy = there.root / path.relative_to(self._workspace.root)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(content)
            yield there

    def keep(self, folder: RunFolder, evaluated_on: str) -> None:
        """Keep what a model made of a film, and with its own film the run itself.

        What is kept already stays where it is further, or where its model has other weights.
        Raises ZooError if it cannot be written.
        """
        kept = self._read(folder.path)
        if evaluated_on == _film(folder):
            if kept is None or self._standing_there(folder, kept) <= self._standing_here(folder):
                self._keep(folder, folder.path, None)
            return
        weights = self._digest(folder, folder.weights)
        if kept is None or _weights(kept) in (None, weights):
            self._keep(folder, folder.evaluation(evaluated_on), weights)

    def keep_checkpoint(self, folder: RunFolder) -> None:
        """Keep a run that is being trained, if its checkpoint is another than was kept last."""
        if not folder.checkpoint.exists():
            return
        status = folder.checkpoint.stat()
        now = status.st_mtime_ns, status.st_size
        if self._kept.get(folder.path) != now:
            self.keep(folder, _film(folder))
            self._kept[folder.path] = now

    def _further(self, folder: RunFolder, evaluated_on: str) -> list[tuple[Path, _Manifest]]:
        """The parts of a run that are further than here where they are kept."""
        own = self._read(folder.path)
        if own is None:
            return []
        found = []
        weights = self._digest(folder, folder.weights)
        if self._standing_there(folder, own) > self._standing_here(folder):
            found.append((folder.path, own))
            weights = _weights(own)
        if evaluated_on != _film(folder):
            part = folder.evaluation(evaluated_on)
            made = self._read(part)
            if (
                made is not None
                and (made.weights or _weights(own)) == weights
                and (found or made.written > _newest(_own_files(folder, part)))
            ):
                found.append((part, made))
        return found

    def _standing_here(self, folder: RunFolder) -> _Standing:
        written = _newest(_own_files(folder, folder.path))
        try:
            run = folder.read()
        except BadInput:
            run = None  # damaged, and worth less than any that is not
        if run and run.state == "finished":
            if folder.weights.exists() or (folder.path / CODING).exists():
                return _Standing(True, 0, written)
            return _Standing(False, -1, written)
        try:
            with folder.checkpoint.open("rb") as file:
                size = int.from_bytes(file.read(8), "little")
                return _Standing(False, _step(file.read(min(size, LARGEST_HEADER))), written)
        except FileNotFoundError:
            return _Standing(False, -1, written)

    def _standing_there(self, folder: RunFolder, manifest: _Manifest) -> _Standing:
        if run := manifest.files.get(RUN):
            with suppress(pydantic.ValidationError):
                described = RunFile.model_validate_json(self._text(folder.path, run))
                if described.state == "finished":
                    return _Standing(True, 0, manifest.written)
        checkpoint = manifest.files.get(CHECKPOINT)
        if checkpoint is None:
            return _Standing(False, -1, manifest.written)
        blob = self._blob(folder.path, checkpoint.sha256)
        with self._reading(folder.path), self._files.open(blob, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            return _Standing(False, _step(file.read(min(size, LARGEST_HEADER))), manifest.written)

    def _bring_part(self, folder: RunFolder, part: Path, manifest: _Manifest) -> None:
        for name in manifest.files:
            confined((part / name).parent, self._workspace.runs)
        known = self._digests(part)
        same_model = _weights(manifest) == self._digest(folder, folder.weights)
        with self._reading(part), ExitStack() as stack:
            # Files take their places when all of them have been read, the last that is begun first:
            # what says that a run is finished comes last.
            for name, file in sorted(manifest.files.items(), key=lambda named: named[0] != RUN):
                if not self._is(part, name, file, known):
                    aside = stack.enter_context(written_aside(part / name))
                    self._bring(part, aside, file)
                    if manifest.written:
                        os.utime(aside, (manifest.written, manifest.written))
        own = _own_files(folder, part)
        if part == folder.path and not same_model:
            # What other weights made of other films.
            foreign = confined(part / "evaluation", part)
            own += [p for p in foreign.rglob("*") if p.is_file() and not is_lock(p)]
        for path in own:
            if path.relative_to(part).as_posix() not in manifest.files:
                path.unlink(missing_ok=True)
        self._remember(part, known, manifest.files)

    def _keep(self, folder: RunFolder, part: Path, weights: str | None) -> None:
        try:
            before = self._read(part)
            known, files = self._digests(part), {}
            own = _own_files(folder, part)
            for path in own:
                name = path.relative_to(part).as_posix()
                digest = _known(known, name, path) or _hash(path)
                files[name] = _File(sha256=digest, size=path.stat().st_size)
                self._send(part, path, files[name])
            manifest = _Manifest(files=files, written=_newest(own), weights=weights)
            text = manifest.model_dump_json().encode()
            self._files.pipe_file(f"{self._place(part)}/{MANIFEST}", text)
            if before:
                still = {file.sha256 for file in files.values()}
                for old in {file.sha256 for file in before.files.values()} - still:
                    self._files.rm_file(self._blob(part, old))
        except OSError as error:
            raise ZooError(f"{self._place(part)} cannot be written: {error}") from None
        self._remember(part, known, files)

    @contextmanager
    def _reading(self, part: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, ZooError):
                raise
            raise ZooError(f"{self._place(part)} cannot be read: {error}") from None

    def _digest(self, folder: RunFolder, path: Path) -> str | None:
        """The hash of a file of a run itself, which is read only if it changed; None without it."""
        if not path.is_file():
            return None
        name = path.relative_to(folder.path).as_posix()
        return _known(self._digests(folder.path), name, path) or _hash(path)

    def _is(self, part: Path, name: str, file: _File, known: dict[str, _Digest]) -> bool:
        path = part / name
        if not path.is_file() or path.stat().st_size != file.size:
            return False
        return (_known(known, name, path) or _hash(path)) == file.sha256

    def _digests(self, part: Path) -> dict[str, _Digest]:
        """Hashes of a part's files as they were when it was last brought or kept."""
        with suppress(OSError, ValueError):
            return _Digests.model_validate_json(self._notes(part).read_bytes()).files
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
            with written_aside(self._notes(part)) as aside:
                aside.write_text(_Digests(files=digests).model_dump_json(), encoding="utf-8")

    def _notes(self, part: Path) -> Path:
        top = self._workspace.root / ".zoo"
        notes = top / "kept" / part.relative_to(self._workspace.runs)
        return confined(notes, top) / "digests.json"

    def _read(self, part: Path) -> _Manifest | None:
        path = f"{self._place(part)}/{MANIFEST}"
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

    def _bring(self, part: Path, aside: Path, file: _File) -> None:
        blob = self._blob(part, file.sha256)
        with self._files.open(blob, "rb") as kept, aside.open("wb") as written:
            # No more than was promised, whatever lies there.
            _copy(kept, written, file.size)
        if aside.stat().st_size != file.size or _hash(aside) != file.sha256:
            raise self._damaged(part, blob)

    def _text(self, part: Path, file: _File) -> bytes:
        """A small file, as it was promised."""
        blob = self._blob(part, file.sha256)
        with self._reading(part), self._files.open(blob, "rb") as kept:
            text: bytes = kept.read(file.size)
        if hashlib.sha256(text).hexdigest() != file.sha256:
            raise self._damaged(part, blob)
        return text

    def _damaged(self, part: Path, blob: str) -> ZooError:
        return ZooError(f"{blob} is damaged; remove {self._place(part)} and run the command again")

    def _send(self, part: Path, path: Path, file: _File) -> None:
        blob = self._blob(part, file.sha256)
        if self._files.exists(blob) and self._files.size(blob) == file.size:
            return
        self._files.makedirs(str(PurePosixPath(blob).parent), exist_ok=True)
        if path.is_symlink():
            raise BadInput(f"{path} is a link, and a copy is sent of files alone: copy it there")
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


def _known(known: dict[str, _Digest], name: str, path: Path) -> str | None:
    """A file's hash as it was remembered, if the file is still the same."""
    digest, status = known.get(name), path.stat()
    if digest and (digest.size, digest.changed) == (status.st_size, status.st_mtime_ns):
        return digest.sha256
    return None


def _weights(manifest: _Manifest) -> str | None:
    file = manifest.files.get(WEIGHTS)
    return file.sha256 if file else None


def _newest(paths: list[Path]) -> float:
    """When the newest of some files was written; -1 if there are none."""
    return max((path.stat().st_mtime for path in paths), default=-1.0)


def _step(header: bytes) -> int:
    """The step at which a checkpoint was written, by its header; -1 if that is not told."""
    with suppress(ValueError, KeyError, TypeError, OverflowError):
        return int(parse_json(parse_json(header.decode())["__metadata__"]["progress"])["step"])
    return -1
