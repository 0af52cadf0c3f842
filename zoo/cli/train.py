"""`zoo train`: one model on one film."""

from __future__ import annotations

from typing import Annotated

import typer

from zoo.cli import options as opt


def train(
    model: Annotated[str, typer.Argument(help="A model, as `zoo models` lists them.")],
    film: Annotated[str, typer.Option("--film", help="A film of the catalogue, or a path.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of the model, NAME=VALUE; may be repeated."),
    ] = None,
    preset: opt.PresetOption = "film",
    size: opt.SizeOption = None,
    latent: opt.LatentOption = None,
    budget: opt.BudgetOption = None,
    batch: opt.BatchOption = None,
    threads: opt.ThreadsOption = None,
    seed: opt.SeedOption = 0,
    holdout: opt.HoldoutOption = 0.1,
    device: opt.DeviceOption = "auto",
    precision: opt.PrecisionOption = "auto",
    recipe: opt.RecipeOption = None,
    compiled: opt.CompileOption = False,
    cuda_graphs: opt.CudaGraphsOption = False,
    init_from: Annotated[
        str | None,
        typer.Option(
            "--init-from",
            help="Begin with the weights of a finished run: its name, or that of a film it knows.",
        ),
    ] = None,
    afresh: Annotated[
        bool, typer.Option("--afresh", help="Throw away what an earlier training left.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write scalars into the run's tensorboard/.")
    ] = False,
) -> None:
    """Train a model on a film; Ctrl-C saves, and the same command goes on."""
    from contextlib import nullcontext
    from dataclasses import replace

    from rich.markup import escape

    from zoo.cli.output import Console
    from zoo.cli.watching import TrainingDisplay, ingest_with_progress
    from zoo.errors import BadInput
    from zoo.films.catalogue import Catalogue
    from zoo.plugins import registry
    from zoo.training.jobs import Settings, ensure_trained
    from zoo.training.ranks import rank
    from zoo.training.run_folder import RunFolder
    from zoo.training.tensorboard import require_tensorboard, scalars, together
    from zoo.training.watching import nobody
    from zoo.workspace import Workspace

    console = Console(quiet=rank() > 0)
    workspace = Workspace.here()
    if tensorboard:
        require_tensorboard()  # before an hour goes into decoding the film
    architecture = registry().architecture(model)
    chosen = Settings.choose(
        preset,
        size=size,
        latent=latent,
        budget=budget,
        batch=batch,
        threads=threads,
        seed=seed,
        device=device,
        precision=precision,
        recipe=opt.read_recipe(recipe),
        compiled=compiled,
        cuda_graphs=cuda_graphs,
        options=opt.read_settings(settings or []),
    )
    chosen.options_of(architecture)
    if init_from is not None:
        from zoo.training.warm_start import warm_start

        start = warm_start(init_from, architecture, chosen, workspace)
        chosen = replace(chosen, start=start)
        console.print(escape(f"begins with the weights of {start.run}"), soft_wrap=True)
    chosen.pin_threads()
    entries = Catalogue.open(workspace).choose(film)
    if len(entries) != 1:
        raise BadInput("zoo train takes one film; zoo compare takes several")
    the_film = ingest_with_progress(console, entries[0], chosen.size, workspace, holdout)
    config = chosen.config(architecture, the_film)

    title = escape(f"{model} on {the_film.name}")
    folder = RunFolder.of(workspace, config)
    done = folder.state == "finished"
    writing = scalars(folder.tensorboard) if tensorboard else nullcontext(nobody)
    with TrainingDisplay(console, title) as display, writing as write:
        folder = ensure_trained(
            workspace,
            config,
            the_film,
            chosen.device,
            watch=together(display.watch, write),
            afresh=afresh,
            measure_peak=console.is_terminal,
            start=chosen.start,
        )
    if done and not afresh:
        console.print(f"{title} was trained already; --afresh trains it again")
    console.print(f"run: {escape(str(folder.path.relative_to(workspace.root)))}", soft_wrap=True)
    console.print(
        f"preview: {escape(str(folder.preview.relative_to(workspace.root)))}", soft_wrap=True
    )
