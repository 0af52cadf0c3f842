"""`zoo compare`: every model on every film, and a report."""

from __future__ import annotations

import math
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.base.errors import BadInput, ZooError
from zoo.cli import options as opt

if TYPE_CHECKING:
    import torch

    from zoo.api.film_entry import FilmEntry
    from zoo.compare.executors import Executor
    from zoo.films.ingested_film import Film


def _read_plan(context: typer.Context, path: Path | None) -> Path | None:
    if path is not None and not context.resilient_parsing:
        from zoo.cli.comparison_plan import apply_plan

        apply_plan(context, path)
    return path


def compare(
    context: typer.Context,
    plan: Annotated[
        Path | None,
        typer.Argument(
            metavar="PLAN",
            callback=_read_plan,
            is_eager=True,
            show_default=False,
            help="A file of options written by --save-plan; the command line takes precedence.",
        ),
    ] = None,
    *,
    films: Annotated[
        str,
        typer.Option(
            "--films",
            help="Films to compare on: all, mine, or names and paths, such as a,b,./c.mkv.",
            autocompletion=opt.several_films,
        ),
    ],
    models: Annotated[
        str,
        typer.Option(
            "--models",
            help="Models to compare: all, or names: a,b; codecs named here replace the defaults.",
            autocompletion=opt.several_models,
        ),
    ] = "all",
    codecs: Annotated[
        bool,
        typer.Option("--codecs/--no-codecs", help="Also compare with x264, x265 and SVT-AV1."),
    ] = True,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Set an option of every model, or of a codec; NAME=A,B tries both.",
        ),
    ] = None,
    preset: opt.PresetOption = "film",
    size: opt.SizeOption = None,
    latent: opt.LatentOption = None,
    latents: Annotated[
        str | None, typer.Option("--latents", help="Several latent sizes, such as 50,100,200.")
    ] = None,
    budget: opt.BudgetOption = None,
    batch: opt.BatchOption = None,
    threads: opt.ThreadsOption = None,
    seed: opt.SeedOption = 0,
    seeds: Annotated[int, typer.Option("--seeds", help="Number of seeds, from --seed up.")] = 1,
    others: Annotated[
        bool, typer.Option("--others/--own", help="Also evaluate every model on the other films.")
    ] = True,
    metrics: Annotated[
        str, typer.Option("--metrics", help="Metrics to measure: default, all, or names: a,b.")
    ] = "default",
    holdout: opt.HoldoutOption = 0.1,
    device: Annotated[
        str, typer.Option("--device", help="auto or cuda (all available GPUs), cuda:1, or cpu.")
    ] = "auto",
    precision: opt.PrecisionOption = "auto",
    recipe: opt.RecipeOption = None,
    compiled: opt.CompileOption = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Report folder; default: results.", show_default=False),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another comparison's report.")
    ] = False,
    videos: Annotated[
        float, typer.Option("--videos", help="Seconds of video per row in the report; 0 for none.")
    ] = 120.0,
    overwrite_runs: Annotated[
        bool,
        typer.Option("--overwrite-runs", help="Redo training and evaluation already done."),
    ] = False,
    on: Annotated[
        str,
        typer.Option(
            "--on",
            help="Where to run: here, inline (one process, for debuggers), ray, or a Ray address.",
        ),
    ] = "here",
    max_parallel: Annotated[
        int | None,
        typer.Option(
            "--max-parallel",
            help="Cells to run at once; default here: 1, or 1 per GPU; with Ray: as many as fit.",
        ),
    ] = None,
    gpus_per_cell: Annotated[
        float | None, typer.Option("--gpus-per-cell", help="GPUs per cell on Ray, such as 0.5.")
    ] = None,
    runs: Annotated[
        str | None, typer.Option("--runs", help="Also keep run folders at this address: s3://...")
    ] = None,
    save_plan: Annotated[
        Path | None,
        typer.Option("--save-plan", help="Also write these options to a file, such as plan.toml."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done and how long it would take.")
    ] = False,
) -> None:
    """Train models where needed, evaluate every frame, and write results/report.md.

    If interrupted, run it again to continue. An existing report stays intact until the new one is
    complete; the report of another comparison is never replaced without --overwrite. Exits with 1
    if none of the named models and codecs succeeded. A film that cannot be used is left out, and
    the exit code is then 2.
    """
    opt.check_training_words(models, preset, size, budget)

    # torch takes seconds to import: what can be refused without it is refused above.
    import sys
    from dataclasses import replace

    from zoo.api.codec import FilmCodec
    from zoo.base.devices import cores
    from zoo.base.interrupts import resumable
    from zoo.base.locks import folder_lock
    from zoo.base.numbers import counted
    from zoo.base.presets_and_budgets import preset_named
    from zoo.base.workspace import Workspace
    from zoo.cli.comparison_display import MatrixDisplay, show_estimate, start_lines
    from zoo.cli.console import Console, check_free, check_report_folder, escaped
    from zoo.cli.progress import ingest_with_progress, of_each
    from zoo.cli.report import print_report
    from zoo.compare.cells import check_options, fitting_models, own_settings, sweep_settings
    from zoo.compare.comparison import Comparison
    from zoo.compare.results import (
        check_results_size,
        gather,
        refuse_other_comparison,
        refuse_other_settings,
    )
    from zoo.compare.tasks import CostMeasurementStarted
    from zoo.evaluation.metrics import MetricSet
    from zoo.films.catalogue import Catalogue
    from zoo.films.source_files import is_present
    from zoo.plugins.entry_points import as_typed
    from zoo.plugins.registry import registry
    from zoo.report.plugin_sections import section_registry
    from zoo.report.results_folder import check_folder, new_report, replace_report
    from zoo.report.write import build_report
    from zoo.training.settings import MOST_THREADS, Settings, whole_number

    if not 0 <= videos < math.inf:
        raise BadInput(f"--videos must be a number of seconds, 0 or more; not {videos}")
    if save_plan is not None:
        from zoo.cli.comparison_plan import is_this_plan, write_plan

        replaced = overwrite or is_this_plan(context, save_plan)
        check_free(save_plan, ".toml", replaced, reads=[plan], option="--save-plan")
    console = Console()
    workspace = Workspace.here()
    folder = out or workspace.results
    chosen_models = registry().choose(models)
    named_codecs = [each.name for each in chosen_models if issubclass(each, FilmCodec)]
    if named_codecs and not codecs:
        names = ", ".join(named_codecs)
        raise BadInput(f"--models names {names}, but --no-codecs leaves codecs out; give only one")
    for failure in (*registry().failures(), *section_registry().failures()):
        console.print(escaped(f"{failure} (`zoo plugins` lists all)"), soft_wrap=True)
    if models == "all":
        lines = {each: registry().lacking(each) for each in chosen_models}
        for line in filter(None, lines.values()):
            console.print_line(f"left out: {line}")
        chosen_models = [each for each, line in lines.items() if not line]
    registry().check_installed(chosen_models)
    single, several = opt.read_sweep(settings)
    entries = opt.choose_films(console, Catalogue.open(workspace), films)
    if threads is not None:
        threads = whole_number(threads, "--threads", MOST_THREADS)
    alone = threads or preset_named(preset).threads
    where = choose_executor(on, max_parallel, gpus_per_cell, device, alone)
    if alone and where.threads != alone:
        console.print(
            f"{counted(where.executor.capacity, 'cell')} at once on {counted(cores(), 'core')}: "
            f"{counted(where.threads or 1, 'thread')} each"
        )
    with where.executor as executor:
        chosen = Settings.choose(
            preset,
            size=size,
            latent=latent,
            budget=budget,
            batch=batch,
            threads=where.threads,
            seed=seed,
            device=where.here if where.device.type == where.here.type else where.device,
            precision=precision,
            recipe=opt.read_recipe(recipe),
            compiled=compiled,
            options=single,
        )
        chosen = replace(chosen, device=where.device)
        sweep = sweep_settings(chosen, latents, seeds, several)
        if models == "all":
            chosen_models = fitting_models(chosen_models, sweep, console.print_line)
        check_options(chosen_models, sweep)
        for each in chosen_models:
            if not issubclass(each, FilmCodec):
                own_settings(each, sweep[0], chosen_models).check(each)
        if not overwrite and all(is_present(file) for entry in entries for file in entry.files):
            # Before anything is downloaded or decoded; other checks follow when films are open.
            refuse_other_settings(folder, [entry.name for entry in entries], chosen)
        check_folder(folder)
        check_report_folder(folder, entries)
        metric_set = MetricSet.load(where.here, metrics)
        for name, reason in metric_set.unavailable.items():
            console.print(escaped(f"metric {name} is not measured: {reason}"), soft_wrap=True)
        chosen.pin_threads()
        left_out: list[ZooError] = []

        def opened(entry: FilmEntry) -> tuple[FilmEntry, Film]:
            film = ingest_with_progress(console, entry, chosen.size, workspace, holdout)
            return entry, film

        pairs = list(of_each(entries, opened, left_out))
        if not pairs:
            raise left_out[0]
        comparison = Comparison(
            workspace,
            [entry for entry, _ in pairs],
            [film for _, film in pairs],
            chosen_models,
            sweep,
            metric_set,
            metrics,
            holdout,
            others,
            overwrite_runs,
            codecs,
            store=runs,
            remote=where.other_machines and runs is not None,
        )

        def check_earlier() -> None:
            if not overwrite:
                # A report also contains metrics that earlier evaluations measured.
                names = {metric.name for metric in metric_set.requested}
                names |= {name for record in comparison.found.values() for name in record.scores}
                refuse_other_comparison(folder, comparison.films, comparison.cells, chosen, names)

        check_results_size(len(comparison.films), comparison.cells, len(metric_set.requested))
        with console.status("looking for existing results"):
            check_earlier()
            comparison.found  # noqa: B018 (it is looked for once)
        if save_plan is not None:
            write_plan(context, save_plan)
            console.print_line(f"plan: {save_plan}")
        if dry_run:
            show_estimate(console, comparison, executor)
            if left_out:
                raise typer.Exit(left_out[0].exit_code)
            return

        def announce(event: object) -> None:
            # A line instead of a live display: nothing else may run while speeds are measured.
            if isinstance(event, CostMeasurementStarted):
                console.print(f"measuring the cost of {counted(event.models, 'model')}, one by one")

        display = MatrixDisplay(console, comparison.cells)
        found = comparison.found
        for line in start_lines(display, found, folder):
            console.print_line(line)
        with resumable():
            with display:
                records = comparison.run(executor, display)
            records = comparison.with_costs(records, executor, announce)

    command = as_typed(["zoo", *sys.argv[1:]])
    # Another comparison, or `zoo report`, may be writing there or may have written meanwhile.
    with resumable(), folder_lock(folder):
        check_earlier()
        with new_report(folder) as new:
            with console.status("writing the report"):
                results = gather(
                    workspace,
                    comparison.entries,
                    comparison.films,
                    records,
                    chosen,
                    metric_set,
                    command,
                    new,
                    where.here,
                    videos,
                )
                build_report(results, new, new, gpu=folder)
            replace_report(new, folder, results)
    print_report(console, results, folder / "report.md")
    for film in results.films:
        if film.side_by_side and (why := film.side_by_side.why_silent):
            console.print_line(f"the video of {film.name} has no sound: {why}")
    for error in left_out:
        console.print(f"left out: {error}", markup=False, soft_wrap=True)
    named = {entry.name for entry in chosen_models}
    if not any(record.status == "ok" and record.model in named for record in records):
        raise typer.Exit(1)
    if left_out:
        raise typer.Exit(left_out[0].exit_code)


