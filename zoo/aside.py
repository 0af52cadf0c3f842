"""Files that are whole or not there: written aside, then renamed into their place.

Each is written in a folder of its own beside its place, `.aside-…`, which its writer holds a lock
in: whatever a library leaves there when its process is killed goes with that folder, and a folder
whose lock is free is nobody's.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from zoo.errors import ZooError

_PREFIX = ".aside-"
_LOCK = ".lock"
_FULL = {errno.ENOSPC, errno.EDQUOT}
_TOO_LARGE = errno.EFBIG
_REFUSED = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO),
    *(errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG),
}


class CannotWrite(ZooError, OSError):
    """The disk is full, or the place cannot be written to; what was there before still is."""


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a path to write a file at; rename it to `path` if all went well.

    A reader sees the old file or the new one, never half of either, whatever kills the writer.
    What writers that were killed left in the same folder is removed. Raises CannotWrite, with the
    old file untouched, where the disk is full or the folder cannot be written to.
    """
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        folder, lock = _own_folder(path.parent)
    try:
        aside = folder / path.name
        with told(path, folder):
            yield aside
            # Libraries make files private; what lands in a workspace has the usual rights.
            aside.chmod(0o666 & ~_umask())
            with aside.open("rb") as written:
                os.fsync(written.fileno())
            aside.replace(path)
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what writers that were killed left in a folder; those at work are left alone."""
    try:
        found = [path for path in folder.iterdir() if path.name.startswith(_PREFIX)]
    except FileNotFoundError:
        return
    for left in found:
        lock = FileLock(left / _LOCK)
        # Another may be sweeping as well, or the folder is not ours to write in.
        with suppress(OSError, Timeout), lock.acquire(timeout=0):
            shutil.rmtree(left, ignore_errors=True)


def sweep_below(folder: Path) -> None:
    """Sweep a folder and all that lie below it."""
    for place, folders, _ in os.walk(folder):
        if any(name.startswith(_PREFIX) for name in folders):
            sweep(Path(place))
            folders[:] = [name for name in folders if not name.startswith(_PREFIX)]


def reason(number: int | None, otherwise: str | None = None) -> str:
    """Why something could not be written, by its errno, with the next step where there is one."""
    if number in _FULL:
        return "the disk is full; make room and give the same command again"
    if number == _TOO_LARGE:
        return "the file system, or `ulimit -f`, allows no file so large"
    return otherwise or (os.strerror(number) if number else "it is not said why")


@contextmanager
def told(path: Path, below: Path | None = None) -> Iterator[None]:
    """Turn an error of writing into CannotWrite: one line about `path`, which the user knows.

    Errors that name another file than `path` and none below `below` speak for themselves.
    """
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise CannotWrite(f"{path} cannot be written: {reason(int(number[1]))}") from error
    except OSError as error:
        if isinstance(error, ZooError) or error.errno not in {*_FULL, _TOO_LARGE, *_REFUSED}:
            raise
        if error.filename is not None:
            named = Path(os.fsdecode(error.filename))
            if not {path, path.parent, below} & {named, *named.parents}:
                raise
        raise CannotWrite(
            f"{path} cannot be written: {reason(error.errno, error.strerror)}"
        ) from error


def _own_folder(parent: Path) -> tuple[Path, FileLock]:
    """A new folder and the lock in it, held."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        lock = FileLock(folder / _LOCK)
        try:
            lock.acquire(timeout=0)
        except (Timeout, FileNotFoundError, FileExistsError):
            # Swept between the two by another process. The last of these is what becomes of it
            # when the lock's own look for its folder finds it, and finds it gone.
            continue
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return folder, lock


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
