"""Printing for every verb: a console, text of plugins and files made safe, free paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich.console
import rich.markup
import rich.table

from zoo.base.atomic_files import check_writable
from zoo.base.errors import BadInput
from zoo.base.safe_text import one_line

LONGEST = 2000
"""Letters of a line."""
WIDE = 1000
"""Columns of an output that is not a terminal."""


class Console(rich.console.Console):
    """Rich's console; a pipe or a file gets whole rows, however wide, and nothing is cut."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if not self.is_terminal:
            self.width = max(WIDE, self.width)

    def on_broken_pipe(self) -> None:
        """Leave the exit code to `zoo.cli.main` where nobody reads the output any more."""
        raise BrokenPipeError

    def print_line(self, text: str) -> None:
        """Print text as one line, however long, without reading markup in it."""
        self.print(one_line(text, LONGEST), markup=False, highlight=False, soft_wrap=True)


class Table(rich.table.Table):
    """Rich's table, in which a word that is too long goes on in the next line and is not cut."""

    def add_column(self, *heading: Any, **settings: Any) -> None:
        """Add a column, whose words are folded unless it is said otherwise."""
        super().add_column(*heading, **{"overflow": "fold", **settings})


def escaped(text: str, longest: int = LONGEST) -> str:
    """Untrusted text on one line, for Rich: its square brackets are not markup."""
    return rich.markup.escape(one_line(text, longest))


def check_free(path: Path, suffix: str, overwrite: bool) -> Path:
    """Return a path that may be written; raises BadInput on a wrong ending, or where it is taken.

    `suffix` begins with a dot.
    """
    if path.suffix.lower() != suffix:
        raise BadInput(f"the file to write ends in {suffix}; not {path.name!r}")
    if path.exists() and not path.is_file():
        raise BadInput(f"{path} is not a file that could be replaced")
    if path.exists() and not overwrite:
        raise BadInput(f"{path} is there already; --overwrite replaces it, -o names another")
    check_writable(path.parent, path)
    return path


def check_folder(path: Path, overwrite: bool) -> Path:
    """Return a folder that may be written into; raises BadInput where there is something in it."""
    if path.exists() and not path.is_dir():
        raise BadInput(f"{path} is not a folder")
    if path.exists() and any(path.iterdir()) and not overwrite:
        raise BadInput(f"{path} is there already; --overwrite writes into it, -o names another")
    check_writable(path)
    return path
