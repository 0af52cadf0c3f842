"""`zoo bench`: measure what models cost to run, one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli import options as opt

if TYPE_CHECKING:
    from zoo.api.autoencoder import Autoencoder
    from zoo.evaluation.cost import CostSubject
    from zoo.training.settings import Settings

ORDERS = ("name", "speed")


def bench(
    models: Annotated[
        str, typer.Option("--models", help="all (with references), or names: a,b")
    ] = "all",
    settings: opt.SetOption = None,
    sort: Annotated[
        str, typer.Option("--sort", help="name, or speed: frames encoded and decoded per second.")
    ] = "speed",
    preset: opt.PresetOption = "film",
    size: opt.SizeOption = None,
    latent: opt.LatentOption = None,
    batch: opt.BatchOption = None,
    threads: opt.ThreadsOption = None,
    device: opt.DeviceOption = "auto",
    precision: opt.PrecisionOption = "auto",
    recipe: opt.RecipeOption = None,
    compiled: opt.CompileOption = False,
) -> None:
    """Measure speed, memory and arithmetic of untrained models; write results/bench.json.

    Needs no film. Nothing else should run on the machine meanwhile. A model that fails is a row
    with its reason; exits with 1 if all of them do.
    """
    import shlex
    import sys

    from rich.markup import escape

    from zoo.base.atomic_files import write_json
    from zoo.base.errors import BadInput
    from zoo.base.workspace import Workspace
    from zoo.cli.bench_table import bench_table
    from zoo.cli.console import Console
    from zoo.compare.costs import measure_all
    from zoo.plugins.registry import registry
    from zoo.report.results_folder import check_folder
    from zoo.training.settings import Settings

    if sort not in ORDERS:
        raise BadInput(f"--sort takes {' or '.join(ORDERS)}; not {sort!r}")
    console = Console()
    chosen_models = registry().choose_models(models)
    if models == "all":
        chosen_models += [r for r in registry().references.values() if not r.pretrained]
    chosen = Settings.choose(
        preset,
        size=size,
        latent=latent,
        batch=batch,
        threads=threads,
        device=device,
        precision=precision,
        recipe=opt.read_recipe(recipe),
        compiled=compiled,
        options=opt.read_settings(settings),
    )
    path = Workspace.here().results / "bench.json"
    check_folder(path.parent)
    subjects = [_subject(chosen, architecture) for architecture in chosen_models]
    chosen.pin_threads()

    def show_progress(subject: CostSubject, number: int, count: int) -> None:
        # A line and no live display, which would take time while a model is timed.
        if console.is_terminal:
            console.print(escape(f"{number}/{count} {subject.model}"), highlight=False)

    command = shlex.join(["zoo", *sys.argv[1:]])
    found = measure_all(subjects, chosen.device, on_subject=show_progress, command=command)
    # First, so that nothing measured is lost where the file cannot be written.
    console.print(bench_table(found, by_speed=sort == "speed"))
    write_json(path, found)
    console.print(f"kept in: {path}", markup=False, soft_wrap=True)
    if all(row.failure for row in found.rows):
        raise typer.Exit(1)


def _subject(chosen: Settings, architecture: type[Autoencoder]) -> CostSubject:
    from zoo.evaluation.cost import CostSubject

    return CostSubject(**chosen.terms(architecture))
