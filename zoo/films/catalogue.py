"""The catalogue of films: those in the workspace's `films.toml`, and those of plugins.

The functions that read and edit that file come first, then the catalogue itself.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tomlkit
import tomlkit.exceptions

from zoo.api.film_entry import (
    FilmEntry,
    check_film_name,
    normalised_name,
    parse_fit,
    parse_fps,
    parse_seconds,
)
from zoo.base.atomic_files import atomic_write
from zoo.base.errors import BadInput
from zoo.base.locks import exclusive_lock, print_waiting
from zoo.base.safe_text import did_you_mean, one_line
from zoo.base.untrusted_files import read_bytes
from zoo.base.workspace import Workspace
from zoo.films.source_files import FilmSource, expand_home, is_there, looks_like_path, refuse_url

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
"""The most bytes of a `films.toml`, enough for thousands of films."""
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
    """Return a path as `films.toml` stores it: relative if it is in the workspace.

    Symbolic links are kept, because their targets may change; `..` is resolved.
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
    """Parse the file for editing, keeping comments and layout; an empty one gets a header."""
    read_tables(path)
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return tomlkit.parse(_HEADER)
    except (tomlkit.exceptions.TOMLKitError, ValueError, RecursionError) as error:
        raise BadInput(f"{path.name} is not valid TOML: {one_line(str(error))}") from None
    return document if document.body else tomlkit.parse(_HEADER)


def read_tables(path: Path) -> dict[str, Mapping[str, Any]]:
    """Read the tables by name; returns none if the file is missing. Raises BadInput."""
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
                f"{path.name}: {one_line(name, 40)!r} is outside any film; a film is a table [NAME]"
            )
    return found


def entries_of(
    tables: Mapping[str, Mapping[str, Any]], workspace: Workspace
) -> dict[str, FilmEntry]:
    """Make the entries of a catalogue by name; raises BadInput naming the film and the field.

    A table that only hides a plugin's film makes no entry.
    """
    own: dict[str, FilmEntry] = {}
    for name, table in tables.items():
        shown, normalised = one_line(name, 40), normalised_name(name)
        where = f"{workspace.catalogue.name}, film {shown!r}"
        if not isinstance(table.get("hidden", True), bool):
            raise BadInput(f"{where}: hidden must be true or false")
        if set(table) == {"hidden"}:
            continue
        if normalised in own:
            raise BadInput(f"{workspace.catalogue.name} has two films called {shown}")
        try:
            own[normalised] = checked_entry(normalised, table, workspace)
        except BadInput as error:
            raise BadInput(f"{where}: {error}") from None
    return own


