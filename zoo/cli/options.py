"""Options and arguments that several verbs share, with their shell completion.

Completion cannot show errors: if the names cannot be read, it offers none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from zoo.base.errors import BadInput, ZooError
from zoo.base.presets_and_budgets import DEFAULT_PRESET, PRESETS, Budget

if TYPE_CHECKING:
    from zoo.api.film_entry import FilmEntry
    from zoo.cli.console import Console
    from zoo.films.catalogue import Catalogue
    from zoo.films.ingested_film import Film
    from zoo.reconstruct.find_run import FoundRun
    from zoo.reconstruct.model_loader import TrainedModel
    from zoo.reconstruct.reconstruct_film import WrittenVideo
    from zoo.training.runs import Run

Completion = Callable[[str], list[str]]
"""A function from the beginning of a word to its possible completions."""


def model_names() -> list[str]:
    """The models, references and codecs in the cached listing; none if there is no valid one.

    Raises BadInput as `find_plugins` does.
    """
    from zoo.plugins.entry_points import find_plugins
    from zoo.plugins.listing_cache import kept_listing
    from zoo.plugins.registry import ENTRY_POINT_GROUP

    kept = kept_listing(ENTRY_POINT_GROUP, find_plugins(ENTRY_POINT_GROUP))
    return [each.name for each in kept.models] if kept else []


def film_names() -> list[str]:
    """The films of the catalogue; raises BadInput as `Catalogue.open` does."""
    from zoo.base.workspace import Workspace
    from zoo.films.catalogue import Catalogue

    return list(Catalogue.open(Workspace.here()).entries)


def one_of(names: Callable[[], Iterable[str]]) -> Completion:
    """Make a completion for a single name."""

    def complete(incomplete: str) -> list[str]:
        try:
            return [name for name in names() if name.startswith(incomplete)]
        except ZooError:
            return []

    return complete


def several_of(names: Callable[[], Iterable[str]], *words: str) -> Completion:
    """Make a completion for the last name in `a,b`, or for a word that stands for several names."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        taken = before.split(",")
        found = one_of(lambda: [*(() if comma else words), *names()])(last)
        return [before + comma + name for name in found if name not in taken]

    return complete


one_model = one_of(model_names)
several_models = several_of(model_names, "all")
one_film = one_of(film_names)
several_films = several_of(film_names, "all", "mine")
one_preset = one_of(lambda: PRESETS)


FILM = PRESETS[DEFAULT_PRESET]

MOST_NAMED = 20
"""Largest number of films that a line names."""

# Which film and which trained model.
FilmOption = Annotated[
    str,
    typer.Option("--film", help="A film in the catalogue, or a path.", autocompletion=one_film),
]
FilmOfRunOption = Annotated[
    str | None,
    typer.Option(
        "--film",
        help="A film in the catalogue, or a path; default: the film it was trained on.",
        autocompletion=one_film,
    ),
]
ModelArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN|MODEL",
        help="A trained model, or a run as named by `zoo runs`.",
        autocompletion=one_model,
    ),
]
RunOption = Annotated[str | None, typer.Option("--run", help="A run, as named by `zoo runs`.")]
TrainedOnOption = Annotated[
    str | None,
    typer.Option(
        "--trained-on",
        help="The film that the model was trained on, if different.",
        autocompletion=one_film,
    ),
]

