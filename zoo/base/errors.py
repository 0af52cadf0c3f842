"""The two ways in which a command ends badly, each told in one line.

Everything a user can cause or mend is raised as one of these; anything else that
reaches the command line is a defect in film-zoo or in a plugin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WANTED = {
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "greater_than": "a number over {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "a number under {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "multiples of {multiple_of}",
    "literal_error": "{expected}",
    "enum": "{expected}",
}
"""What an option takes, by pydantic's name of the error."""
_LONGEST_VALUE = 60


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


def refusal(what: str, problem: Mapping[str, Any]) -> str:
    """Say in plain words why pydantic refused a value; `problem` is one of its `errors()`.

    `what` names the option: `--latent takes a whole number; not 'x'`.
    """
    wanted = _WANTED.get(problem["type"])
    if wanted is None:
        return f"{what}: {problem['msg']}"
    value = repr(problem["input"])
    if len(value) > _LONGEST_VALUE:
        value = value[: _LONGEST_VALUE - 1] + "…"
    return f"{what} takes {wanted.format(**problem.get('ctx', {}))}; not {value}"


class BadInput(ZooError):
    """What the user gave is wrong: a name, a file, an option. Nothing was changed."""

    exit_code = 2