MOST_AT_ONCE = 10_000
CONNECT_SECONDS = 10.0
_ADDRESS = re.compile(r"ray(://\S+)?|\S+:\d{1,5}")


@dataclass(frozen=True)
class ExecutorChoice:
    """An executor, and the devices and threads of its cells."""

    executor: Executor
    device: torch.device
    """The device that cells compute on, as they name it."""
    here: torch.device
    """The device of this process."""
    threads: int | None
    """Threads of each cell; None for torch's default."""
    other_machines: bool
    """Whether tasks may run on other machines."""


def choose_executor(
    on: str,
    max_parallel: int | None,
    gpus_per_cell: float | None,
    device: str,
    threads: int | None,
) -> ExecutorChoice:
    """Choose the executor for options of `zoo compare`; connects to Ray if requested.

    `threads` is the number of CPU threads of a cell that runs alone, None for torch's default.
    Raises BadInput on the first invalid option, and if Ray cannot be reached.
    """
    from zoo.base.devices import choose_device, gpus_named, shared_threads

    if max_parallel is not None and not 1 <= max_parallel <= MOST_AT_ONCE:
        raise BadInput(f"--max-parallel must be from 1 to {MOST_AT_ONCE}; not {max_parallel}")
    if gpus_per_cell is not None and not 0 <= gpus_per_cell <= 1024:
        raise BadInput(
            f"--gpus-per-cell must be a number from 0 to 1024, such as 0.5; not {gpus_per_cell}"
        )
    if _ADDRESS.fullmatch(on):
        return _on_ray(on, max_parallel, gpus_per_cell, device, threads or 1)
    if gpus_per_cell is not None:
        raise BadInput("--gpus-per-cell works only with --on ray, which assigns GPUs")
    if on == "here":
        import torch

        from zoo.compare.executors import ProcessExecutor, device_slots

        here, gpus = choose_device(device), gpus_named(device)
        executor = ProcessExecutor(max_parallel, device_slots(gpus, max_parallel))
        # A process sees only the GPU of its slot.
        there = torch.device("cuda", 0) if gpus else here
        return ExecutorChoice(
            executor, there, here, shared_threads(executor.capacity, threads), other_machines=False
        )
    if on == "inline":
        from zoo.compare.executors import InlineExecutor

        if max_parallel not in (None, 1):
            raise BadInput("--on inline runs one cell at a time; leave --max-parallel out")
        here = choose_device(device)
        return ExecutorChoice(InlineExecutor(), here, here, threads, other_machines=False)
    raise BadInput(f"--on must be here, inline, ray, ray://HOST:PORT or HOST:PORT; not {on!r}")


