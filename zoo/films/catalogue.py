"""The catalogue of films: those in the workspace's `films.toml`, and those of plugins."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tomlkit

from zoo.api.film_entry import (
    FilmEntry,
    check_film_name,
    normalised_name,
)
from zoo.base.errors import BadInput
from zoo.base.locks import exclusive_lock, print_waiting
from zoo.base.text import did_you_mean, one_line
from zoo.base.workspace import Workspace
from zoo.films.films_toml import (
    append_table,
    checked_entry,
    entries_of,
    film_table,
    hidden_in,
    parse_document,
    read_tables,
    write_document,
)
from zoo.films.source_files import FilmSource, expand_home, is_there, looks_like_path

_MOST_COMMAS = 32
"""In one file's name, in a list of films."""
ALL, MINE = "all", "mine"
"""Words for every film that is not hidden, and for those of `films.toml` among them."""


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

        `all` is every film that is not hidden, `mine` those of them that no plugin brings. A path
        may contain commas. A film given by its path gets a name made from its file's name and
        contents, so that two files never share a name. Raises BadInput on an unknown name, on a
        path without a file, and if there are none.
        """
        word = text.strip()
        if word in (ALL, MINE) and word not in self.entries:
            films = self.entries if word == ALL else self.own
            shown = [entry for name, entry in films.items() if name not in self.hidden]
            if not shown:
                raise BadInput(
                    f"{word!r} is not a film here: `zoo films add PATH` adds one"
                    f"{self.workspace.is_above}"
                )
            return shown
        chosen: dict[str, FilmEntry] = {}
        for word in self._words(text):
            named = normalised_name(word) in self.entries
            entry = self.film(word) if named or not looks_like_path(word) else _entry_of_path(word)
            chosen[entry.name] = entry
        if not chosen:
            raise BadInput(f"no film is named; there are: {', '.join(self.entries)}")
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
            raise BadInput(f"a plugin brings a film called {name}; choose another name")
        # On file systems that ignore case, names that differ in case alone are one folder.
        for rival in self.entries:
            if rival.casefold() == name.casefold():
                raise BadInput(
                    f"there is a film called {rival}; `zoo films remove {rival}` first, or choose "
                    "another name"
                )

    def add(self, name: str, paths: Sequence[str | Path], **fields: Any) -> FilmEntry:
        """Add a film to `films.toml`, keeping what was written there by hand, and return it.

        `fields` are those of the file: title, licence, notes, from, to, crop, fit, fps; None leaves
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
        films, each with whether it is new: a file that is in the catalogue already is left as it
        is. Raises BadInput if that one has other settings, or if a field is wrong.
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
                        f"{one_line(entry.files[0].name)} is the film {there.name} already, "
                        f"with other settings: change them in {self.workspace.catalogue.name}"
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
                f"{entry.name} comes with a plugin and stays; `zoo films hide {entry.name}` leaves "
                "it out of lists and of `all`"
            )
        with self._editing() as document:
            entry = self.film(entry.name)
            del document[next(key for key in document if normalised_name(key) == entry.name)]
        return entry

    def hide(self, names: Sequence[str], hidden: bool = True) -> None:
        """Leave films out of lists and of `all`, or take them in again; all or none of them.

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
        """Read `films.toml` to be edited; write it if the block ends without an error.

        The file is locked meanwhile. `own` is read again, before and after.
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
