"""The two ways in which a command ends badly, each told in one line.

Everything a user can cause or mend is raised as one of these; anything else that
reaches the command line is a defect in film-zoo or in a plugin.
"""

from __future__ import annotations


class ZooError(Exception):
    """A failure told to the user in one line, with the next step where there is one."""

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
