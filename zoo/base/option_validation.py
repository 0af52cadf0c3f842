"""Validation of options and keywords, with messages that say what is accepted."""

from __future__ import annotations

import functools
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
}
"""What an option takes, by pydantic's name of the error."""
_LONGEST_VALUE = 60


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
