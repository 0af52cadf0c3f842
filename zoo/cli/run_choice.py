"""The run and the film that a verb's words mean, opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.cli.output import Console
    from zoo.films.catalogue import FilmEntry
    from zoo.films.film import Film
    from zoo.reconstruct.eyes import Eyes
    from zoo.training.runs import Run

Place = Callable[[str, str, str], Path]
"""Where to write, from the names of the film, the model and the film that the model knows."""


@dataclass(frozen=True)
class Opened:
    """A trained network put before a film."""

    run: Run
    entry: FilmEntry
    film: Film
    eyes: Eyes
    out: Path


def open_run(
    console: Console,
    model: str | None,
    film: str,
    place: Place,
    run: str | None,
    trained_on: str | None,
    holdout: float,
    threads: int | None,
    device: str,
) -> Opened:
    """Find the run, ask `place` where to write, and open film and network; says which run it is.

    Raises BadInput on whatever is not there, before anything that takes time.
    """
    import torch

    from zoo.cli.output import teller
    from zoo.cli.watching import ingest_with_progress
    from zoo.environment import choose_device
    from zoo.loading import find_run
    from zoo.reconstruct.opening import Opener
    from zoo.training.jobs import whole_number
    from zoo.workspace import Workspace

    chosen = choose_device(device)
    workspace = Workspace.here()
    request = find_run(workspace, model, film, trained_on=trained_on, run=run)
    known = request.another or request.entry.name
    out = place(request.entry.name, request.run.model, known)
    if threads is not None:
        torch.set_num_threads(whole_number(threads, "--threads"))
    tell = teller(console)
    tell(f"run: {request.run.name}")
    opener = Opener(
        workspace,
        chosen,
        lambda entry, size: ingest_with_progress(console, entry, size, workspace, holdout),
        tell,
    )
    opened, eyes = opener.open(request.run, request.entry, request.trained_on)
    return Opened(request.run, request.entry, opened, eyes, out)