# How to train a model.
PresetOption = Annotated[
    str,
    typer.Option(
        "--preset",
        autocompletion=one_preset,
        help="Defaults for size, latent and budget: "
        + "; ".join(f"{preset.name} ({preset.purpose})" for preset in PRESETS.values()),
    ),
]
SizeOption = Annotated[
    str | None, typer.Option("--size", help=f"Frame size, WIDTHxHEIGHT; preset film: {FILM.size}.")
]
LatentOption = Annotated[
    int | None,
    typer.Option("--latent", help=f"Numbers per frame in the latent; preset film: {FILM.latent}."),
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        "--budget",
        help=f"How long to train: 6epochs, 2000steps, 9000frames, 90s, 2min or 1h; "
        f"preset film: {Budget.parse(FILM.budget).in_words}.",
    ),
]
BatchOption = Annotated[int | None, typer.Option("--batch", help="Frames per training step.")]
LARGEST_SEED = 2**63 - 1
SeedOption = Annotated[
    int,
    typer.Option("--seed", min=0, max=LARGEST_SEED, help="Seed for all random numbers."),
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision",
        help="Training precision: 32, bf16, 16 or auto (bf16 on a GPU that supports it and, with "
        "the preset laptop, on a CPU; otherwise 32).",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Set a model option; may be repeated."),
]
RecipeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--recipe",
        metavar="NAME=VALUE",
        help="Set part of the training recipe: schedule, warm_up, final_lr, lr, clip, average, "
        "accumulate, weight_bits; may be repeated.",
    ),
]
CompileOption = Annotated[
    bool,
    typer.Option(
        "--compile/--no-compile",
        help="Compile the networks with torch.compile; same results up to rounding.",
    ),
]
HoldoutOption = Annotated[
    float, typer.Option("--holdout", help="Share of the film to hold out, in whole shots.")
]

# Where to compute.
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        help="CPU threads; default: 1 with the preset quick, otherwise torch's default.",
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto (a GPU if there is one), cpu, cuda or cuda:1.")
]

# What to write.
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print strict JSON.")]
CodecOption = Annotated[
    str, typer.Option("--codec", help="Video codec: libx264, libx265 or libsvtav1.")
]
CrfOption = Annotated[
    float | None, typer.Option("--crf", help="Quality: lower is better; default with libx264: 18.")
]
EncoderPresetOption = Annotated[
    str | None,
    typer.Option(
        "--encoder-preset", help="The encoder's own preset; default with libx264: medium."
    ),
]
ScaleToOption = Annotated[
    str | None, typer.Option("--scale", help="Size of each picture in the video: 1280x720 or 2x.")
]
FilterOption = Annotated[
    str,
    typer.Option(
        "--filter", help="Scaling filter: nearest, bilinear, bicubic, lanczos, spline or area."
    ),
]


ListVerb = Callable[[bool], None]


class Command(TyperCommand):
    """A command with a repeatable argument, whose help shows `FILM` without `<list[str]>`."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page."""
        write = formatter.write_dl

        def without_lists(rows: Iterable[tuple[str, str]], *rest: Any, **named: Any) -> None:
            write(
                [(re.sub(r" <list\[\w+\]>", "", name), text) for name, text in rows], *rest, **named
            )

        formatter.write_dl = without_lists
        super().format_help(ctx, formatter)


def lists(app: typer.Typer) -> Callable[[ListVerb], ListVerb]:
    """Decorate a function: it becomes a verb's subcommand `list`, and runs if none is given."""

    def register(list_them: ListVerb) -> ListVerb:
        @app.callback(invoke_without_command=True)
        def verb(context: typer.Context, as_json: JsonOption = False) -> None:
            called = context.invoked_subcommand
            if called and as_json:
                raise BadInput(f"put --json after `{context.command_path} {called}`")
            if not called:
                list_them(as_json)

        return app.command("list")(list_them)

    return register


def choose_films(console: Console, catalogue: Catalogue, text: str) -> list[FilmEntry]:
    """The films that a text names; for `all` and `mine`, a line is printed that lists them."""
    from zoo.films.catalogue import ALL, MINE

    entries = catalogue.choose(text)
    word = text.strip()
    if word in (ALL, MINE) and entries[0].name != word:
        names = [entry.name for entry in entries]
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        brought = sum(name in catalogue.from_plugins for name in names)
        hint = f"; `{MINE}` leaves out those that film-zoo and plugins bring"
        console.print_line(
            f"{word} films: {', '.join(names[:MOST_NAMED])}{more}"
            f"{hint if 0 < brought < len(names) else ''}"
        )
    return entries


def file_names(entry: FilmEntry) -> str:
    """The name of a film's file; if there are several, the first and the number of others."""
    first = entry.files[0].name
    return first if len(entry.files) == 1 else f"{first} and {len(entry.files) - 1} more"


