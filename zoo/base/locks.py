"""One process at a time: locks that say who holds them, and for how long.

A lock is a file that stays when it is let go, so that all wait for the same one. Who holds it is
written beside it, in `….owner.lock`, which is there only meanwhile: a killed process leaves it, and
the next to hold the lock writes its own.
"""

from __future__ import annotations

import errno
import getpass
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import pydantic

from zoo.base.atomic_files import told
from zoo.base.errors import ZooError
from zoo.base.file_lock import SUFFIX, try_lock

IN_FOLDER = ".lock"
"""A lock's name where it guards the folder it lies in."""
_POLL_SECONDS = 0.1
_LARGEST_NOTE = 4096
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}

_Word = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=255)]
Waiting = Callable[[str], None]
"""Told in a line what is waited for, and who holds it."""


class Held(ZooError):
    """Another process holds what was not to be waited for."""


class GaveUp(ZooError):
    """The user asked to stop while a lock was waited for."""

    exit_code = 130


class Owner(pydantic.BaseModel):
    """Who holds a lock, as it says itself."""

    model_config = pydantic.ConfigDict(extra="ignore", allow_inf_nan=False)

    pid: Annotated[int, pydantic.Field(ge=1, lt=1 << 32)]
    host: _Word
    user: _Word
    since: float
    """Seconds since 1970."""

    @classmethod
    def here(cls) -> Owner:
        """This process, from now on."""
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
def alone(
    path: Path,
    what: str,
    *,
    waiting: Waiting | None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Hold the lock at `path`, whose name ends in `.lock`, while the block runs.

    `what` names in messages what it guards. Where another process holds it, `waiting` is told and
    the lock is waited for, until `stop` says otherwise: then GaveUp is raised. With a `waiting` of
    None raises Held at once. Raises CannotWrite where the folder cannot be written to, CannotLock
    where its disk has no locks.
    """
    with told(path.parent, path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = try_lock(path)
        if not lock:
            who = _holder(path)
            if waiting is None:
                raise Held(f"{what} is in use by {who}; wait for it, or stop that first")
            waiting(f"waiting for {what}, held by {who}")
        while not lock:
            if stop():
                raise GaveUp(f"stopped while waiting for {what}, held by {_holder(path)}")
            time.sleep(_POLL_SECONDS)
            lock = try_lock(path)
    note = _note(path)
    try:
        # To be told apart is a courtesy: on a full disk the lock holds without a name.
        with suppress(OSError):
            note.unlink(missing_ok=True)  # a killed process's, perhaps another user's
            note.write_text(Owner.here().model_dump_json(), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            note.unlink(missing_ok=True)
        lock.release()


def holder(path: Path) -> str | None:
    """Who holds the lock at `path`, in words; None if nobody does. Leaves nothing behind."""
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


def say(line: str) -> None:
    """Print a line about waiting on standard error, beside whatever the command prints."""
    sys.stderr.write(f"zoo: {line}\n")
    sys.stderr.flush()


@contextmanager
def alone_in(folder: Path, *, waiting: Waiting | None = say) -> Iterator[None]:
    """`alone` in a folder that one process writes at a time, as that of the results."""
    with alone(folder / IN_FOLDER, str(folder), waiting=waiting):
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
