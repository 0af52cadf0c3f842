"""Where a verb writes, and how it shows that it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rich.console

from zoo.base.atomic_files import check_writable
from zoo.base.errors import BadInput
from zoo.base.text import one_line

LONGEST = 2000
"""Letters of a line."""


WIDE = 1000
"""Columns of what is no terminal."""


class Console(rich.console.Console):
    """Rich's console; a pipe or a file gets whole rows, wide as they are, and nothing cut."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if not self.is_terminal:
            self.width = max(WIDE, self.width)

    def on_broken_pipe(self) -> None:
        """Leave the exit code to `zoo.cli.main`, where nobody reads the output any more."""
        raise BrokenPipeError


def check_free(path: Path, suffix: str, overwrite: bool) -> Path:
    """Return a path that may be written; raises BadInput on a wrong ending, or where it is taken.

    `suffix` begins with a dot.
    """
    if path.suffix.lower() != suffix:
        raise BadInput(f"the file to write ends in {suffix}; not {path.name!r}")
    if path.exists() and not path.is_file():
        raise BadInput(f"{path} is no file that could be replaced")
    if path.exists() and not overwrite:
        raise BadInput(f"{path} is there already; --overwrite replaces it, -o names another")
    check_writable(path.parent, path)
    return path


def shown(text: str, longest: int = LONGEST) -> str:
    """Text from elsewhere as Rich shows it and no otherwise: on one line, without its markup."""
    from rich.markup import escape

    return escape(one_line(text, longest))


def teller(console: Console) -> Callable[[str], None]:
    """What prints a line as it is, however long."""

    def tell(line: str) -> None:
        line = one_line(line, LONGEST)
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    return tell


@contextmanager
def bar(console: Console, what: str, frames: int) -> Iterator[Callable[[int], None]]:
    """A progress bar, in a terminal; yields what takes the number of frames done."""
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(escape(what), total=frames)
        yield lambda done: progress.update(task, completed=done)


def check_folder(path: Path, overwrite: bool) -> Path:
    """Return a folder that may be written into; raises BadInput where there is something in it."""
    if path.exists() and not path.is_dir():
        raise BadInput(f"{path} is no folder")
    if path.exists() and any(path.iterdir()) and not overwrite:
        raise BadInput(f"{path} is there already; --overwrite writes into it, -o names another")
    check_writable(path)
    return path
