"""Reading untrusted files: sizes and headers are checked before memory is taken.

Whoever sends a film, a run or a results folder decides every byte of it. The readers here refuse
what is not a regular file (a FIFO would block for ever), what is larger than its kind ever is,
arrays whose header claims more than the file holds, archives that unpack to more than they should,
and JSON of another version of its schema, by name. Nothing is unpickled and nothing evaluated.
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
"""Bytes; records of thousands of cells take less."""
LARGEST_ARRAYS = 256 << 20
"""Bytes of all arrays of an archive together, unpacked."""
LARGEST_TENSORS_HEADER = 8 << 20
"""Bytes of a safetensors file's header, about a hundred thousand tensors."""
LARGEST_COUNT, LARGEST_NUMBER = 10**18, 1e100
"""What is beyond these was never counted or measured, and cannot be plotted."""
_MOST_MEMBERS = 1000
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Numpy's own reader takes the header for a Python expression; this is the form that it writes.
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '(?P<kind>\|[biu]1|<[iuf][248])', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>(?:\d{1,15}(?:, \d{1,15}){0,7},?)?)\), \} *\n"
)

Array = npt.NDArray[Any]


def check_regular(path: Path, most: int | None = None) -> int:
    """Return the size of a regular file in bytes, at most `most`.

    Raises BadInput where it is none or is larger, and OSError where it is not there.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise BadInput(f"{path} is not a regular file")
    if most is not None and found.st_size > most:
        raise BadInput(f"{path} has {found.st_size:,} bytes; such a file has {most:,} at most")
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
    """Hash a whole file, as hex: about a second per gigabyte. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_json(text: str | bytes) -> Any:
    """Read JSON strictly: no NaN, no infinity, nothing nested beyond reason; else ValueError."""

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


# What numpy and zipfile raise on a damaged archive.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


def read_arrays(path: Path, names: Iterable[str] | None = None) -> dict[str, Array]:
    """Read arrays of plain numbers from a `.npz` archive: those named that it has, or all.

    Raises BadInput on any other file, and where they take more than LARGEST_ARRAYS together.
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
    # Whatever a damaged archive makes the reader raise, reported alike.
    except _DAMAGED as error:
        raise BadInput(f"{path} is damaged: {one_line(str(error))}") from None


def check_tensors(path: Path) -> None:
    """Raise BadInput unless a file may be opened as safetensors: regular, with a header that fits.

    The library checks all that the header says against the file's length; only its own length has
    to be bounded before. Raises OSError where the file is not there.
    """
    size = check_regular(path)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(LARGEST_TENSORS_HEADER, size - 8):
        raise BadInput(f"{path} is damaged: its header is cut short or too long")


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    if member.compress_type not in _PLAIN:
        raise ValueError(f"{one_line(member.filename)} is packed in a way that is not read here")
    with archive.open(member) as file:
        return _array(file, member.file_size)


def _array(file: IO[bytes], size: int) -> Array:
    """Read one `.npy` of so many bytes; raises ValueError where it claims another length."""
    begins = file.read(10)
    if not begins.startswith(_MAGIC):
        raise ValueError("it is not an array as numpy writes one of plain numbers")
    length = int.from_bytes(begins[8:10], "little")
    said = _HEADER.fullmatch(file.read(length))
    if len(begins) < 10 or said is None:
        raise ValueError("its header is not that of an array of plain numbers")
    kind = np.dtype(said["kind"].decode())
    shape = tuple(int(side) for side in said["shape"].replace(b",", b" ").split())
    wanted = math.prod(shape) * kind.itemsize
    if 10 + length + wanted != size:
        raise ValueError("it does not hold the array that its header claims")
    content = file.read(wanted)
    if len(content) != wanted:
        raise ValueError("it is cut short")
    array = np.frombuffer(content, dtype=kind)
    return array.reshape(shape, order="F" if said["fortran"] == b"True" else "C").copy()


def check_countable(value: object) -> None:
    """Raise ValueError on a number, or a list with one, that nobody counted or measured."""
    # Called for every field of thousands of records: the commonest kinds come first.
    if isinstance(value, float):
        if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
            raise ValueError(f"no number that is measured is beyond {LARGEST_NUMBER:g}")
    elif isinstance(value, int):
        if not 0 <= value <= LARGEST_COUNT:
            raise ValueError(f"a count is from 0 to {LARGEST_COUNT}")
    elif isinstance(value, list | tuple):
        for each in value:
            check_countable(each)


_T = TypeVar("_T", bound=pydantic.BaseModel)
FIELDS = ("schema_version", "format_version")
_DEEPEST = 3
_MOST_LOOKED_AT = 50


class OtherSchema(BadInput):
    """A file is whole and was written by another version of film-zoo."""


def refuse_other_schema(path: Path, content: bytes, kind: type[pydantic.BaseModel]) -> None:
    """Raise OtherSchema if JSON of this kind says that it was written with another schema.

    The message says which release wrote it, if the file has that, and what to do.
    """
    field = next((name for name in FIELDS if name in kind.model_fields), None)
    try:
        said = parse_json(content)
    except ValueError:
        return  # what is not JSON is another complaint
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


def read_json(path: Path, kind: type[_T]) -> _T:
    """Read a record; raises BadInput in one line if the file is missing, foreign or damaged.

    One that was written with another version of its schema is refused by name.
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
