"""The file `films.toml`: its tables as the films of a catalogue, and how it is edited."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit
import tomlkit.exceptions

from zoo.api.film_entry import (
    FilmEntry,
    normalised_name,
    parse_fit,
    parse_fps,
    parse_seconds,
)
from zoo.base.atomic_files import atomic_write
from zoo.base.errors import BadInput
from zoo.base.text import one_line
from zoo.base.untrusted_files import read_bytes
from zoo.base.workspace import Workspace
from zoo.films.source_files import expand_home, refuse_url

_HEADER = """\
# The films of this workspace. Each is a table [NAME] with
#   files    one file, or several that follow one another, relative to this file
#   title, licence, notes
#   from, to    time codes such as "00:01:02.5", to leave out logos or credits
#   crop     "auto" (bars are found and removed), "none", or "WIDTHxHEIGHT+LEFT+TOP"
#   fit      "crop" (to the shape of the frame) or "pad" (with black)
#   fps      frames per second, such as 24 or "24000/1001", where frames are to be resampled
#   hidden   true leaves the film out of lists and of `all`; it can still be named
"""
LARGEST_CATALOGUE = 1 << 20
"""Bytes of a `films.toml`: thousands of films."""
_FIELDS = ("title", "files", "licence", "notes", "from", "to", "crop", "fit", "fps", "hidden")


def film_table(
    paths: Sequence[str | Path], workspace: Workspace, fields: Mapping[str, Any]
) -> tomlkit.items.Table:
    """Make the table of a film for `films.toml`; raises BadInput on an unknown field."""
    given = {key: value for key, value in fields.items() if value is not None}
    unknown = [key for key in given if key not in _FIELDS]
    if unknown:
        raise BadInput(f"a film has no field {unknown[0]!r}; it has: {', '.join(_FIELDS)}")
    files = [_path_in_catalogue(path, workspace) for path in paths]
    table = tomlkit.table()
    table["files"] = files[0] if len(files) == 1 else files
    for key in _FIELDS:
        if key in given:
            table[key] = given[key]
    return table


def append_table(document: tomlkit.TOMLDocument, name: str, table: tomlkit.items.Table) -> None:
    """Add a film's table at the end of a document."""
    # A table begins after an empty line, whether or not the file ended with one.
    if not document.as_string().endswith("\n\n"):
        document.add(tomlkit.nl())
    document[name] = table


def _path_in_catalogue(path: str | Path, workspace: Workspace) -> str:
    """Return a path as the catalogue has it: relative if it is in the workspace.

    Links are kept, so that their targets may change; `..` is resolved.
    """
    text = os.fspath(path)
    refuse_url(text)
    if any("\ud800" <= letter <= "\udfff" for letter in text):  # as Python shows such bytes
        raise BadInput(f"{text!r} is not valid UTF-8, which films.toml needs: rename the file")
    named = Path(expand_home(path)).absolute()
    real = named.parent.resolve() / named.name
    if ".." in named.parts:
        named = real
    root = workspace.root
    for file, folder in ((named, root.absolute()), (real, root.resolve())):
        if file.is_relative_to(folder):
            inside = str(file.relative_to(folder))
            return f"./{inside}" if inside.startswith("~") else inside
    return str(named)


def parse_document(path: Path) -> tomlkit.TOMLDocument:
    """Parse the file to be edited, with its comments and layout; explained by a header if empty."""
    read_tables(path)
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return tomlkit.parse(_HEADER)
    except (tomlkit.exceptions.TOMLKitError, ValueError, RecursionError) as error:
        raise BadInput(f"{path.name} is not valid TOML: {one_line(str(error))}") from None
    return document if document.body else tomlkit.parse(_HEADER)


def read_tables(path: Path) -> dict[str, Mapping[str, Any]]:
    """Read the tables by name, none of a file that is not there; raises BadInput."""
    try:
        found = tomllib.loads(read_bytes(path, LARGEST_CATALOGUE).decode("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadInput(f"{path.name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path.name} is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path.name} is not valid TOML: {one_line(str(error))}") from None
    for name, table in found.items():
        if not isinstance(table, dict):
            raise BadInput(
                f"{path.name}: {one_line(name, 40)!r} is outside a film; films are tables [NAME]"
            )
    return found


def entries_of(
    tables: Mapping[str, Mapping[str, Any]], workspace: Workspace
) -> dict[str, FilmEntry]:
    """Make the entries of a catalogue by name; raises BadInput naming the film and the field.

    A table that only hides a film of a plugin makes none.
    """
    own: dict[str, FilmEntry] = {}
    for name, table in tables.items():
        if not isinstance(table.get("hidden", True), bool):
            shown = one_line(name, 40)
            raise BadInput(f"{workspace.catalogue.name}, film {shown!r}: hidden is true or false")
        if set(table) == {"hidden"}:
            continue
        if normalised_name(name) in own:
            raise BadInput(f"{workspace.catalogue.name} has two films called {one_line(name, 40)}")
        own[normalised_name(name)] = _entry(normalised_name(name), table, workspace)
    return own


def hidden_in(tables: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """The names of the films that a catalogue hides."""
    return frozenset(normalised_name(name) for name, table in tables.items() if table.get("hidden"))


def write_document(path: Path, document: tomlkit.TOMLDocument) -> None:
    """Write the file atomically; raises BadInput if it would be too large to be read again."""
    content = document.as_string().encode()
    if len(content) > LARGEST_CATALOGUE:
        raise BadInput(
            f"{path.name} would take {len(content):,} bytes, and {LARGEST_CATALOGUE:,} are read: "
            "join the files of a film into fewer, or give films shorter paths"
        )
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def _entry(name: str, table: Mapping[str, Any], workspace: Workspace) -> FilmEntry:
    """Check one table of `films.toml`; raises BadInput naming the film and the field."""
    try:
        return checked_entry(name, table, workspace)
    except BadInput as error:
        shown = one_line(name, 40)
        raise BadInput(f"{workspace.catalogue.name}, film {shown!r}: {error}") from None


def checked_entry(name: str, table: Mapping[str, Any], workspace: Workspace) -> FilmEntry:
    """The film of a table; raises BadInput naming a field that is wrong."""
    for key in table:
        if key not in _FIELDS:
            shown = one_line(key, 40)
            raise BadInput(f"there is no field {shown!r}; there are: {', '.join(_FIELDS)}")
    files = table.get("files")
    files = [files] if isinstance(files, str) else files
    if not isinstance(files, list) or not files or not all(isinstance(f, str) for f in files):
        raise BadInput("files is one file name or a list of them")
    for file in files:
        refuse_url(file)
    text = {}
    for key in ("title", "licence", "notes", "crop", "fit"):
        value = table.get(key)
        if value is not None and not isinstance(value, str):
            raise BadInput(f"{key} is text in quotation marks; not {one_line(repr(value), 40)}")
        text[key] = None if value is None else str(value)
    return FilmEntry(
        name=name,
        files=tuple(workspace.root.absolute() / expand_home(f) for f in files),
        title=text["title"] or "",
        licence=text["licence"],
        start=parse_seconds("from", table.get("from")),
        stop=parse_seconds("to", table.get("to")),
        crop=text["crop"] or "auto",
        fit=parse_fit(text["fit"] or "crop"),
        fps=None if table.get("fps") is None else parse_fps(table["fps"]),
        notes=text["notes"] or "",
    )
