"""Options that several verbs share, and the run and film that they name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.base.errors import BadInput

if TYPE_CHECKING:
    from zoo.cli.console import Console
    from zoo.films.catalogue import FilmEntry
    from zoo.films.film import Film
    from zoo.reconstruct.eyes import Eyes
    from zoo.training.runs import Run

PresetOption = Annotated[
    str, typer.Option("--preset", help="Defaults for size, latent and budget: film or quick.")
]
SizeOption = Annotated[
    str | None, typer.Option("--size", help="Frame size, WIDTHxHEIGHT; film: 256x144.")
]
LatentOption = Annotated[
    int | None, typer.Option("--latent", help="Numbers a frame is squeezed into; film: 200.")
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        "--budget",
        help="6epochs, 2000steps, 9000frames or 90s; film: 6 epochs, and at least 20,000 steps.",
    ),
]
BatchOption = Annotated[int | None, typer.Option("--batch", help="Frames in a training step.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", help="Threads on a CPU; quick: 1, film: as torch has it.")
]
LARGEST_SEED = 2**63 - 1
SeedOption = Annotated[
    int,
    typer.Option("--seed", min=0, max=LARGEST_SEED, help="Decides weights, order and noise."),
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto (a GPU where there is one), cpu, cuda or cuda:1.")
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision", help="Of training: 32, bf16 or auto (bf16 on a GPU that has it, else 32)."
    ),
]
RecipeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--recipe",
        help="How training proceeds, NAME=VALUE: schedule, warm_up, final_lr, lr, clip, average, "
        "accumulate; may be repeated.",
    ),
]
CompileOption = Annotated[
    bool,
    typer.Option(
        "--compile/--no-compile",
        help="Compile the networks by torch.compile; same results to rounding.",
    ),
]
HoldoutOption = Annotated[
    float, typer.Option("--holdout", help="Share of the film held out, by shot.")
]


def read_settings(
    words: list[str], option: str = "--set", such_as: str = "width=64"
) -> dict[str, str]:
    """Read `--set name=value` words; raises BadInput on one that is not of that form."""
    settings = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise BadInput(f"{option} takes NAME=VALUE, such as {option} {such_as}; not {word!r}")
        settings[name.strip()] = value
    return settings


def read_recipe(words: list[str] | None) -> dict[str, str]:
    """Read `--recipe name=value` words; raises BadInput on one that is not of that form."""
    return read_settings(words or [], "--recipe", "schedule=constant")


def read_sweep(words: list[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Read `--set` words of which some may have several values: `width=32,64`.

    Returns those that have one, and those that have more. Raises BadInput as `read_settings`, and
    on an empty value among several.
    """
    single, several = {}, {}
    for name, value in read_settings(words).items():
        values = [each.strip() for each in value.split(",")]
        if len(values) == 1:
            single[name] = value
        elif not all(values):
            raise BadInput(f"--set {name}={value} has an empty value between its commas")
        else:
            several[name] = list(dict.fromkeys(values))
    return single, several


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

    from zoo.base.environment import choose_device
    from zoo.base.workspace import Workspace
    from zoo.cli.console import teller
    from zoo.cli.progress import ingest_with_progress
    from zoo.reconstruct.loading import find_run
    from zoo.reconstruct.opening import Opener
    from zoo.training.jobs import whole_number

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
