"""Progress in the terminal: progress bars, and the display of a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Self, TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from zoo.api.film_entry import FilmEntry
from zoo.api.recipe_and_events import PART_LABELS, Score, TrainingEvent, format_scores
from zoo.base.errors import BadInput, ZooError
from zoo.base.frame_size import FrameSize
from zoo.base.locks import print_waiting
from zoo.base.safe_text import one_line
from zoo.base.workspace import Workspace
from zoo.cli.console import LONGEST, escaped
from zoo.films.ingest import open_film
from zoo.films.ingested_film import Film
from zoo.films.pipeline import IngestProgress

T = TypeVar("T")


class FramesBar:
    """A progress bar over frames that disappears when done; without a terminal, only messages."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def update(self, done: int, total: int | None = None) -> None:
        """Show how many frames are done, and the total if it is known."""
        self._progress.update(self._task, completed=done, total=total)

    def ingesting(self, event: IngestProgress) -> None:
        """Show an event of an ingest: its message or its progress."""
        if event.message:
            text = escaped(event.message)
            self._progress.console.print(text, soft_wrap=True, highlight=False)
        else:
            self.update(event.frames, event.expected or None)


@contextmanager
def frames_bar(console: Console, label: str, total: int | None = None) -> Iterator[FramesBar]:
    """Show a progress bar over `total` frames; None if the number is not known yet."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        yield FramesBar(progress, progress.add_task(escaped(label), total=total))


def ingest_with_progress(
    console: Console,
    entry: FilmEntry,
    size: FrameSize,
    workspace: Workspace,
    holdout: float,
    hwaccel: str | None = None,
) -> Film:
    """Open a film, and ingest it with a progress bar if that has not been done yet.

    Raises BadInput naming the film if it cannot be used.
    """
    with frames_bar(console, f"ingesting {entry.name}") as bar, naming(entry):
        return open_film(
            entry, size, workspace, holdout=holdout, progress=bar.ingesting, hwaccel=hwaccel
        )


@contextmanager
def naming(entry: FilmEntry) -> Iterator[None]:
    """Prefix errors of the block with the film's name."""
    try:
        yield
    except BadInput as error:
        raise BadInput(f"film {entry.name}: {error}") from None


def of_each(
    entries: Sequence[FilmEntry], use: Callable[[FilmEntry], T], failed: list[ZooError]
) -> Iterator[T]:
    """Yield what `use` returns for each film that can be used.

    For other films, a line is printed on standard error and the error is added to `failed`. If only
    one film is requested, its error is raised.
    """
    for entry in entries:
        try:
            result = use(entry)
        except ZooError as error:
            if len(entries) == 1 or error.exit_code not in (1, 2):  # others: stopped by the user
                raise
            failed.append(error)
            print_waiting(one_line(str(error), LONGEST))
            continue
        yield result


class LiveDisplay:
    """A display that is refreshed while a `with` block runs, and removed at its end."""

    live: Live

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()


SECONDS_BETWEEN_LINES = 60.0


class ProgressLines:
    """Print a line per minute about each training, if there is no terminal for a bar."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next: dict[str, float] = {}

    def show(self, title: str, event: TrainingEvent) -> None:
        """Print the progress of a training, unless it has ended or had a line within the minute."""
        due = event.seconds >= self._next.setdefault(title, SECONDS_BETWEEN_LINES)
        if self._console.is_terminal or not due or event.progress >= 1:
            return
        self._next[title] = event.seconds + SECONDS_BETWEEN_LINES
        steps = f" of {event.steps:,}" if event.steps else ""
        rate = f"{event.frames_per_second:.0f} frames/s"
        line = f"{title}: {event.progress:.0%}, step {event.step:,}{steps}, {rate}"
        self._console.print(escaped(line), soft_wrap=True, highlight=False)


MOST_LOGGED = 4
"""A terminal shows logged numbers if there are at most this many; the log has them anyway."""


class TrainingDisplay(LiveDisplay):
    """A display of a bar, the losses by player and the last score while a model trains."""

    def __init__(self, console: Console, title: str) -> None:
        self.title = title
        self.console = console
        self.events = 0
        self.score: Score | None = None
        self.lines = ProgressLines(console)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
        )
        self.bar = Progress(*columns, TimeRemainingColumn())
        self.task = self.bar.add_task(title, total=1.0)
        self.live = Live(self.bar, console=console, transient=True, refresh_per_second=4)

    def on_event(self, event: TrainingEvent) -> None:
        """Show a training event."""
        self.events += 1
        self.score = event.score or self.score
        self.bar.update(self.task, completed=event.progress)
        self.live.update(Group(self.bar, losses_table(event, self.score)))
        self.lines.show(self.title, event)
        for note in event.notes:
            self.console.print(escaped(f"{self.title}: {note}"), soft_wrap=True, highlight=False)


def losses_table(event: TrainingEvent, score: Score | None = None) -> RenderableType:
    """Lay out the speed of training, then a line of loss terms per player, and one per score."""
    table = Table.grid(padding=(0, 2))
    steps = f"/{event.steps}" if event.steps else ""
    speed = [f"{event.frames_per_second:.0f} frames/s"]
    if event.share_of_peak is not None:
        speed.append(f"{event.share_of_peak:.0%} of matmul peak")
    speed.append(f"{event.data_stall:.1%} waiting for frames")
    table.add_row(f"step {event.step}{steps}", ", ".join(speed))
    for player, terms in event.losses.items():
        line = "  ".join(f"{term} {value:.4g}" for term, value in terms.items())
        table.add_row(escaped(player), escaped(line))
    if sum(map(len, event.logged.values())) <= MOST_LOGGED:
        for player, values in event.logged.items():
            line = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
            table.add_row(escaped(f"{player}, logged"), escaped(line))
    for part, name in PART_LABELS.items():
        if score and part in score.values:
            table.add_row(
                name, escaped(f"{format_scores(score.values[part])} at step {score.step}")
            )
    return table
