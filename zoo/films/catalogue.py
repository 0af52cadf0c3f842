"""Which films there are: `films.toml` in the workspace, and the films that plugins bring."""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import tomlkit
import tomlkit.exceptions

from zoo.errors import BadInput
from zoo.films.geometry import parse_crop
from zoo.films.time_code import format_time_code, parse_time_code
from zoo.plain_text import one_line
from zoo.reading import read_bytes
from zoo.workspace import Workspace, check_name, written_aside

_HEADER = """\
# The films of this workspace. Each is a table [NAME] with
#   files    one file, or several that follow one another, relative to this file
#   title, licence, notes
#   from, to    time codes such as "00:01:02.5", to leave out logos or credits
#   crop     "auto" (bars are found and removed), "none", or "WIDTHxHEIGHT+LEFT+TOP"
#   fps      frames a second, such as 24 or "24000/1001", where frames are to be resampled
"""
LARGEST_CATALOGUE = 1 << 20
"""Bytes of a `films.toml`: thousands of films."""
LONGEST_TITLE, LONGEST_NOTES = 200, 2000
_MOST = 4e6
"""Seconds: what a time code can say at most."""
_RATE = re.compile(r"\d{1,9}(\.\d{1,9})?|\d{1,9}/\d{1,9}")
_FIELDS = ("title", "files", "licence", "notes", "from", "to", "crop", "fps")


@dataclass(frozen=True)
class FilmEntry:
    """A film as the catalogue knows it: where it lies and what to take of it.

    `start` and `stop` are seconds on the time line of all files together; None means from the
    beginning, to the end. `crop` is `auto`, `none` or `WIDTHxHEIGHT+LEFT+TOP` in pixels of the
    coded picture. `fps` is None where frames are kept as they come.
    """

    name: str
    files: tuple[Path, ...]
    title: str = ""
    licence: str | None = None
    start: float | None = None
    stop: float | None = None
    crop: str = "auto"
    fps: Fraction | None = None
    notes: str = ""

    def __post_init__(self) -> None:
        check_name(self.name, "film")
        # What strangers wrote is made fit to show once, here, and not wherever it is shown.
        for field_name, longest in (
            ("title", LONGEST_TITLE),
            ("licence", LONGEST_TITLE),
            ("notes", LONGEST_NOTES),
        ):
            text = getattr(self, field_name)
            if text is not None:
                object.__setattr__(self, field_name, one_line(text, longest))
        if not self.files:
            raise BadInput(f"the film {self.name} names no files")
        parse_crop(self.crop)
        if self.start is not None and self.stop is not None and self.start >= self.stop:
            raise BadInput(
                f"the film {self.name} ends ({format_time_code(self.stop)}) before it begins "
                f"({format_time_code(self.start)})"
            )

    @property
    def shown_title(self) -> str:
        """The title, or the name where there is none."""
        return self.title or self.name


@dataclass
class Catalogue:
    """The films of a workspace, by name: its own first, then those that plugins bring."""

    workspace: Workspace
    own: dict[str, FilmEntry] = field(default_factory=dict)
    brought: dict[str, FilmEntry] = field(default_factory=dict)

    @classmethod
    def open(cls, workspace: Workspace) -> Catalogue:
        """Read `films.toml`, if there is one; raises BadInput naming what is wrong in it."""
        from zoo.plugins import registry

        own = {}
        for name, table in _read(workspace.catalogue).items():
            own[name] = _entry(name, table, workspace)
        brought = {n: e for n, e in registry().films.items() if n not in own}
        return cls(workspace, own, brought)

    @property
    def entries(self) -> dict[str, FilmEntry]:
        """Every film by name."""
        return {**self.own, **self.brought}

    def film(self, name: str) -> FilmEntry:
        """The film of that name; raises BadInput saying which there are and how to add one."""
        if name in self.entries:
            return self.entries[name]
        close = difflib.get_close_matches(name, list(self.entries), n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise BadInput(
            f"no film is called {name!r}{hint}; there are: {', '.join(self.entries)}. "
            "`zoo films add NAME PATH` adds one"
        )

    def choose(self, text: str) -> list[FilmEntry]:
        """Read `all`, `a,b`, or paths such as `./clip.mkv`: each film once, in order.

        A film named by its path is called after its file. Raises BadInput on an unknown name.
        """
        if text.strip() == "all":
            return list(self.entries.values())
        whole = Path(text.strip()).expanduser()
        words = [text] if _looks_like_path(text) and whole.exists() else text.split(",")
        chosen: dict[str, FilmEntry] = {}
        for word in (w.strip() for w in words):
            if not word:
                continue
            if word not in self.entries and _looks_like_path(word):
                entry = self._of_path(Path(word).expanduser(), chosen)
            else:
                entry = self.film(word)
            chosen[entry.name] = entry
        if not chosen:
            raise BadInput(f"no film is named; there are: {', '.join(self.entries)}")
        return list(chosen.values())

    def _of_path(self, path: Path, chosen: Mapping[str, FilmEntry]) -> FilmEntry:
        path = path.absolute()
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem).strip("-_")[:48] or "film"
        rival = self.entries.get(name) or chosen.get(name)
        if rival and rival.files != (path,):
            name = f"{name}-{hashlib.sha256(str(path).encode()).hexdigest()[:6]}"
        return FilmEntry(name=name, files=(path,), title=path.stem)

    def check_free(self, name: str) -> None:
        """Raise BadInput unless a film can be called this and none is."""
        check_name(name, "film")
        if name == "all":
            raise BadInput("'all' means every film; choose another name")
        if name in self.own:
            raise BadInput(f"there is a film called {name}; `zoo films remove {name}` first")
        if name in self.brought:
            raise BadInput(f"a plugin brings a film called {name}; choose another name")

    def add(self, name: str, paths: Sequence[Path], **fields: Any) -> FilmEntry:
        """Add a film to `films.toml`, keeping what is written there by hand, and return it.

        `fields` are those of the file: title, licence, notes, from, to, crop, fps; None leaves
        one out. Raises BadInput if the name is taken or a field is wrong. The files are not
        opened here.
        """
        self.check_free(name)
        table = tomlkit.table()
        files = [_written(path, self.workspace) for path in paths]
        table["files"] = files[0] if len(files) == 1 else files
        for key in _FIELDS:
            if fields.get(key) is not None:
                table[key] = fields.pop(key)
        unknown = [key for key, value in fields.items() if value is not None]
        if unknown:
            raise BadInput(f"a film has no field {unknown[0]!r}; it has: {', '.join(_FIELDS)}")
        entry = _entry(name, table, self.workspace)
        document = _document(self.workspace.catalogue)
        if not document.body:
            document = tomlkit.parse(_HEADER)
        # A table begins after an empty line, whether or not the file ended with one.
        if not document.as_string().endswith("\n\n"):
            document.add(tomlkit.nl())
        document[name] = table
        _write(self.workspace.catalogue, document)
        self.own[name] = entry
        self.brought.pop(name, None)
        return entry

    def remove(self, name: str) -> FilmEntry:
        """Take a film out of `films.toml` and return it; its files are left alone."""
        entry = self.film(name)
        if name not in self.own:
            raise BadInput(f"{name} comes with a plugin and is in every catalogue; it stays")
        document = _document(self.workspace.catalogue)
        del document[name]
        _write(self.workspace.catalogue, document)
        del self.own[name]
        return entry


