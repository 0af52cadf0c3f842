"""Atomic writes: files and folders that appear complete or not at all.

Each is made in a temporary folder in the same parent folder, `.tmp-…`, and renamed to its final
path when it is complete. The writer holds a lock in the temporary folder. If that lock is free, the
writer was killed, and `sweep` removes the folder.

A file that is a symbolic link is replaced; its target stays as it is. `confined` checks for links
among the folders above a file.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pydantic

from zoo.base.errors import _NO_ROOM, BadInput, CannotWrite, disk_errors, write_error
from zoo.base.locks import CannotLock, FileLock, try_lock

_PREFIX = ".tmp-"
_LOCK = ".lock"
_NEW, _OLD = "new", "old"
"""Subfolders of a temporary folder: one for the new folder, one for the folder it replaces."""
_SECONDS_BETWEEN_SWEEPS = 60.0
_LOST = {errno.EIO, *_NO_ROOM}
"""Errors of a sync that lost data; any other error means that this disk cannot sync."""
_last_swept: dict[Path, float] = {}
_printed: set[str] = set()


def confined(folder: Path, top: Path) -> Path:
    """Return `folder`; raises BadInput if it, or a folder between `top` and it, is a link.

    This keeps writes and deletions within `top`, even if its content is untrusted. `top` itself
    and its parents may be links, since users spread their folders over several disks.
    """
    place = top
    for name in folder.relative_to(top).parts:
        place /= name
        if place.is_symlink():
            raise BadInput(
                f"{place} is a link, and nothing is written or removed through links there: "
                "remove it, or replace it with a folder"
            )
    return folder


def check_writable(folder: Path, what: Path | None = None) -> None:
    """Raise ZooError unless files can be made in a folder, which need not exist.

    If given, `what` is named in the error instead of the folder. No file is left behind.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise BadInput(f"{there} is a file, not a folder: nothing can be written in it")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        why = write_error(error.errno, error.strerror)
        raise CannotWrite(f"{what or folder} cannot be written: {why}") from error


