"""Read untrusted files: sizes and headers are checked before memory is allocated.

The sender of a film, a run or a results folder controls every byte of it. The readers here refuse
anything that is not a regular file (a FIFO would block forever), files larger than their kind can
be, arrays whose header claims more than the file holds, archives that unpack to too much, and JSON
with another version of its schema, by name. Nothing is unpickled or evaluated.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pydantic

from zoo.base.errors import BadInput
from zoo.base.safe_text import one_line

LARGEST_JSON = 32 << 20
"""Size limit in bytes; records of thousands of cells take less."""
LARGEST_ARRAYS = 256 << 20
"""Limit of the unpacked size of all arrays in an archive, in bytes."""
LARGEST_TENSORS_HEADER = 8 << 20
"""Size limit of a safetensors header in bytes, enough for about a hundred thousand tensors."""
LARGEST_COUNT, LARGEST_NUMBER = 10**18, 1e100
"""Larger numbers cannot come from counting or measuring, and cannot be plotted."""
_MOST_MEMBERS = 1000
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Numpy's own reader parses the header as a Python expression; this is the form that it writes.
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '(?P<kind>\|[biu]1|<[iuf][248])', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>(?:\d{1,15}(?:, \d{1,15}){0,7},?)?)\), \} *\n"
)

Array = npt.NDArray[Any]


def check_regular(path: Path, most: int | None = None) -> int:
    """Return the size in bytes of a regular file of at most `most` bytes.

    Raises BadInput if it is not a regular file or is larger, and OSError if it does not exist.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise BadInput(f"{path} is not a regular file")
    if most is not None and found.st_size > most:
        raise BadInput(f"{path} has {found.st_size:,} bytes; such a file may have at most {most:,}")
    return found.st_size


def read_bytes(path: Path, most: int) -> bytes:
    """Read a regular file of at most `most` bytes; raises as `check_regular` does."""
    check_regular(path, most)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise BadInput(f"{path} has more than {most:,} bytes")
    return content


def file_sha256(path: Path) -> str:
    """The sha256 of a file in hex; takes about a second per gigabyte. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_json(text: str | bytes) -> Any:
    """Read strict JSON; raises ValueError on NaN, infinity and excessive nesting."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_array(path: Path) -> Array:
    """Read an array of plain numbers from a `.npy` file; raises BadInput on anything else."""
    try:
        size = check_regular(path, LARGEST_ARRAYS)
        with path.open("rb") as file:
            return _array(file, size)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise BadInput(f"{path} is damaged: {one_line(str(error))}") from None


# Errors that numpy and zipfile raise on a damaged archive.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


def read_arrays(path: Path, names: Iterable[str] | None = None) -> dict[str, Array]:
    """Read arrays of plain numbers from a `.npz` archive: all, or those of `names` that exist.

    Raises BadInput on any other file, and if together they take more than LARGEST_ARRAYS bytes.
    """
    wanted = None if names is None else set(names)
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > _MOST_MEMBERS:
                raise ValueError(f"it has {len(members):,} members")
            chosen = {
                name: member
                for member in members
                if (name := member.filename.removesuffix(".npy")) != member.filename
                and (wanted is None or name in wanted)
            }
            if sum(member.file_size for member in chosen.values()) > LARGEST_ARRAYS:
                raise ValueError(f"its arrays claim more than {LARGEST_ARRAYS:,} bytes")
            return {name: _member(archive, member) for name, member in chosen.items()}
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from None
    # All errors of reading a damaged archive are reported alike.
    except _DAMAGED as error:
        raise BadInput(f"{path} is damaged: {one_line(str(error))}") from None


def check_tensors(path: Path) -> None:
    """Raise BadInput unless a file is safe to open as safetensors: regular, its header in bounds.

    The library checks the header's content against the file's length, but the header's own length
    has to be limited first. Raises OSError if the file does not exist.
    """
    size = check_regular(path)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(LARGEST_TENSORS_HEADER, size - 8):
        raise BadInput(f"{path} is damaged: its header is cut short or too long")


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    if member.compress_type not in _PLAIN:
        raise ValueError(f"{one_line(member.filename)} uses unsupported compression")
    with archive.open(member) as file:
        return _array(file, member.file_size)


def _array(file: IO[bytes], size: int) -> Array:
    """Read one `.npy` of `size` bytes; raises ValueError if its header claims another size."""
    begins = file.read(10)
    if not begins.startswith(_MAGIC):
        raise ValueError("it is not a numpy array of plain numbers")
    length = int.from_bytes(begins[8:10], "little")
    said = _HEADER.fullmatch(file.read(length))
    if len(begins) < 10 or said is None:
        raise ValueError("its header does not describe an array of plain numbers")
    kind = np.dtype(said["kind"].decode())
    shape = tuple(int(side) for side in said["shape"].replace(b",", b" ").split())
    wanted = math.prod(shape) * kind.itemsize
    if 10 + length + wanted != size:
        raise ValueError("its size does not match the array in its header")
    content = file.read(wanted)
    if len(content) != wanted:
        raise ValueError("it is cut short")
    array = np.frombuffer(content, dtype=kind)
    return array.reshape(shape, order="F" if said["fortran"] == b"True" else "C").copy()


def check_countable(value: object) -> None:
    """Raise ValueError on a number, or a list with one, that is too large to be a measurement."""
    # Called for every field of thousands of records, so the most frequent types come first.
    if isinstance(value, float):
        if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
            raise ValueError(f"a measurement must be at most {LARGEST_NUMBER:g} in size")
    elif isinstance(value, int):
        if not 0 <= value <= LARGEST_COUNT:
            raise ValueError(f"a count must be from 0 to {LARGEST_COUNT}")
    elif isinstance(value, list | tuple):
        for each in value:
            check_countable(each)


_T = TypeVar("_T", bound=pydantic.BaseModel)
FIELDS = ("schema_version", "format_version")
_DEEPEST = 3
_MOST_LOOKED_AT = 50


class OtherSchema(BadInput):
    """A file is intact but was written with another schema, by another version of film-zoo."""


def refuse_other_schema(path: Path, content: bytes, kind: type[pydantic.BaseModel]) -> None:
    """Raise OtherSchema if JSON of this kind states another schema version.

    The message says which release wrote it, if the file states that, and what to do.
    """
    field = next((name for name in FIELDS if name in kind.model_fields), None)
    try:
        said = parse_json(content)
    except ValueError:
        return  # invalid JSON is reported elsewhere
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
    """Find entries called `film_zoo`, which every description of an environment has."""
    if isinstance(value, dict):
        if isinstance(value.get("film_zoo"), str):
            yield value["film_zoo"]
        inner = list(value.values())
    else:
        inner = value if isinstance(value, list) else []
    if depth:
        for each in inner[:_MOST_LOOKED_AT]:
            yield from _named(each, depth - 1)


def read_json(path: Path, kind: type[_T]) -> _T:
    """Read a record; raises BadInput in one line if the file is missing, unsuitable or damaged.

    A record with another schema version is refused with a message that says so.
    """
    try:
        content = read_bytes(path, getattr(kind, "largest", LARGEST_JSON))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from None
    try:
        return kind.model_validate_json(content)
    except pydantic.ValidationError as error:
        refuse_other_schema(path, content, kind)
        first = error.errors()[0]
        where = one_line(".".join(str(part) for part in first["loc"]) or "the file", 100)
        raise BadInput(
            f"{path} is not a {kind.__name__} of this version: {where}: {first['msg'][:300]}"
        ) from None