def read_settings(
    words: list[str] | None, option: str = "--set", such_as: str = "width=64"
) -> dict[str, str]:
    """Read `--set name=value` words; raises BadInput on a word of another form."""
    settings = {}
    for word in words or []:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise BadInput(f"{option} takes NAME=VALUE, such as {option} {such_as}; not {word!r}")
        settings[name.strip()] = value
    return settings


def read_recipe(words: list[str] | None) -> dict[str, str]:
    """Read `--recipe name=value` words; raises BadInput on a word of another form."""
    return read_settings(words, "--recipe", "schedule=constant")


_BETWEEN_VALUES = re.compile(r",(?![^\[]*\])")
"""A comma that is not inside the brackets of a list."""


def read_sweep(words: list[str] | None) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Read `--set` words that may have several values: `width=32,64`, `widths=[8],[8,16]`.

    Returns settings with one value, and settings with several. Raises BadInput as `read_settings`
    does, and if one of several values is empty.
    """
    single, several = {}, {}
    for name, value in read_settings(words).items():
        values = [each.strip() for each in _BETWEEN_VALUES.split(value)]
        if len(values) == 1:
            single[name] = value
        elif not all(values):
            raise BadInput(f"--set {name}={value} has an empty value between its commas")
        else:
            several[name] = list(dict.fromkeys(values))
    return single, several


def check_training_words(models: str, preset: str, size: str | None, budget: str | None) -> None:
    """Raise BadInput on options that are wrong for any model, before torch is imported."""
    from zoo.base.frame_size import FrameSize
    from zoo.base.presets_and_budgets import preset_named
    from zoo.plugins.registry import check_model_names

    preset_named(preset)
    if size:
        FrameSize.parse(size)
    if budget:
        Budget.parse(budget)
    check_model_names(models)


def set_threads(threads: int | None) -> None:
    """Set torch's number of threads if one was requested; raises BadInput if it is invalid."""
    if threads is not None:
        import torch

        from zoo.training.settings import whole_number

        torch.set_num_threads(whole_number(threads, "--threads"))


OutputPath = Callable[["FoundRun"], Path]
"""A function from a run and a film to the path of the output."""


@dataclass(frozen=True)
class Opened:
    """A loaded trained model, an opened film, and the output path."""

    run: Run
    entry: FilmEntry
    film: Film
    trained: TrainedModel
    out: Path


def open_run(
    console: Console,
    model: str | None,
    film: str | None,
    output_path: OutputPath,
    run: str | None,
    trained_on: str | None,
    holdout: float,
    threads: int | None,
    device: str,
) -> Opened:
    """Find the run, check the output path, and load film and model; print which run it is.

    Raises BadInput for anything that does not exist, before any slow step.
    """
    from zoo.base.workspace import Workspace
    from zoo.reconstruct.find_run import find_run

    workspace = Workspace.here()
    request = find_run(workspace, model, film, trained_on=trained_on, run=run)
    out = output_path(request)

    # torch takes seconds to import, so errors that can be found without it are raised above.
    from zoo.base.devices import choose_device
    from zoo.cli.progress import ingest_with_progress
    from zoo.reconstruct.model_loader import ModelLoader

    chosen = choose_device(device)
    set_threads(threads)
    console.print_line(f"run: {request.run.name}")
    loader = ModelLoader(
        workspace,
        chosen,
        lambda entry, size: ingest_with_progress(console, entry, size, workspace, holdout),
        console.print_line,
    )
    opened, trained = loader.load(request.run, request.entry, request.trained_on)
    return Opened(request.run, request.entry, opened, trained, out)


def print_written(console: Console, written: WrittenVideo) -> None:
    """Print the path of a video that was written, and what sound it has."""
    from zoo.base.time_code import format_time_code

    console.print_line(f"sound: {written.sound.summary}")
    console.print_line(
        f"wrote {written.path}: {written.size}, {written.frames:,} frames, "
        f"{format_time_code(written.seconds)}"
    )