def _on_ray(
    on: str, max_parallel: int | None, gpus: float | None, device: str, threads: int
) -> ExecutorChoice:
    import torch

    from zoo.base.devices import choose_device
    from zoo.compare.ray_executor import RayExecutor

    if not re.fullmatch(r"auto|cpu|cuda", device):
        raise BadInput(
            f"with Ray, which chooses the GPU, --device must be auto, cpu or cuda; not {device!r}"
        )
    if device == "cpu":
        if gpus:
            raise BadInput("--device cpu uses no GPU; leave --gpus-per-cell out")
        gpus = 0.0
    if device == "cuda" and gpus is None:
        gpus = 1.0
    address = None if on == "ray" else on
    if address is not None:
        _refuse_unreachable(address)
    executor = RayExecutor(address, cores=threads, gpus=gpus, parallel=max_parallel)
    # A task sees only the GPUs that it was given.
    chosen = torch.device("cuda", 0) if executor.gpus else torch.device("cpu")
    return ExecutorChoice(executor, chosen, choose_device("auto"), threads, other_machines=True)


def _refuse_unreachable(address: str) -> None:
    """Raise BadInput if nothing answers at `address`: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rstrip("/").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except ValueError:
        raise BadInput(f"--on must be ray://HOST:PORT; not {address!r}") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInput(f"nothing answers at {address}: {reason}; is Ray running there?") from None
