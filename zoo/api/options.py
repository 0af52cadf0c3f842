"""Settings as a user writes them, `NAME=VALUE`, checked against the options that there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import pydantic

from zoo.base.errors import BadInput, refusal

_T = TypeVar("_T", bound=pydantic.BaseModel)


def validated(name: str, options: type[_T], settings: Mapping[str, Any]) -> _T:
    """The options of what is called `name`; raises BadInput naming the first that is wrong."""
    try:
        return options.model_validate(dict(settings))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise BadInput(f"{name} has no option {where!r}; {listed(options)}") from None
        raise BadInput(refusal(f"{name}, option {where}", first)) from None


def listed(options: type[pydantic.BaseModel]) -> str:
    """Which options there are, for a message."""
    known = ", ".join(options.model_fields)
    return f"it has: {known}" if known else "it has none"
