"""Files of other releases, told apart by the version of their schema and refused by name."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic

from zoo.base.errors import BadInput
from zoo.base.untrusted_files import parse_json

FIELDS = ("schema_version", "format_version")
_DEEPEST = 3
_MOST_LOOKED_AT = 50


class OtherSchema(BadInput):
    """A file is whole and was written by another version of film-zoo."""


def refuse_other_schema(path: Path, content: bytes, kind: type[pydantic.BaseModel]) -> None:
    """Raise OtherSchema if JSON of this kind says that it was written with another schema.

    The message says which release wrote it, where the file tells, and what to do.
    """
    field = next((name for name in FIELDS if name in kind.model_fields), None)
    try:
        said = parse_json(content)
    except ValueError:
        return  # what is no JSON is another complaint
    if field is None or not isinstance(said, dict) or field not in said:
        return
    ours, theirs = kind.model_fields[field].default, said[field]
    if theirs == ours or isinstance(theirs, bool) or not isinstance(theirs, int):
        return
    remedy = "update film-zoo" if theirs > ours else "make it again with this one"
    raise OtherSchema(
        f"{path} was written by {_writer(said)} with schema {str(theirs)[:20]}; this film-zoo, "
        f"{importlib.metadata.version('film-zoo')}, reads schema {ours}: {remedy}, or use the "
        "film-zoo that wrote it"
    )


def _writer(said: dict[str, Any]) -> str:
    releases = (v for v in _named(said, _DEEPEST) if re.fullmatch(r"[0-9A-Za-z.+-]{1,40}", v))
    release = next(releases, None)
    return f"film-zoo {release}" if release else "a film-zoo"


def _named(value: object, depth: int) -> Iterator[str]:
    """Entries called `film_zoo`, as descriptions of an environment have one."""
    if isinstance(value, dict):
        if isinstance(value.get("film_zoo"), str):
            yield value["film_zoo"]
        inner = list(value.values())
    else:
        inner = value if isinstance(value, list) else []
    if depth:
        for each in inner[:_MOST_LOOKED_AT]:
            yield from _named(each, depth - 1)
