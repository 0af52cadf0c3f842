"""The errors that a command reports in one line, and disk errors turned into them.

Everything a user can cause or correct is raised as a `ZooError`, most often as `BadInput`; anything
else that reaches the command line is a defect in film-zoo or in a plugin.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
FULL = {*_NO_ROOM, errno.EFBIG}
"""What writing raises where there is no room, or none for so large a file."""
_REFUSED = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO),
    *(errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG),
}


class ZooError(Exception):
    """A failure that is reported in one line, with the next step where there is one."""

    exit_code = 1


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the host."""
    if isinstance(error, MemoryError):
        return True
    # torch's own kind is a RuntimeError, and so is what its allocator on the host raises.
    said = str(error)
    return isinstance(error, RuntimeError) and (
        type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in said
    )


class BadInput(ZooError):
    """What the user gave is wrong: a name, a file, an option. Nothing was changed."""

    exit_code = 2


class BrokenContract(BadInput, ValueError):
    """A plugin's model gives what the contract does not allow; the message names both."""


class CannotWrite(ZooError, OSError):
    """The disk is full, or the place cannot be written to; what was there before still is."""


def write_error(number: int | None, otherwise: str | None = None) -> str:
    """Why something could not be written, by its errno, with the next step where there is one."""
    if number in _NO_ROOM:
        return "the disk is full; make room and run the same command again"
    if number in FULL:
        return "the file system, or `ulimit -f`, allows no file so large"
    return otherwise or (os.strerror(number) if number else "it is not said why")


@contextmanager
def disk_errors(path: Path, below: Path | None = None) -> Iterator[None]:
    """Turn errors of writing into CannotWrite, one line about `path`, which the user knows.

    Errors that name another file than `path` and none below `below` speak for themselves.
    """
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise CannotWrite(f"{path} cannot be written: {write_error(int(number[1]))}") from error
    except OSError as error:
        if isinstance(error, ZooError) or error.errno not in {*FULL, *_REFUSED}:
            raise
        if error.filename is not None:
            named = Path(os.fsdecode(error.filename))
            # A folder above `path` is named where it could not be made.
            if named not in path.parents and not {path, below} & {named, *named.parents}:
                raise
        raise CannotWrite(
            f"{path} cannot be written: {write_error(error.errno, error.strerror)}"
        ) from error
