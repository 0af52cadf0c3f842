"""Lock files: one process at a time, on disks with `flock` and without.

Where the disk has no `flock` (Lustre mounted without it, some FUSE disks), a second file,
`….marker.lock`, names the holder's process and machine and is removed when the lock is released.
The marker of a process that died on this machine is taken over; one from another machine stays
until somebody deletes it, as nothing here can tell whether that process lives.
"""

from __future__ import annotations

import errno
import os
import sys
import weakref
from contextlib import suppress
from pathlib import Path

import filelock

from zoo.base.errors import BadInput, ZooError

SUFFIX = ".lock"
_MARKER = ".marker" + SUFFIX
_IN_USE = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
_NO_FLOCK = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
_of_this_process: weakref.WeakSet[FileLock] = weakref.WeakSet()
"""Locks that are held by `flock`: a forked child closes their files."""


class CannotLock(ZooError, OSError):
    """The disk refuses file locks, for another reason than that somebody holds one."""

    def __init__(self, folder: Path, why: str | None) -> None:
        super().__init__(
            f"{folder} is on a disk without file locks ({why}); mount it with them "
            "(Lustre: option `flock`; NFS: its lock service, or option `local_lock=flock` where "
            "one machine uses it), or work in another folder"
        )
        self.strerror = why


class FileLock:
    """A lock that is held until it is released, or nothing refers to it, or the process ends."""

    def __init__(self, file: int | filelock.BaseFileLock) -> None:
        self._held: int | filelock.BaseFileLock | None = file
        if isinstance(file, int):
            _of_this_process.add(self)

    @property
    def is_marker(self) -> bool:
        """Whether it was taken on a disk without `flock`; false once it is released."""
        return isinstance(self._held, filelock.SoftFileLock)

    def release(self) -> None:
        """Let go; does nothing the second time."""
        held, self._held = self._held, None
        if isinstance(held, int):
            _of_this_process.discard(self)
            os.close(held)
        elif held:
            held.release()

    def __del__(self) -> None:
        self.release()


def try_lock(path: Path) -> FileLock | None:
    """Take the lock at `path`, which ends in `.lock`; None if another process holds it.

    The file is made if need be and stays. Raises CannotLock where the disk has no locks, BadInput
    where a link is there, and OSError where the file cannot be opened.
    """
    if sys.platform == "win32":
        return _acquired(filelock.FileLock(path))
    while True:
        file = _opened(path)
        try:
            held = _flock(file)
        except OSError as error:
            os.close(file)
            if error.errno not in _NO_FLOCK:
                raise CannotLock(path.parent, error.strerror) from error
            marker = path.with_name(path.name.removesuffix(SUFFIX) + _MARKER)
            # The first attempt at the marker of a dead process only removes it.
            lock = filelock.SoftFileLock(marker)
            return _acquired(lock) or (None if marker.exists() else _acquired(lock))
        if held and _is_still(path, file):
            return FileLock(file)
        os.close(file)
        if not held:
            return None


def share(path: Path) -> FileLock | None:
    """Hold a file as one of many readers, which `try_exclusive` sees; None if that is in the way.

    Without effect on Windows, which removes no file that is open, and on disks without `flock`.
    Raises OSError if the file cannot be opened.
    """
    return _held(path, shared=True)


def try_exclusive(path: Path) -> FileLock | None:
    """Hold an existing file alone; None if a process holds it by `share`."""
    return _held(path, shared=False)


def _held(path: Path, *, shared: bool) -> FileLock | None:
    file = os.open(path, os.O_RDONLY if shared or not os.access(path, os.W_OK) else os.O_RDWR)
    if sys.platform == "win32":
        return FileLock(file)
    try:
        held = _flock(file, shared=shared)
    except OSError:
        held = True
    if not held:
        os.close(file)
        return None
    return FileLock(file)


def _opened(path: Path) -> int:
    try:
        # Through a link, a folder from elsewhere would have files made outside of it.
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BadInput(f"{path} is a link, and a lock is a file: remove it") from None
        # Another user's lock may be readable alone; that is enough to hold it on most disks.
        if error.errno not in {errno.EACCES, errno.EROFS} or not path.exists():
            raise
    return os.open(path, os.O_RDONLY)


def _is_still(path: Path, file: int) -> bool:
    """Whether the file that was opened still has this name: it may have been replaced."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _acquired(lock: filelock.BaseFileLock) -> FileLock | None:
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return None
    return FileLock(lock)


def _close_in_child() -> None:
    """A forked child does not hold its parent's locks: it may outlive the parent."""
    for lock in tuple(_of_this_process):
        with suppress(OSError):
            lock.release()


if sys.platform != "win32":
    import fcntl

    def _flock(file: int, *, shared: bool = False) -> bool:
        """Try `flock`; False if another holds it. Raises OSError where the disk has none."""
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _IN_USE:
                return False
            raise
        return True

    os.register_at_fork(after_in_child=_close_in_child)
