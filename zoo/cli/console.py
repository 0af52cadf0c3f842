"""Shared by all verbs: the console, safe printing of untrusted text, checks of output paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich.console
import rich.markup
import rich.table

from zoo.base.atomic_files import check_writable
from zoo.base.errors import BadInput
from zoo.base.safe_text import one_line

if TYPE_CHECKING:
    from zoo.api.film_entry import FilmEntry

LONGEST = 2000
"""Largest number of characters in a line."""
WIDE = 1000
"""Width in columns of an output that is not a terminal."""


class Console(rich.console.Console):
    """Rich's console, which prints whole rows, however wide, to a pipe or file."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if not self.is_terminal:
            self.width = max(WIDE, self.width)

    def on_broken_pipe(self) -> None:
        """Leave the exit code to `zoo.cli.main` if nobody reads the output any more."""
        raise BrokenPipeError

    def print_line(self, text: str) -> None:
        """Print text on one line, however long, without interpreting markup."""
        self.print(one_line(text, LONGEST), markup=False, highlight=False, soft_wrap=True)


class Table(rich.table.Table):
    """Rich's table, which continues a long word on the next line instead of cutting it."""

    def add_column(self, *heading: Any, **settings: Any) -> None:
        """Add a column that folds long words by default."""
        super().add_column(*heading, **{"overflow": "fold", **settings})


def escaped(text: str, longest: int = LONGEST) -> str:
    """Put untrusted text on one line, and escape its square brackets for Rich."""
    return rich.markup.escape(one_line(text, longest))


def check_free(
    path: Path,
    suffix: str,
    overwrite: bool,
    films: Iterable[FilmEntry] = (),
    reads: Iterable[Path | None] = (),
    option: str = "-o",
) -> Path:
    """Return a path that may be written; raises BadInput on a wrong suffix or an existing file.

    `suffix` begins with a dot. A file of `films`, of a film in the catalogue, or one that the
    command `reads` is not replaced, even with `overwrite`. `option` is the one that sets the path.
    """
    if path.suffix.lower() != suffix:
        raise BadInput(f"the output file must end in {suffix}; not {path.name!r}")
    check_not_source([path], films, reads)
    if path.exists() and not path.is_file():
        raise BadInput(f"{path} is not a file and cannot be replaced")
    if path.exists() and not overwrite:
        raise BadInput(f"{path} is there already; --overwrite replaces it, {option} names another")
    check_writable(path.parent, path)
    return path


def check_folder(
    path: Path, overwrite: bool, names: Iterable[str] = (), films: Iterable[FilmEntry] = ()
) -> Path:
    """Return a folder that may be written to; raises BadInput if it has content, for `overwrite`.

    Files with these `names` will be written there; `films` is as in `check_free`.
    """
    if path.exists() and not path.is_dir():
        raise BadInput(f"{path} is not a folder")
    if path.exists() and any(path.iterdir()) and not overwrite:
        raise BadInput(f"{path} is there already; --overwrite writes into it, -o names another")
    check_not_source((path / name for name in names), films)
    check_writable(path)
    return path


def check_report_folder(path: Path, films: Iterable[FilmEntry] = ()) -> None:
    """Raise BadInput if a report in this folder would replace or remove a film's source file.

    Also raises it if this folder is inside runs/, .zoo/ or downloads/.
    """
    from zoo.base.workspace import Workspace
    from zoo.report.results_folder import files_there

    workspace, place = Workspace.here(), path.resolve()
    for taken in (workspace.runs, workspace.stores.parent, workspace.downloads):
        if place.is_relative_to(taken.resolve()):
            raise BadInput(f"{path} is in {taken.name}/, which cannot hold a report; name another")
    check_not_source(files_there(path), films, advice="move it, or name another folder")


def check_not_source(
    paths: Iterable[Path],
    films: Iterable[FilmEntry] = (),
    reads: Iterable[Path | None] = (),
    advice: str = "choose another name",
) -> None:
    """Raise BadInput if writing these files would replace an input file.

    Input files are those of `films` and of every film in the catalogue, the catalogue itself, and
    the files that the command `reads`. `--overwrite` does not allow it either.
    """
    from zoo.base.workspace import Workspace
    from zoo.films.catalogue import Catalogue

    taken = {path: there for path in paths if (there := _identity(path))}
    if not taken:
        return
    workspace = Workspace.here()
    kept = {
        _identity(source): f"a file of {entry.name} itself"
        for entry in (*Catalogue.open(workspace).entries.values(), *films)
        for source in _sources(entry)
    }
    for path in filter(None, (workspace.catalogue, *reads)):
        kept[_identity(path)] = "read by this command itself"
    for path, there in taken.items():
        if there in kept:
            raise BadInput(f"{path} is {kept[there]}; {advice}")


def _identity(path: Path) -> tuple[int, int] | None:
    """The device and inode of a file, which all its names share; None if there is no such file."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return None
    return status.st_dev, status.st_ino


def _sources(entry: FilmEntry) -> Iterator[Path]:
    """The files of a film; for a pattern or folder of pictures, each picture."""
    from zoo.films.source_files import is_sequence, pictures

    for file in entry.files:
        yield file
        if is_sequence(file):
            with suppress(BadInput):  # a folder that cannot be listed
                yield from pictures(file)