def hidden_in(tables: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """The names of the films that a catalogue hides."""
    return frozenset(normalised_name(name) for name, table in tables.items() if table.get("hidden"))


def write_document(path: Path, document: tomlkit.TOMLDocument) -> None:
    """Write the file atomically, with its mode; raises BadInput if it could not be read again."""
    content = document.as_string().encode()
    if len(content) > LARGEST_CATALOGUE:
        raise BadInput(
            f"{path.name} would have {len(content):,} bytes, over the limit of "
            f"{LARGEST_CATALOGUE:,}: join the files of a film into fewer, or shorten their paths"
        )
    with atomic_write(path, keep_mode=True) as temporary:
        temporary.write_bytes(content)


def checked_entry(name: str, table: Mapping[str, Any], workspace: Workspace) -> FilmEntry:
    """Return the film of a table; raises BadInput naming a field that is wrong."""
    for key in table:
        if key not in _FIELDS:
            shown = one_line(key, 40)
            raise BadInput(f"there is no field {shown!r}; there are: {', '.join(_FIELDS)}")
    files = table.get("files")
    files = [files] if isinstance(files, str) else files
    if not isinstance(files, list) or not files or not all(isinstance(f, str) for f in files):
        raise BadInput("files must be a file name or a list of file names")
    for file in files:
        refuse_url(file)
    text = {}
    for key in ("title", "licence", "notes", "crop", "fit"):
        value = table.get(key)
        if value is not None and not isinstance(value, str):
            raise BadInput(
                f"{key} must be text in quotation marks; not {one_line(repr(value), 40)}"
            )
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


_MOST_COMMAS = 32
"""The most commas that one file's name may have in a list of films."""
ALL, MINE = "all", "mine"
"""Words for all films that are not hidden, and for those of them that no plugin provides."""


@dataclass
class Catalogue:
    """The films of a workspace, by name: its own first, then those of plugins."""

    workspace: Workspace
    own: dict[str, FilmEntry] = field(default_factory=dict)
    from_plugins: dict[str, FilmEntry] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    """Names of films that are left out of lists and of `all`, and can still be named."""

    @classmethod
    def open(cls, workspace: Workspace) -> Catalogue:
        """Read `films.toml`, if there is one; raises BadInput saying what is wrong in it."""
        from zoo.plugins.registry import films_of_plugins

        tables = read_tables(workspace.catalogue)
        own = entries_of(tables, workspace)
        from_plugins = {n: e for n, e in films_of_plugins().items() if n not in own}
        return cls(workspace, own, from_plugins, hidden_in(tables))

    @property
    def entries(self) -> dict[str, FilmEntry]:
        """Every film by name, hidden ones too."""
        return {**self.own, **self.from_plugins}

    def film(self, name: str) -> FilmEntry:
        """Return the film of that name; raises BadInput listing the films and how to add one."""
        name = normalised_name(name)
        if name in self.entries:
            return self.entries[name]
        hint = did_you_mean(name, self.entries)
        raise BadInput(
            f"no film is called {name!r}{hint}; there are: {', '.join(self.entries)}. "
            f"`zoo films add PATH` adds one{self.workspace.is_above}"
        )

    def choose(self, text: str) -> list[FilmEntry]:
        """Read `all`, `mine`, `a,b`, or paths such as `./clip.mkv`: each film once, in order.

        `all` means every film that is not hidden, `mine` those of them that no plugin provides. A
        path may contain commas. A film given by its path gets a name made from its file's name and
        contents, so that two files never share a name. Raises BadInput on an unknown name, on a
        path without a file, and if there are none.
        """
        word = text.strip()
        if word in (ALL, MINE) and word not in self.entries:
            films = self.entries if word == ALL else self.own
            shown = [entry for name, entry in films.items() if name not in self.hidden]
            if not shown:
                raise BadInput(
                    f"{word!r} matches no film here: `zoo films add PATH` adds one"
                    f"{self.workspace.is_above}"
                )
            return shown
        chosen: dict[str, FilmEntry] = {}
        for word in self._words(text):
            named = normalised_name(word) in self.entries
            entry = self.film(word) if named or not looks_like_path(word) else _entry_of_path(word)
            chosen[entry.name] = entry
        if not chosen:
            raise BadInput(f"name at least one film; there are: {', '.join(self.entries)}")
        return list(chosen.values())

    def _words(self, text: str) -> Iterator[str]:
        """Split a list at its commas, but not at those in the name of an existing file."""
        words = text.split(",")
        while words:
            taken = 1
            if normalised_name(words[0].strip()) not in self.entries:
                lengths = range(min(len(words), _MOST_COMMAS), 0, -1)
                named = ((n, ",".join(words[:n]).strip()) for n in lengths)
                taken = next((n for n, path in named if path and is_there(expand_home(path))), 1)
            word = ",".join(words[:taken]).strip()
            if word:
                yield word
            del words[:taken]

    def check_free(self, name: str) -> None:
        """Raise BadInput unless a new film may have this name."""
        check_film_name(name)
        if name in (ALL, MINE):
            what = "every film" if name == ALL else "the films of films.toml"
            raise BadInput(f"{name!r} means {what}; choose another name")
        if name in self.from_plugins:
            raise BadInput(f"a plugin already provides a film called {name}; choose another name")
        # On file systems that ignore case, names that differ in case alone are one folder.
        for rival in self.entries:
            if rival.casefold() == name.casefold():
                raise BadInput(
                    f"there is already a film called {rival}: run `zoo films remove {rival}` "
                    "first, or choose another name"
                )

    def add(self, name: str, paths: Sequence[str | Path], **fields: Any) -> FilmEntry:
        """Add a film to `films.toml`, keeping what was written there by hand, and return it.

        `fields` are the file's fields: title, licence, notes, from, to, crop, fit, fps; None leaves
        one out. Raises BadInput if the name is taken or a field is wrong. The video files are not
        opened.
        """
        name = normalised_name(name)
        files = [file for path in paths for file in FilmSource.read(path).files]
        table = film_table(files, self.workspace, fields)
        self.check_free(name)
        entry = checked_entry(name, table, self.workspace)
        with self._editing() as document:
            self.check_free(name)
            append_table(document, name, table)
        return entry

    def check_fields(self, fields: Mapping[str, Any]) -> None:
        """Raise BadInput if one of the fields that `add` takes is wrong."""
        checked_entry("film", film_table(["x"], self.workspace, fields), self.workspace)

    def add_each(
        self, sources: Sequence[FilmSource], **fields: Any
    ) -> list[tuple[FilmEntry, bool]]:
        """Add every source as a film named after it; all of them, or none if one cannot be added.

        If two files have the same name, the films' names get a hash of the contents. Returns the
        films, each with whether it is new. A file that is in the catalogue already is left as it
        is; raises BadInput if it has other settings there, or if a field is wrong.
        """
        added: list[tuple[FilmEntry, bool]] = []
        tables = [film_table(source.files, self.workspace, fields) for source in sources]
        names = [(source.short_name, source.long_name()) for source in sources]
        self.check_fields(fields)
        with self._editing() as document:
            for table, (short, long) in zip(tables, names, strict=True):
                entry = checked_entry(long, table, self.workspace)
                there = next((own for own in self.own.values() if own.files == entry.files), None)
                if there is None:
                    name = short if self._is_free(short) else long
                    self.check_free(name)
                    append_table(document, name, table)
                    self.own[name] = entry = replace(entry, name=name)
                    added.append((entry, True))
                elif len(table) == 1 or there == replace(entry, name=there.name):
                    added.append((there, False))
                else:
                    raise BadInput(
                        f"{one_line(entry.files[0].name)} is already the film {there.name}, "
                        f"with different settings: change them in {self.workspace.catalogue.name}"
                    )
        return added

    def _is_free(self, name: str) -> bool:
        try:
            self.check_free(name)
        except BadInput:
            return False
        return True

    def remove(self, name: str) -> FilmEntry:
        """Remove a film from `films.toml` and return it; its video files are left alone."""
        entry = self.film(name)
        if entry.name not in self.own:
            raise BadInput(
                f"{entry.name} comes with a plugin and cannot be removed; `zoo films hide "
                f"{entry.name}` leaves it out of lists and of `all`"
            )
        with self._editing() as document:
            entry = self.film(entry.name)
            del document[next(key for key in document if normalised_name(key) == entry.name)]
        return entry

    def hide(self, names: Sequence[str], hidden: bool = True) -> None:
        """Leave films out of lists and of `all`, or include them again; all of them or none.

        Raises BadInput on an unknown name.
        """
        names = [self.film(name).name for name in names]
        with self._editing() as document:
            for name in names:
                key = next((key for key in document if normalised_name(key) == name), name)
                if hidden and key not in document:
                    append_table(document, name, tomlkit.table())
                if hidden:
                    document[key]["hidden"] = True
                elif key in document:
                    document[key].pop("hidden", None)
                    if not document[key]:
                        del document[key]
        self.hidden = hidden_in(read_tables(self.workspace.catalogue))

    @contextmanager
    def _editing(self) -> Iterator[tomlkit.TOMLDocument]:
        """Yield `films.toml` for editing; write it if the block ends without an error.

        The file is locked until then. `own` is read again before and after.
        """
        path = self.workspace.catalogue
        lock = self.workspace.root / ".zoo" / f"{path.name}.lock"
        with exclusive_lock(lock, path.name, waiting=print_waiting):
            document = parse_document(path)
            self.own = entries_of(read_tables(path), self.workspace)
            try:
                yield document
                write_document(path, document)
            finally:
                self.own = entries_of(read_tables(path), self.workspace)


def _entry_of_path(word: str) -> FilmEntry:
    source = FilmSource.read(word)
    path = os.fspath(Path(expand_home(word)).absolute())
    return FilmEntry(name=source.long_name(), files=source.files, title=source.stem, path=path)
