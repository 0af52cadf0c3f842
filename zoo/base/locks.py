"""Locks between processes, on disks with and without `flock`, that record who holds them.

A lock is a file that is kept when the lock is released, so that all processes lock the same file.
A second file in the same folder, `….owner.lock`, says who holds it; a killed process leaves that
file, and the next holder overwrites it.

On a disk without `flock` (Lustre mounted without it, some FUSE disks) another file,
`….marker.lock`, names the holder's process and machine and is removed on release. The marker of a
process that died on this machine is taken over. A marker from another machine stays until somebody
deletes it, since this machine cannot know whether that process is alive.
"""

from __future__ import annotations

import errno
import getpass
import os
import socket
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import filelock
import pydantic

from zoo.base.errors import BadInput, ZooError, disk_errors

SUFFIX = ".lock"
_MARKER = ".marker" + SUFFIX
_IN_USE = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
_NO_FLOCK = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
_of_this_process: weakref.WeakSet[FileLock] = weakref.WeakSet()
"""Locks that this process holds by `flock`; a forked child closes their files."""


class CannotLock(ZooError, OSError):
    """The disk does not support file locks; not raised when somebody else holds the lock."""

    def __init__(self, folder: Path, why: str | None) -> None:
        super().__init__(
            f"{folder} is on a disk without file locks ({why}); mount it with them "
            "(Lustre: option `flock`; NFS: its lock service, or option `local_lock=flock` where "
            "one machine uses it), or work in another folder"
        )
        self.strerror = why


class FileLock:
    """A held lock; it ends with `release`, garbage collection, or the end of the process."""

    def __init__(self, file: int | filelock.BaseFileLock) -> None:
        self._held: int | filelock.BaseFileLock | None = file
        if isinstance(file, int):
            _of_this_process.add(self)

    @property
    def is_marker(self) -> bool:
        """Whether the lock is held on a disk without `flock`; false after release."""
        return isinstance(self._held, filelock.SoftFileLock)

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
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

    The file is created if necessary and kept. Raises CannotLock if the disk has no locks, BadInput
    if `path` is a link, and OSError if the file cannot be opened.
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
            # If the marker belongs to a dead process, the first attempt only removes it.
            lock = filelock.SoftFileLock(marker)
            return _acquired(lock) or (None if marker.exists() else _acquired(lock))
        if held and _is_still(path, file):
            return FileLock(file)
        os.close(file)
        if not held:
            return None


def try_shared(path: Path) -> FileLock | None:
    """Take a shared lock on an existing file; None if a process holds it by `try_exclusive`.

    Has no effect on Windows, where an open file cannot be removed, and on disks without `flock`.
    Raises OSError if the file cannot be opened.
    """
    return _held(path, shared=True)


def try_exclusive(path: Path) -> FileLock | None:
    """Take an exclusive lock on an existing file; None if another process holds it."""
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
        # By a link, an untrusted folder could have files created outside it.
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BadInput(f"{path} is a link, but a lock must be a file: remove it") from None
        # Another user's lock may be read-only for us; on most disks that is enough to lock it.
        if error.errno not in {errno.EACCES, errno.EROFS} or not path.exists():
            raise
    return os.open(path, os.O_RDONLY)


def _is_still(path: Path, file: int) -> bool:
    """Whether `path` still names the opened file: it may have been replaced."""
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
    """Drop the parent's locks in a forked child, which may outlive the parent."""
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


IN_FOLDER = ".lock"
"""Name of a lock that protects the folder it is in."""
_POLL_SECONDS = 0.1
_LARGEST_NOTE = 4096
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}

_Word = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=255)]
Waiting = Callable[[str], None]
"""Called with a line that says what the process waits for, and who holds it."""


class LockHeld(ZooError):
    """Another process holds a lock that the caller does not wait for."""


class WaitStopped(ZooError):
    """The user asked to stop while the process waited for a lock."""

    exit_code = 130


class Owner(pydantic.BaseModel):
    """The holder of a lock, as recorded by itself."""

    model_config = pydantic.ConfigDict(extra="ignore", allow_inf_nan=False)

    pid: Annotated[int, pydantic.Field(ge=1, lt=1 << 32)]
    host: _Word
    user: _Word
    since: float
    """Time at which it took the lock, in seconds since 1970."""

    @classmethod
    def here(cls) -> Owner:
        """This process as the holder of a lock, from now on."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a user in a container may have no name
            user = str(os.getuid())
        host = _word(socket.gethostname())
        return cls(pid=os.getpid(), host=host, user=_word(user), since=time.time())

    def __str__(self) -> str:
        """Format as `pid 123 on HOST (USER) for 2 min`."""
        return f"pid {self.pid} on {self.host} ({self.user}) for {_age(time.time() - self.since)}"


@contextmanager
def exclusive_lock(
    path: Path,
    what: str,
    *,
    waiting: Waiting | None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Hold the lock at `path`, whose name ends in `.lock`, while the block runs.

    `what` names the protected thing in messages. If another process holds the lock, `waiting` is
    called once and the lock is waited for until `stop()` is true; then WaitStopped is raised. If
    `waiting` is None, LockHeld is raised at once. Raises CannotWrite if the folder cannot be
    written to, and CannotLock if its disk has no locks.
    """
    with disk_errors(path.parent, path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = try_lock(path)
        if not lock:
            who = _holder(path)
            if waiting is None:
                raise LockHeld(f"{what} is in use by {who}; wait for it, or stop it first")
            waiting(f"waiting for {what}, held by {who}")
        while not lock:
            if stop():
                raise WaitStopped(f"stopped while waiting for {what}, held by {_holder(path)}")
            time.sleep(_POLL_SECONDS)
            lock = try_lock(path)
    note = _note(path)
    try:
        # The owner file is optional: on a full disk the lock works without it.
        with suppress(OSError):
            note.unlink(missing_ok=True)  # left by a killed process, perhaps of another user
            note.write_text(Owner.here().model_dump_json(), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            note.unlink(missing_ok=True)
        lock.release()


def holder(path: Path) -> str | None:
    """The holder of the lock at `path`, in words; None if nobody holds it. Creates no file."""
    # If the file does not exist, nobody holds the lock, and none is created.
    if not path.exists():
        return None
    try:
        lock = try_lock(path)
    except OSError as error:
        if error.errno in _READ_ONLY:
            return None  # nobody can hold a lock in a file that is not writable
        raise
    if lock:
        lock.release()
        return None
    return _holder(path)


def print_waiting(line: str) -> None:
    """Print a line about waiting on standard error, separate from the command's output."""
    sys.stderr.write(f"zoo: {line}\n")
    sys.stderr.flush()


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder that one process may write at a time, such as the results."""
    with exclusive_lock(folder / IN_FOLDER, str(folder), waiting=print_waiting):
        yield


def is_lock(path: Path) -> bool:
    """Whether a file is a lock, its owner file or its marker."""
    return path.name.endswith(SUFFIX)


def _word(name: str) -> str:
    plain = (c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name[:255])
    return "".join(plain) or "unknown"


def _note(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(SUFFIX) + ".owner" + SUFFIX)


def _holder(path: Path) -> str:
    try:
        with _note(path).open("rb") as file:
            return str(Owner.model_validate_json(file.read(_LARGEST_NOTE)))
    except (OSError, ValueError):
        # The holder has just taken the lock, or has just released it.
        return "another process"


def _age(seconds: float) -> str:
    for most, unit, name in ((90, 1, "s"), (90 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < most:
            return f"{max(0.0, seconds) // unit:.0f} {name}"
    return f"{seconds // 86_400:.0f} days"