def _looks_like_path(word: str) -> bool:
    return "/" in word or "\\" in word or word.startswith((".", "~")) or Path(word).is_file()


def _written(path: Path, workspace: Workspace) -> str:
    """A path as it is written in the catalogue: relative where it lies in the workspace."""
    absolute = path.expanduser().absolute()
    root = workspace.root.absolute()
    return str(absolute.relative_to(root)) if absolute.is_relative_to(root) else str(absolute)


def _document(path: Path) -> tomlkit.TOMLDocument:
    """The file as it can be changed, with all that is written there by hand."""
    _read(path)
    try:
        return tomlkit.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return tomlkit.document()
    except (tomlkit.exceptions.TOMLKitError, ValueError, RecursionError) as error:
        raise BadInput(f"{path.name} is not valid TOML: {one_line(str(error))}") from None


def _read(path: Path) -> dict[str, Mapping[str, Any]]:
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
                f"{path.name}: {one_line(name, 40)!r} stands outside a film; films are tables "
                "[NAME]"
            )
    return found


def _write(path: Path, document: tomlkit.TOMLDocument) -> None:
    with written_aside(path) as aside:
        aside.write_text(document.as_string(), encoding="utf-8")


def _entry(name: str, table: Mapping[str, Any], workspace: Workspace) -> FilmEntry:
    """Check one table of `films.toml`; raises BadInput naming the film and the field."""
    try:
        return _checked_entry(name, table, workspace)
    except BadInput as error:
        shown = one_line(name, 40)
        raise BadInput(f"{workspace.catalogue.name}, film {shown!r}: {error}") from None


def _checked_entry(name: str, table: Mapping[str, Any], workspace: Workspace) -> FilmEntry:
    for key in table:
        if key not in _FIELDS:
            shown = one_line(key, 40)
            raise BadInput(f"there is no field {shown!r}; there are: {', '.join(_FIELDS)}")
    files = table.get("files")
    files = [files] if isinstance(files, str) else files
    if not isinstance(files, list) or not files or not all(isinstance(f, str) for f in files):
        raise BadInput("files is one file name or a list of them")
    text = {}
    for key in ("title", "licence", "notes", "crop"):
        value = table.get(key)
        if value is not None and not isinstance(value, str):
            raise BadInput(f"{key} is text in quotation marks; not {one_line(repr(value), 40)}")
        text[key] = None if value is None else str(value)
    return FilmEntry(
        name=name,
        files=tuple(workspace.root.absolute() / Path(f).expanduser() for f in files),
        title=text["title"] or "",
        licence=text["licence"],
        start=_seconds("from", table.get("from")),
        stop=_seconds("to", table.get("to")),
        crop=text["crop"] or "auto",
        fps=None if table.get("fps") is None else parse_fps(table["fps"]),
        notes=text["notes"] or "",
    )


def _seconds(key: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _MOST:
        return float(value)
    if isinstance(value, str):
        return parse_time_code(value)
    raise BadInput(f'{key} is a time code such as "00:01:02.5"; not {one_line(repr(value), 40)}')


def parse_fps(value: object) -> Fraction:
    """Read a frame rate: a number, or text such as `24` or `24000/1001`; from 0.01 to 1000.

    Raises BadInput on anything else.
    """
    try:
        # The form is looked at first: a fraction of `1e999999999` would be worked out.
        written = one_line(str(value), 40)
        if not _RATE.fullmatch(written):
            raise ValueError
        rate = Fraction(written).limit_denominator(1_000_000)
        if not Fraction(1, 100) <= rate <= 1000:
            raise ValueError
    except (ValueError, ZeroDivisionError):
        raise BadInput(
            f"a frame rate is written 24 or 24000/1001; not {one_line(repr(value), 40)}"
        ) from None
    return rate
