"""Decoded frames on disk: list them, find those that are no longer needed, remove them."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zoo.api.film_entry import FilmEntry
from zoo.base.atomic_files import confined, is_abandoned, is_temporary, sweep
from zoo.base.errors import BadInput
from zoo.base.locks import holder, is_lock
from zoo.base.workspace import Workspace
from zoo.films.catalogue import Catalogue
from zoo.films.frame_store import FrameStore, exclusive_use, remove_store, store_lock
from zoo.films.ingest import locate_store


@dataclass(frozen=True)
class StoredFrames:
    """A folder of decoded frames, complete or not."""

    film: str
    folder: Path
    bytes: int
    what: str
    """The number and size of its frames, or its state if it is incomplete or damaged."""
    unneeded: str | None
    """Why no command opens it any more; None if one does, or if that is unknown."""

    def remove(self) -> None:
        """Delete it. Raises LockHeld if a process uses it, CannotWrite if it cannot be deleted."""
        if is_temporary(self.folder):
            sweep(self.folder.parent)
        elif self.folder.name.startswith("."):
            with exclusive_use(self.folder):
                shutil.rmtree(self.folder)
        else:
            remove_store(self.folder)
        _remove_if_empty(self.folder.parent)


def find_stored_frames(catalogue: Catalogue, films: Collection[str] = ()) -> list[StoredFrames]:
    """List the decoded frames of some films, or of all, without those that are being written.

    Links are left out: their targets must not be removed. Raises BadInput if a film that was named
    has no frames.
    """
    root = catalogue.workspace.stores
    there = sorted(path.name for path in root.glob("*") if _is_folder(path))
    for name in films:
        confined(root / name, root)
        if name not in there:
            kept = ", ".join(there) or "none"
            raise BadInput(f"no frames of a film {name!r} are stored here; stored: {kept}")
    return [one for name in films or there for one in _stored_frames(root / name, catalogue)]


def check_not_in_use(film: str, workspace: Workspace) -> None:
    """Raise LockHeld if a process uses or makes a film's frames, BadInput if they are a link."""
    for folder in _stores(confined(workspace.stores / film, workspace.stores)):
        with exclusive_use(folder):
            continue


def remove_stores(film: str, workspace: Workspace) -> int:
    """Delete all decoded frames of a film; returns how many bytes they took.

    They can be decoded again. Raises as `check_not_in_use`; frames in use are kept.
    """
    place = confined(workspace.stores / film, workspace.stores)
    freed = _bytes(place)
    for folder in _stores(place):
        remove_store(folder)
    if place.is_dir():
        sweep(place)
        for left in _left_by_earlier_versions(place):
            shutil.rmtree(left)
    _remove_if_empty(place)
    return freed


def _stored_frames(place: Path, catalogue: Catalogue) -> Iterator[StoredFrames]:
    temporary = [path for path in place.iterdir() if is_temporary(path) and is_abandoned(path)]
    for left in temporary + _left_by_earlier_versions(place):
        yield StoredFrames(place.name, left, _bytes(left), "unfinished", "its ingest was killed")
    for folder in sorted(path for path in _stores(place) if path.exists()):
        try:
            store = FrameStore.open(folder)
        except BadInput:
            yield StoredFrames(place.name, folder, _bytes(folder), "damaged", "it cannot be used")
        else:
            what = f"{store.manifest.frames:,} frames at {store.size}"
            yield StoredFrames(
                place.name, folder, _bytes(folder), what, _why_unneeded(store, catalogue)
            )


def _stores(place: Path) -> list[Path]:
    """List the folders of a film's stores, including those that have only a lock file so far."""
    if not place.is_dir():
        return []
    names = {path.name for path in place.iterdir() if _is_folder(path)}
    names |= {path.name.partition(".")[0] for path in place.iterdir() if is_lock(path)}
    return [place / name for name in sorted(names) if name and not name.startswith(".")]


def _left_by_earlier_versions(place: Path) -> list[Path]:
    """List the `.KEY.…` folders that killed ingests of film-zoo 0.1.0 left behind."""
    found = [path for path in place.glob(".*") if _is_folder(path) and not is_temporary(path)]
    return [path for path in sorted(found) if holder(store_lock(path)) is None]


def _why_unneeded(store: FrameStore, catalogue: Catalogue) -> str | None:
    entry: FilmEntry | None = catalogue.entries.get(store.folder.parent.name)
    if entry is None:
        return "no film in the catalogue has this name"
    try:
        place = locate_store(entry, store.size, catalogue.workspace)
    except BadInput:
        return None  # its files are missing, perhaps on a disk that is not mounted
    if place.fingerprint == store.manifest.fingerprint:
        return None
    return "the film's files or settings have changed"


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _remove_if_empty(place: Path) -> None:
    with suppress(OSError):
        place.rmdir()
