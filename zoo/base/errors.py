"""The errors that a command reports in one line, and turning other libraries' errors into them.

Everything a user can cause or correct is raised as a `ZooError`, most often as `BadInput`; anything
else that reaches the command line is a defect in film-zoo or in a plugin.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from safetensors import SafetensorError

if TYPE_CHECKING:
    import pydantic

_T = TypeVar("_T")
_Options = TypeVar("_Options", bound="pydantic.BaseModel")

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


def option_error(what: str, problem: Mapping[str, Any]) -> str:
    """Why pydantic refused a value, in plain words; `problem` is one of its `errors()`.

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


class BrokenContract(BadInput, ValueError):
    """A plugin's model gives what the contract does not allow; the message names both."""


class CannotWrite(ZooError, OSError):
    """The disk is full, or the place cannot be written to; what was there before still is."""


def validated(name: str, options: type[_Options], settings: Mapping[str, Any]) -> _Options:
    """Validated options of what is called `name`; raises BadInput naming the first wrong one."""
    import pydantic

    try:
        return options.model_validate(
            {key: _choice(options, key, value) for key, value in settings.items()}
        )
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise BadInput(f"{name} has no option {where!r}; {listed(options)}") from None
        raise BadInput(option_error(f"{name}, option {where}", first)) from None


def _choice(options: type[pydantic.BaseModel], key: str, value: object) -> object:
    """A setting's value; the choice itself where a command line spells one that is not text."""
    field = options.model_fields.get(key)
    choices = typing.get_args(field.annotation) if field else ()
    if field and typing.get_origin(field.annotation) is Literal and value not in choices:
        return next((choice for choice in choices if str(choice) == value), value)
    return value


def listed(options: type[pydantic.BaseModel]) -> str:
    """The names of the options, for a message."""
    known = ", ".join(options.model_fields)
    return f"it has: {known}" if known else "it has none"


def names_its_fields(kind: type[_T]) -> type[_T]:
    """Decorate a dataclass: an unknown keyword raises an error that lists its fields."""
    inner = kind.__init__

    @functools.wraps(inner)
    def checked(self: object, *values: object, **named: object) -> None:
        fields = kind.__dataclass_fields__  # type: ignore[attr-defined]
        for name in named:
            if name not in fields:
                raise TypeError(f"zoo.{kind.__name__} has no {name!r}; it has: {', '.join(fields)}")
        inner(self, *values, **named)

    kind.__init__ = checked  # type: ignore[method-assign]
    return kind


def write_error(number: int | None, otherwise: str | None = None) -> str:
    """Why something could not be written, by its errno, with the next step where there is one."""
    if number in _NO_ROOM:
        return "the disk is full; make room and give the same command again"
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