@contextmanager
def atomic_write(path: Path, *, keep_mode: bool = False) -> Iterator[Path]:
    """Yield a temporary path to write to; rename it to `path` if the block ends without an error.

    The file gets the usual mode; with `keep_mode`, the mode of an existing file at `path`.
    A reader sees the old file or the new one, never a partial one, even if the writer is killed.
    Temporary folders of killed writers in the same folder are removed. Raises CannotWrite, with the
    old file untouched, if the disk is full or the folder cannot be written to.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_now_and_then(path.parent)
    with _temporary_folder(path) as (folder, mode):
        temporary = folder / path.name
        if keep_mode and path.exists():
            mode = path.stat().st_mode & 0o777
            # Set the mode while the file is empty, so that private content is never readable.
            temporary.touch(mode | 0o200)
        yield temporary
        _set_mode(temporary, mode)
        sync(temporary)
        temporary.replace(path)


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; replace `folder` by it if the block ends without an error.

    `folder` need not exist. It stays as it is while the new one is filled, and is removed only when
    the new one, with every file synced to disk, has taken its place. If the block raises or the
    process is killed, the old folder remains. A kill between the two renames of the exchange leaves
    neither in place, until the next write in the parent folder calls `sweep`, which completes the
    exchange. Copy whatever should be kept of the old folder into the new one.

    Locks (`*.lock`) directly in the old folder are linked into the new one, so a held lock stays
    held. If `folder` is a symbolic link, its target is replaced. Raises CannotWrite, with the old
    folder untouched, if the disk is full or the parent of `folder` cannot be written to.
    """
    place = folder.resolve()
    with disk_errors(folder, place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
        sweep(place.parent)
    with _temporary_folder(place) as (temporary, mode):
        new, old = temporary / _NEW / place.name, temporary / _OLD / place.name
        new.mkdir(parents=True)
        old.parent.mkdir()
        yield new
        sweep_below(new)
        _sync_below(new, mode)
        if os.path.lexists(place):
            for lock in place.glob("*.lock"):
                _keep_lock(lock, new / lock.name)
            place.rename(old)
        new.rename(place)
        sync(place.parent)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all its content."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder atomically: completely or not at all; raises CannotWrite."""
    with _temporary_folder(folder) as (temporary, _):
        folder.rename(temporary / "removed")


def link_or_copy(source: str, target: str) -> None:
    """Make a hard link to a file, or a copy if the disk has no hard links."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


@contextmanager
def best_effort(what: str) -> Iterator[None]:
    """Write a cache in the block; if that fails, print one line and continue.

    `what` names the cache in that line, such as "the hashes of its frames". Each line is printed
    once.
    """
    try:
        yield
    except OSError as error:  # CannotWrite and CannotLock among them
        line = f"note: {error}; {what} are not kept\n"
        if line not in _printed:
            _printed.add(line)
            sys.stderr.write(line)
            sys.stderr.flush()


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder in the parent of `path` for intermediate files; then remove it.

    Raises CannotWrite if the parent of `path` cannot be written to.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _temporary_folder(path) as (folder, _):
        yield folder


def sweep(folder: Path) -> None:
    """Remove temporary folders of killed writers, and complete interrupted exchanges.

    Temporary folders of running writers are left alone.
    """
    try:
        found = [path for path in folder.iterdir() if is_temporary(path)]
    except FileNotFoundError:
        return
    for left in found:
        # A link in an untrusted folder is not followed out of that folder.
        if left.is_symlink() or any(path.is_symlink() for path in left.glob("*")):
            continue
        # Another process may be sweeping too, or the folder may not be writable.
        with suppress(OSError):
            lock = try_lock(left / _LOCK)
            if lock:
                _remove(left)
                lock.release()


def is_temporary(path: Path) -> bool:
    """Whether a folder is a temporary folder of an atomic write."""
    return path.name.startswith(_PREFIX)


def is_abandoned(temporary: Path) -> bool:
    """Whether the process that wrote in a temporary folder was killed."""
    if temporary.is_symlink():  # untrusted: a lock would be made in the link's target
        return False
    try:
        lock = try_lock(temporary / _LOCK)
    except OSError:
        return False
    if lock:
        lock.release()
    return lock is not None


def sweep_below(folder: Path) -> None:
    """Sweep a folder and all folders below it."""
    for place, folders, _ in os.walk(folder):
        if any(name.startswith(_PREFIX) for name in folders):
            sweep(Path(place))
            folders[:] = [name for name in folders if not name.startswith(_PREFIX)]


def sync(path: Path) -> None:
    """Wait until a file's data, or a folder's entries, are on the disk.

    Raises OSError if data could not be written. On a disk that cannot sync this does nothing and
    raises no error.
    """
    try:
        # Windows syncs only files that are open for writing, and no folders.
        file = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except PermissionError:
        return
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno in _LOST:
            raise
    finally:
        os.close(file)


@contextmanager
def _temporary_folder(path: Path) -> Iterator[tuple[Path, int]]:
    """Yield a new, locked folder in the parent of `path`, and the mode for files in it."""
    with disk_errors(path, path.parent):
        folder, lock = _new_folder(path.parent)
    try:
        with disk_errors(path, folder):
            yield folder, _usual_mode(folder)
    finally:
        _remove(folder)
        lock.release()


def _new_folder(parent: Path) -> tuple[Path, FileLock]:
    while True:
        folder = parent / f"{_PREFIX}{secrets.token_hex(4)}"
        with suppress(FileExistsError):
            # It has the usual mode: whoever may write here may remove it if the writer is killed.
            try:
                folder.mkdir()
            except FileNotFoundError as error:  # the parent has vanished, or is not on a real disk
                raise CannotWrite(f"nothing can be written in {parent}") from error
            try:
                lock = try_lock(folder / _LOCK)
            except FileNotFoundError:  # swept by another process before it was locked
                continue
            except CannotLock as error:
                shutil.rmtree(folder, ignore_errors=True)
                raise CannotLock(parent, error.strerror) from error
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            if lock:
                return folder, lock


def _usual_mode(folder: Path) -> int:
    """The mode of a new file in a folder, as umask, default ACL and mount options set it."""
    probe = folder / ".mode"
    file = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    mode = os.fstat(file).st_mode & 0o777
    os.close(file)
    probe.unlink()
    return mode


def _set_mode(path: Path, mode: int) -> None:
    """Set a file's mode, since libraries make private files; ignore disks without modes."""
    if path.stat().st_mode & 0o777 != mode:
        with suppress(OSError):
            path.chmod(mode)


def _sync_below(folder: Path, mode: int) -> None:
    """Set the mode of every file below a folder, then sync the files and all folders."""
    for place, _, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(place, name)
            if not path.is_symlink():
                _set_mode(path, mode)
                sync(path)
        sync(Path(place))


def _keep_lock(lock: Path, kept: Path) -> None:
    """Link a lock into another folder: it is the same file, so a held lock stays held."""
    with suppress(FileExistsError):
        try:
            os.link(lock, kept)
        except FileNotFoundError:
            return
        except OSError:  # no links on this disk: the file itself is moved
            lock.rename(kept)


def _remove(temporary: Path) -> None:
    """Remove a temporary folder; first complete an interrupted exchange in it.

    Between its two renames the new folder is complete, so it is moved into place. If this fails,
    the old folder is moved back. If that fails too, nothing is removed.
    """
    for old in (temporary / _OLD).glob("*"):
        place, new = temporary.parent / old.name, temporary / _NEW / old.name
        for whole in (new, old):
            if whole.exists() and not os.path.lexists(place):
                with suppress(OSError):
                    whole.rename(place)
        if not os.path.lexists(place):
            return
    shutil.rmtree(temporary, ignore_errors=True)


def _sweep_now_and_then(folder: Path) -> None:
    """Sweep a folder, but at most once a minute, since a sweep lists the folder."""
    now = time.monotonic()
    if now - _last_swept.get(folder, -_SECONDS_BETWEEN_SWEEPS) >= _SECONDS_BETWEEN_SWEEPS:
        _last_swept[folder] = now
        sweep(folder)


def write_json(path: Path, record: pydantic.BaseModel, indent: int | None = 1) -> None:
    """Write a record atomically as strict JSON; on one line if `indent` is None."""
    with atomic_write(path) as temporary:
        temporary.write_text(record.model_dump_json(indent=indent) + "\n", encoding="utf-8")
