"""From a film's files to a `Film`: decoded once, kept on disk, opened again in milliseconds."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from zoo.atomic import reason
from zoo.errors import BadInput, ZooError
from zoo.films.catalogue import FilmEntry, parse_fps
from zoo.films.film import Film, Shot
from zoo.films.fingerprint import file_fingerprint
from zoo.films.geometry import Fit
from zoo.films.settings import IngestProgress, IngestSettings, Progress
from zoo.films.source import check_regular_file
from zoo.films.split import Split, check_holdout, split_by_shot
from zoo.films.store import MANIFEST, FrameStore, SplitRecord
from zoo.frame_size import FrameSize
from zoo.locks import SUFFIX, alone, say
from zoo.plain_text import one_line
from zoo.workspace import Workspace


def open_film(
    entry: FilmEntry,
    size: FrameSize,
    workspace: Workspace,
    *,
    fit: Fit = "crop",
    fps: Fraction | float | str | None = None,
    holdout: float = 0.1,
    progress: Progress | None = None,
    hwaccel: str | None = None,
    threads: int = 0,
) -> Film:
    """Open a film at one size, ingesting it first if that was not done before.

    `fps` overrides the entry's; None keeps frames as they come. `holdout` is the share of
    frames to hold out, 0 to 0.5. `hwaccel` names a hardware decoder, such as `cuda`; `threads`
    is for the decoder, 0 for as many as there are cores.

    A film that was ingested before opens in milliseconds: its files are known again by length,
    samples and time of last change, not read whole (`file_fingerprint`). Two processes that want
    the same film ingest it once. What killed processes left half written among the film's stores
    and runs is removed. Raises BadInput on files or settings that cannot be used, and ZooError
    when the disk is full; nothing is left behind then.
    """
    check_holdout(holdout)
    workspace.sweep(entry.name)
    place = locate(entry, size, workspace, fit=fit, fps=fps)
    if not place.ingested:
        with _locked(place.folder, entry, progress):
            if not place.ingested:
                from zoo.films.ingestion import ingest

                with _made_aside(place.folder) as aside:
                    ingest(
                        entry, place.settings, place.fingerprint, aside, progress, hwaccel, threads
                    )
    return _film(entry, FrameStore.open(place.folder), holdout, progress)


@dataclass(frozen=True)
class Place:
    """Where the store of a film with given settings lies, whether or not it is there."""

    settings: IngestSettings
    fingerprint: str
    folder: Path

    @property
    def ingested(self) -> bool:
        """Whether the store is there."""
        return (self.folder / MANIFEST).exists()


def locate(
    entry: FilmEntry,
    size: FrameSize,
    workspace: Workspace,
    *,
    fit: Fit = "crop",
    fps: Fraction | float | str | None = None,
) -> Place:
    """Say where a film's store lies. Raises BadInput if a file is missing or is no file."""
    rate = entry.fps if fps is None else parse_fps(fps)
    settings = IngestSettings(size, fit, entry.crop, entry.start, entry.stop, rate)
    contents, changed = [], []
    for path in entry.files:
        check_regular_file(path)
        try:
            contents.append(file_fingerprint(path))
            changed.append(path.stat().st_mtime_ns)
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    fingerprint = settings.hashed(contents)
    key = hashlib.sha256(f"{fingerprint} {changed}".encode()).hexdigest()[:16]
    return Place(settings, fingerprint, workspace.stores / entry.name / key)


def _film(entry: FilmEntry, store: FrameStore, holdout: float, progress: Progress | None) -> Film:
    manifest = store.manifest
    key = f"{holdout:g}"
    if key not in manifest.splits:
        with _locked(store.folder, entry, progress):
            store = FrameStore.open(store.folder)
            split = split_by_shot(manifest.shots, manifest.frames, manifest.fps, holdout)
            store = store.with_split(key, SplitRecord(runs=split.held_out_runs, gap=split.gap))
    record = store.manifest.splits[key]
    identity = json.dumps([manifest.fingerprint, record.runs, record.gap])
    return Film(
        name=entry.name,
        title=entry.shown_title,
        licence=entry.licence,
        source=", ".join(one_line(path.name) for path in entry.files),
        size=store.size,
        fps=manifest.fps,
        shots=tuple(Shot(start, stop) for start, stop in manifest.shots),
        split=Split(manifest.frames, list(record.runs), record.gap),
        fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
        store=store,
    )


@contextmanager
def _locked(folder: Path, entry: FilmEntry, progress: Progress | None) -> Iterator[None]:
    """Be alone with one store; says so when another process has to be waited for."""

    def waiting(line: str) -> None:
        if progress:
            progress(IngestProgress(entry.name, 0, 0, line))
        else:
            say(line)

    with alone(folder.with_suffix(SUFFIX), f"the frames of {entry.name}", waiting=waiting):
        yield


@contextmanager
def _made_aside(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `folder` if all goes well and else leaves nothing.

    What a killed process left is removed first: the caller holds the lock.
    """
    for left in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(left)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield aside
        aside.chmod(0o755)
        aside.replace(folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ZooError(
                f"{reason(error.errno)}: the frames did not fit into {folder.parent}; nothing is "
                "kept. Make room or choose a smaller --size"
            ) from None
        raise
    finally:
        if aside.exists():
            shutil.rmtree(aside)


def stored(entry: FilmEntry, workspace: Workspace) -> list[FrameStore]:
    """The stores of a film that are there, of whatever size, that can be read."""
    stores = []
    for manifest in sorted((workspace.stores / entry.name).glob(f"*/{MANIFEST}")):
        try:
            stores.append(FrameStore.open(manifest.parent))
        except BadInput:
            # Of an older version or damaged: it is not opened again, only made anew.
            continue
    return stores


def forget(entry: FilmEntry, workspace: Workspace) -> int:
    """Delete all stores of a film, which can be made again; returns how many bytes they took."""
    folder = workspace.stores / entry.name
    freed = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if folder.exists():
        shutil.rmtree(folder)
    return freed
