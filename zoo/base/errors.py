"""Errors that a command reports in one line, and the conversion of disk errors to them.

Everything that a user can cause or correct is raised as a `ZooError`, most often as `BadInput`. Any
other exception that reaches the command line is a bug in film-zoo or in a plugin.
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
"""Errors of writing to a full disk, or of writing a file that is too large for it."""
_REFUSED = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO),
    *(errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG),
}


class ZooError(Exception):
    """A failure that is reported in one line, with the next step if there is one."""

    exit_code = 1


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a GPU or the host ran out of memory."""
    if isinstance(error, MemoryError):
        return True
    # torch.OutOfMemoryError is a RuntimeError, and torch's host allocator raises a RuntimeError.
    said = str(error)
    return isinstance(error, RuntimeError) and (
        type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in said
    )


class BadInput(ZooError):
    """The user's input is wrong: a name, a file, an option. Nothing was changed."""

    exit_code = 2


class BrokenContract(BadInput, ValueError):
    """A plugin's model breaks the contract; the message names the model and the problem."""


class CannotWrite(ZooError, OSError):
    """The disk is full or the path is not writable; existing files are unchanged."""


def write_error(number: int | None, otherwise: str | None = None) -> str:
    """Explain the errno of a failed write, with the next step if there is one."""
    if number in _NO_ROOM:
        return "the disk is full; make room and run the same command again"
    if number in FULL:
        return "the file system or `ulimit -f` does not allow a file that large"
    return otherwise or (os.strerror(number) if number else "the system gave no reason")


@contextmanager
def disk_errors(path: Path, below: Path | None = None) -> Iterator[None]:
    """Turn write errors in the block into CannotWrite, one line about `path`.

    Errors that name a file other than `path` and outside `below` are raised unchanged.
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
            # The error names a folder above `path` if that could not be made.
            if named not in path.parents and not {path, below} & {named, *named.parents}:
                raise
        raise CannotWrite(
            f"{path} cannot be written: {write_error(error.errno, error.strerror)}"
        ) from error
