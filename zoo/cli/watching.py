"""What a terminal shows while the zoo works."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from zoo.cli.output import shown
from zoo.films.catalogue import FilmEntry
from zoo.films.film import Film
from zoo.films.ingest import open_film
from zoo.films.settings import IngestProgress
from zoo.frame_size import FrameSize
from zoo.training.watching import Moment
from zoo.workspace import Workspace


def ingest_with_progress(
    console: Console, entry: FilmEntry, size: FrameSize, workspace: Workspace, holdout: float
) -> Film:
    """Open a film, ingesting it behind a progress bar if that has not been done yet."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(shown(f"ingesting {entry.name}"), total=None)

        def watch(moment: IngestProgress) -> None:
            if moment.message:
                progress.console.print(shown(moment.message), soft_wrap=True)
            else:
                progress.update(task, completed=moment.frames, total=moment.expected or None)

        return open_film(entry, size, workspace, holdout=holdout, progress=watch)


class LiveDisplay:
    """Something that is drawn over and over while a `with` block runs, and gone after it."""

    live: Live

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.live.stop()


class TrainingDisplay(LiveDisplay):
    """A bar and the losses by player while a model trains."""

    def __init__(self, console: Console, title: str) -> None:
        self.title = title
        self.moments = 0
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
        )
        self.bar = Progress(*columns, TimeRemainingColumn())
        self.task = self.bar.add_task(title, total=1.0)
        self.live = Live(self.bar, console=console, transient=True, refresh_per_second=4)

    def watch(self, moment: Moment) -> None:
        """Show a moment of training."""
        self.moments += 1
        self.bar.update(self.task, completed=moment.progress)
        self.live.update(Group(self.bar, losses_table(moment)))


def losses_table(moment: Moment) -> RenderableType:
    """How fast training goes, over one line a player: its terms."""
    table = Table.grid(padding=(0, 2))
    steps = f"/{moment.steps}" if moment.steps else ""
    speed = [f"{moment.frames_per_second:.0f} frames/s"]
    if moment.share_of_peak is not None:
        speed.append(f"{moment.share_of_peak:.0%} of matmul peak")
    speed.append(f"{moment.data_stall:.1%} waiting for frames")
    table.add_row(f"step {moment.step}{steps}", ", ".join(speed))
    for player, terms in moment.losses.items():
        line = "  ".join(f"{term} {value:.4g}" for term, value in terms.items())
        table.add_row(shown(player), shown(line))
    return table
