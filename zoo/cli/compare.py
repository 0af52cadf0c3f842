"""`zoo compare`: every model on every film, and a report."""

from __future__ import annotations

from typing import Annotated

import typer

from zoo.cli import options as opt


def compare(
    films: Annotated[str, typer.Option("--films", help="all, or names and paths: a,b,./c.mkv")],
    models: Annotated[str, typer.Option("--models", help="all, or names: a,b")] = "all",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of every model, NAME=VALUE; may be repeated."),
    ] = None,
    preset: opt.PresetOption = "film",
    size: opt.SizeOption = None,
    latent: opt.LatentOption = None,
    latents: Annotated[
        str | None, typer.Option("--latents", help="Several sizes of the latent: 50,100,200.")
    ] = None,
    budget: opt.BudgetOption = None,
    batch: opt.BatchOption = None,
    threads: opt.ThreadsOption = None,
    seed: opt.SeedOption = 0,
    seeds: Annotated[
        int, typer.Option("--seeds", help="Train from so many seeds, from --seed on.")
    ] = 1,
    others: Annotated[
        bool, typer.Option("--others/--own", help="Have models watch the other films as well.")
    ] = True,
    metrics: Annotated[
        str, typer.Option("--metrics", help="default, all, or names: a,b")
    ] = "default",
    holdout: opt.HoldoutOption = 0.1,
    device: opt.DeviceOption = "auto",
    compiled: opt.CompileOption = False,
    cuda_graphs: opt.CudaGraphsOption = False,
    videos: Annotated[
        float, typer.Option("--videos", help="Seconds of each film that the report plays; 0: none.")
    ] = 120.0,
    afresh: Annotated[
        bool, typer.Option("--afresh", help="Train and evaluate again what is there already.")
    ] = False,
) -> None:
    """Train what is missing, evaluate every frame, and write results/report.md.

    Interrupted and run again, it goes on from where it was. Exits with 1 if no model succeeded.
    """
    import shlex
    import sys

    from rich.console import Console

    from zoo.cli.matrix_display import MatrixDisplay
    from zoo.cli.watching import ingest_with_progress
    from zoo.compare import matrix
    from zoo.compare.costs import with_costs
    from zoo.compare.gather import gather
    from zoo.compare.plan import plan, variants
    from zoo.evaluation.cost_subject import CostSubject
    from zoo.evaluation.watch import Judges
    from zoo.films.catalogue import Catalogue
    from zoo.plugins import registry
    from zoo.report.terminal import summary
    from zoo.report.write import write_report
    from zoo.training.jobs import Settings
    from zoo.training.watching import stop_on_interrupt
    from zoo.workspace import Workspace

    console = Console()
    workspace = Workspace.here()
    chosen_models = registry().choose_models(models)
    chosen = Settings.choose(
        preset,
        size=size,
        latent=latent,
        budget=budget,
        batch=batch,
        threads=threads,
        seed=seed,
        device=device,
        compiled=compiled,
        cuda_graphs=cuda_graphs,
        options=opt.read_settings(settings or []),
    )
    sweep = variants(chosen, latents, seeds)
    for architecture in chosen_models:
        for each in sweep:
            each.options_of(architecture)
    judges = Judges.open(chosen.device, metrics)
    chosen.pin_threads()
    entries = Catalogue.open(workspace).choose(films)
    ingested = [
        ingest_with_progress(console, entry, chosen.size, workspace, holdout) for entry in entries
    ]
    cells = plan(ingested, chosen_models, sweep, others)

    def tell(subject: CostSubject, number: int, count: int) -> None:
        # A line and no live display: nothing may draw while speeds are measured.
        if number == 1:
            console.print(f"measuring what {count} models cost, one after another")

    with stop_on_interrupt() as stop:
        with MatrixDisplay(console, cells) as display:
            records = matrix.run(workspace, cells, judges, display, stop, afresh)
        records = with_costs(
            workspace, records, chosen.device, afresh=afresh, watch=tell, stop=stop
        )

    command = shlex.join(["zoo", *sys.argv[1:]])
    with console.status("drawing the report"):
        results = gather(
            workspace, ingested, records, chosen, judges, command, workspace.results, videos
        )
    report = write_report(results, workspace.results)
    console.print(summary(results))
    console.print(f"report: {report}", markup=False, soft_wrap=True)
    page = report.with_suffix(".html")
    console.print(f"to look at: {page}", markup=False, soft_wrap=True)
    if not any(record.status == "ok" and record.role == "model" for record in records):
        raise typer.Exit(1)
