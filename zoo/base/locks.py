"""Locks between processes, on disks with `flock` and without, that say who holds them.

A lock is a file that stays when it is released, so that all processes wait for the same one.
`….owner.lock` beside it says who holds it; a killed process leaves that file, and the next holder
overwrites it.

Where the disk has no `flock` (Lustre mounted without it, some FUSE disks), a second file,
`….marker.lock`, names the holder's process and machine and is removed when the lock is released.
The marker of a process that died on this machine is taken over; one from another machine stays
until somebody deletes it, as nothing here can know whether that process lives.
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


def try_shared(path: Path) -> FileLock | None:
    """Hold a file as one of many readers, which `try_exclusive` sees; None if that is in the way.

    Without effect on Windows, which removes no file that is open, and on disks without `flock`.
    Raises OSError if the file cannot be opened.
    """
    return _held(path, shared=True)


def try_exclusive(path: Path) -> FileLock | None:
    """Hold an existing file alone; None if a process holds it by `try_shared`."""
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
        # Through a link, an untrusted folder would have files made outside of it.
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


IN_FOLDER = ".lock"
"""A lock's name where it guards the folder it lies in."""
_POLL_SECONDS = 0.1
_LARGEST_NOTE = 4096
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}

_Word = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=255)]
Waiting = Callable[[str], None]
"""Told in a line what is waited for, and who holds it."""


class LockHeld(ZooError):
    """Another process holds a lock that the caller does not wait for."""


class WaitStopped(ZooError):
    """The user asked to stop while a lock was waited for."""

    exit_code = 130


class Owner(pydantic.BaseModel):
    """The holder of a lock, as it wrote itself down."""

    model_config = pydantic.ConfigDict(extra="ignore", allow_inf_nan=False)

    pid: Annotated[int, pydantic.Field(ge=1, lt=1 << 32)]
    host: _Word
    user: _Word
    since: float
    """Seconds since 1970."""

    @classmethod
    def here(cls) -> Owner:
        """This process as the holder of a lock, from now on."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a container's user need not have a name
            user = str(os.getuid())
        host = _word(socket.gethostname())
        return cls(pid=os.getpid(), host=host, user=_word(user), since=time.time())

    def __str__(self) -> str:
        """Such as `pid 123 on HOST (USER) for 2 min`."""
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

    `what` names in messages what it guards. Where another process holds it, `waiting` is called and
    the lock is waited for, until `stop` says otherwise: then WaitStopped is raised. With a
    `waiting` of None raises LockHeld at once. Raises CannotWrite where the folder cannot be written
    to, CannotLock where its disk has no locks.
    """
    with disk_errors(path.parent, path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = try_lock(path)
        if not lock:
            who = _holder(path)
            if waiting is None:
                raise LockHeld(f"{what} is in use by {who}; wait for it, or stop that first")
            waiting(f"waiting for {what}, held by {who}")
        while not lock:
            if stop():
                raise WaitStopped(f"stopped while waiting for {what}, held by {_holder(path)}")
            time.sleep(_POLL_SECONDS)
            lock = try_lock(path)
    note = _note(path)
    try:
        # The note is optional: on a full disk the lock works without it.
        with suppress(OSError):
            note.unlink(missing_ok=True)  # a killed process's, perhaps another user's
            note.write_text(Owner.here().model_dump_json(), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            note.unlink(missing_ok=True)
        lock.release()


def holder(path: Path) -> str | None:
    """The holder of the lock at `path`, in words; None if there is none. Leaves nothing behind."""
    # Without the file there is no lock, and none is made.
    if not path.exists():
        return None
    try:
        lock = try_lock(path)
    except OSError as error:
        if error.errno in _READ_ONLY:
            return None  # nobody can hold a lock that cannot be written
        raise
    if lock:
        lock.release()
        return None
    return _holder(path)


def print_waiting(line: str) -> None:
    """Print a line about waiting on standard error, beside whatever the command prints."""
    sys.stderr.write(f"zoo: {line}\n")
    sys.stderr.flush()


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """`exclusive_lock` in a folder that one process writes at a time, as that of the results."""
    with exclusive_lock(folder / IN_FOLDER, str(folder), waiting=print_waiting):
        yield


def is_lock(path: Path) -> bool:
    """Whether a file is a lock or says who holds one."""
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
        # It has just taken it, or just let go.
        return "another process"


def _age(seconds: float) -> str:
    for most, unit, name in ((90, 1, "s"), (90 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < most:
            return f"{max(0.0, seconds) // unit:.0f} {name}"
    return f"{seconds // 86_400:.0f} days"
