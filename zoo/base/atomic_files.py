"""Atomic writes: files and folders that appear complete or not at all.

Each is made in a temporary folder beside its place, `.tmp-…`, and renamed into its place when it
is whole. The writer holds a lock in that folder, so a folder whose lock is free was left by a
process that was killed: `sweep` removes it.

A file that is a link is replaced, and what it points to stays as it is. Whether a folder on the way
to a file is a link is asked by `confined`.
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
"""In a temporary folder: a folder that is being made, and the one that it replaces."""
_SECONDS_BETWEEN_SWEEPS = 60.0
_LOST = {errno.EIO, *_NO_ROOM}
"""What a sync raises where data is lost; any other error says that this disk cannot sync."""
_last_swept: dict[Path, float] = {}
_printed: set[str] = set()


def confined(folder: Path, top: Path) -> Path:
    """Return `folder`; raises BadInput where it, or a folder between `top` and it, is a link.

    So nothing is written or removed outside of `top`, whoever sent what lies there. `top` itself
    and what is above it may be links: people have their folders on several disks.
    """
    place = top
    for name in folder.relative_to(top).parts:
        place /= name
        if place.is_symlink():
            raise BadInput(
                f"{place} is a link, and nothing is written or removed through one there: remove "
                "it, or put a folder in its place"
            )
    return folder


def check_writable(folder: Path, what: Path | None = None) -> None:
    """Raise ZooError unless files can be made in a folder, which need not be there.

    `what` is to be written there and is named instead of the folder. Nothing is left.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise BadInput(f"{there} is a file, and no folder: nothing can be written in it")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        why = write_error(error.errno, error.strerror)
        raise CannotWrite(f"{what or folder} cannot be written: {why}") from error


@contextmanager
def atomic_write(path: Path, *, keep_mode: bool = False) -> Iterator[Path]:
    """Yield a path to write a file at; rename it to `path` if the block ends without an error.

    It gets the usual mode, or with `keep_mode` that of a file which is there already.
    A reader sees the old file or the new one, never half of either, whatever kills the writer.
    What writers that were killed left in the same folder is removed. Raises CannotWrite, with the
    old file untouched, where the disk is full or the folder cannot be written to.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_now_and_then(path.parent)
    with _temporary_folder(path) as (folder, mode):
        temporary = folder / path.name
        if keep_mode and path.exists():
            mode = path.stat().st_mode & 0o777
            # Before anything is in it: a private file is never open to others.
            temporary.touch(mode | 0o200)
        yield temporary
        _set_mode(temporary, mode)
        sync(temporary)
        temporary.replace(path)


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; put it in the place of `folder` if the block ends well.

    `folder` need not exist. It stays as it is while the new one is filled, and is removed only when
    the new one, with every file in it synced to disk, is in its place. Where the block raises, or
    the process is killed, the old folder remains; a kill between the two renames of the exchange
    leaves neither in place until `sweep(folder.parent)`, which every write in the parent does,
    completes the exchange. Take whatever is to be kept of the old folder into the new one.

    Locks (`*.lock`) that lie directly in the old folder lie in the new one as well: a lock that is
    held stays held. If `folder` is a symbolic link, what it points to is replaced. Raises
    CannotWrite, with the old folder untouched, where the disk is full or the parent of `folder`
    cannot be written to.
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
    """Remove a folder with all in it, a file, or a link, whichever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder so that it is gone at once, or there whole; raises CannotWrite."""
    with _temporary_folder(folder) as (temporary, _):
        folder.rename(temporary / "removed")


def link_or_copy(source: str, target: str) -> None:
    """Give a file a second name; where the disk has no links, copy it."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


@contextmanager
def best_effort(what: str) -> Iterator[None]:
    """Write a cache in the block; if that fails, print one line and continue.

    `what` names the cache in that line, such as "the hashes of its frames". The line is printed
    once for each file.
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
    """Yield a new folder beside `path`, for files that making it needs; removed with the block.

    Raises CannotWrite where the folder that `path` lies in cannot be written to.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _temporary_folder(path) as (folder, _):
        yield folder


def sweep(folder: Path) -> None:
    """Remove what killed writers left in a folder, and complete an interrupted exchange.

    What writers at work have there is left alone.
    """
    try:
        found = [path for path in folder.iterdir() if is_temporary(path)]
    except FileNotFoundError:
        return
    for left in found:
        # A link in an untrusted folder is not followed out of that folder.
        if left.is_symlink() or any(path.is_symlink() for path in left.glob("*")):
            continue
        # Another may be sweeping as well, or the folder is not ours to write in.
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
    if temporary.is_symlink():  # untrusted; a lock would be made where it leads
        return False
    try:
        lock = try_lock(temporary / _LOCK)
    except OSError:
        return False
    if lock:
        lock.release()
    return lock is not None


def sweep_below(folder: Path) -> None:
    """Sweep a folder and all that lie below it."""
    for place, folders, _ in os.walk(folder):
        if any(name.startswith(_PREFIX) for name in folders):
            sweep(Path(place))
            folders[:] = [name for name in folders if not name.startswith(_PREFIX)]


def sync(path: Path) -> None:
    """Wait until a file's data, or a folder's list of names, is on the disk.

    Raises OSError where data could not be written. A disk that cannot sync is none: what can be
    done has been done.
    """
    try:
        # Windows syncs only what is open for writing, and no folder.
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
    """Yield a new folder beside `path`, locked, and the mode of files that are made there."""
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
            # Its mode is the usual one: whoever may write here may remove it after a kill.
            try:
                folder.mkdir()
            except FileNotFoundError as error:  # the parent was made: it is gone, or no real disk
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
    """The mode that a file made in a folder gets: umask, default ACL and mount options decide."""
    probe = folder / ".mode"
    file = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    mode = os.fstat(file).st_mode & 0o777
    os.close(file)
    probe.unlink()
    return mode


def _set_mode(path: Path, mode: int) -> None:
    """Give a file the usual mode: libraries make private ones. Some disks have no modes to set."""
    if path.stat().st_mode & 0o777 != mode:
        with suppress(OSError):
            path.chmod(mode)


def _sync_below(folder: Path, mode: int) -> None:
    """Sync every file and folder in a folder, and itself; files get their mode before."""
    for place, _, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(place, name)
            if not path.is_symlink():
                _set_mode(path, mode)
                sync(path)
        sync(Path(place))


def _keep_lock(lock: Path, kept: Path) -> None:
    """Bring a lock into another folder: the same file under a second name, so it stays held."""
    with suppress(FileExistsError):
        try:
            os.link(lock, kept)
        except FileNotFoundError:
            return
        except OSError:  # no links on this disk: the file itself is moved
            lock.rename(kept)


def _remove(temporary: Path) -> None:
    """Remove a temporary folder; first complete an interrupted exchange in it.

    Between the two renames the new folder is whole, and goes into place; if it cannot, the old one
    goes back, and if that cannot either, nothing is removed.
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
    """Sweep a folder unless this process did so within the last minute: it lists the folder."""
    now = time.monotonic()
    if now - _last_swept.get(folder, -_SECONDS_BETWEEN_SWEEPS) >= _SECONDS_BETWEEN_SWEEPS:
        _last_swept[folder] = now
        sweep(folder)


def write_json(path: Path, record: pydantic.BaseModel, indent: int | None = 1) -> None:
    """Write a record as strict JSON, whole or not at all; on one line without an `indent`."""
    with atomic_write(path) as temporary:
        temporary.write_text(record.model_dump_json(indent=indent) + "\n", encoding="utf-8")
