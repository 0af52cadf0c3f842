"""Validation of options and keywords, with messages that say what is accepted."""

from __future__ import annotations

import contextlib
import functools
import json
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from zoo.base.errors import BadInput

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
    "list_type": "a list in square brackets, such as [8,16]",
    "tuple_type": "a list in square brackets, such as [8,16]",
}
"""What an option accepts, by pydantic's type of the error."""
_LONGEST_VALUE = 60


def option_error(what: str, problem: Mapping[str, Any]) -> str:
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


def validated(name: str, options: type[_Options], settings: Mapping[str, Any]) -> _Options:
    """Validate options; raises BadInput naming the first invalid one and its owner `name`."""
    import pydantic

    try:
        return options.model_validate(
            {key: _as_typed(options, key, value) for key, value in settings.items()}
        )
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise BadInput(f"{name} has no option {where!r}; {listed(options)}") from None
        raise BadInput(option_error(f"{name}, option {where}", first)) from None


def _as_typed(options: type[pydantic.BaseModel], key: str, value: object) -> object:
    """Convert a value from the command line to a type that its field accepts: a number, a list."""
    field = options.model_fields.get(key)
    if field is None or not isinstance(value, str):
        return value
    kind = typing.get_origin(field.annotation)
    if kind is Literal:
        choices = typing.get_args(field.annotation)
        return next((choice for choice in choices if str(choice) == value), value)
    if kind in (list, tuple) and value.strip().startswith("["):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value


def listed(options: type[pydantic.BaseModel]) -> str:
    """List the names of the options, for a message."""
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
