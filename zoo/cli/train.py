"""`zoo train`: one model on one film."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli import options as opt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.api.recipe_and_events import Values
    from zoo.base.records import TrainingReceived
    from zoo.cli.console import Console
    from zoo.films.ingested_film import Film
    from zoo.training.run_folder import TrainingConfig


def train(
    model: Annotated[
        str,
        typer.Argument(help="A model, as listed by `zoo models`.", autocompletion=opt.one_model),
    ],
    film: opt.FilmOption,
    settings: opt.SetOption = None,
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
    init_from: Annotated[
        str | None,
        typer.Option(
            "--init-from",
            help="Start from the weights of a finished run, given by its name or its film's.",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Train from scratch; the new run replaces the old one when finished.",
        ),
    ] = False,
    track: Annotated[
        str | None,
        typer.Option(
            "--track",
            help="Trackers to report to, as in a,b: tensorboard, wandb, mlflow or a plugin's.",
        ),
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Short for --track tensorboard.")
    ] = False,
) -> None:
    """Train a model on a film. Ctrl-C saves; run the same command again to resume."""
    from contextlib import nullcontext

    from zoo.base.errors import BadInput
    from zoo.base.interrupts import resumable
    from zoo.base.workspace import Workspace
    from zoo.films.catalogue import Catalogue

    workspace = Workspace.here()
    opt.check_training_words(model, preset, size, budget)
    entries = Catalogue.open(workspace).choose(film)
    if len(entries) != 1:
        raise BadInput("zoo train takes one film; zoo compare takes several")

    # torch takes seconds to import, so errors that can be found without it are raised above.
    from dataclasses import replace

    from rich.markup import escape

    from zoo.api.recipe_and_events import FollowedRun
    from zoo.cli.console import Console
    from zoo.cli.progress import TrainingDisplay, ingest_with_progress
    from zoo.plugins.model_building import fits_directly
    from zoo.plugins.registry import registry
    from zoo.reconstruct.find_run import words_for
    from zoo.training.distributed import rank, world_size
    from zoo.training.engine import call_all, following
    from zoo.training.run_folder import RunFolder
    from zoo.training.runs import Run
    from zoo.training.settings import Settings
    from zoo.training.throughput_and_memory import gpu_memory_used
    from zoo.training.trained_models import ensure_trained, score_references

    console = Console(quiet=rank() > 0)
    named = [*(track or "").split(","), *(["tensorboard"] if tensorboard else [])]
    callbacks = registry().choose_callbacks(named) if track or tensorboard else []
    for each in callbacks:
        each.check()  # before the film is decoded, which may take an hour
    architecture = registry().architecture(model)
    registry().check_installed([architecture])
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
        options=opt.read_settings(settings),
    )
    chosen.check(architecture)
    if init_from is not None:
        from zoo.training.trained_models import warm_start

        initial_weights = warm_start(init_from, architecture, chosen, workspace)
        chosen = replace(chosen, initial_weights=initial_weights)
        console.print(escape(f"begins with the weights of {initial_weights.run}"), soft_wrap=True)
    chosen.pin_threads()
    the_film = ingest_with_progress(console, entries[0], chosen.size, workspace, holdout)
    config = chosen.config(architecture, the_film)

    title = escape(f"{model} on {the_film.name}")
    folder = RunFolder.of(workspace, config)
    done = folder.state == "finished"
    if rank() == 0 and not fits_directly(architecture) and (overwrite or not done):
        for line in _plan(config, the_film, preset, chosen.device.type):
            console.print(escape(line), soft_wrap=True, highlight=False)
    name = folder.path.relative_to(workspace.runs).as_posix()
    run = FollowedRun(name, folder.to_train(overwrite).path, config.model_dump(mode="json"))
    with (
        # An interrupted fit starts again from the beginning.
        nullcontext() if fits_directly(architecture) else resumable(),
        TrainingDisplay(console, title) as display,
        following(callbacks if rank() == 0 else [], run, console.print_line) as follow,
    ):
        folder = ensure_trained(
            workspace,
            config,
            the_film,
            chosen.device,
            callback=call_all(display.on_event, follow),
            overwrite=overwrite,
            measure_peak=console.is_terminal,
            initial_weights=chosen.initial_weights,
        )
    if done and not overwrite:
        console.print(f"{title} was trained already; --overwrite trains it again")
    if rank() > 0 or not (description := folder.read()):
        return
    if description.training:
        console.print_line(_received(description.training))
        # This process has no memory figures of a run that was finished before.
        if (overwrite or not done) and (memory := gpu_memory_used(chosen.device, config.batch)):
            console.print_line(memory)
    if score := description.score:
        # With several processes, the others would not wait while one fits a reference.
        beside = (
            score_references(
                workspace,
                replace(chosen, seed=0),
                architecture,
                the_film,
                metrics=score["seen"].keys(),
                on_fit=lambda name: console.print_line(f"fitting {name}, to compare with"),
            )
            if world_size() == 1
            else {}
        )
        _print_scores(console, model, score, beside)
    words = words_for(workspace, Run(folder, name, "finished", description=description), entries[0])
    console.print_line(f"`zoo evaluate {words}` scores every frame, after quantisation")
    console.print_line(f"run: {name}")
    sides = " (left seen, right held out)" if len(the_film.split.held_out) else ""
    console.print_line(f"picture: {folder.preview.relative_to(workspace.root)}{sides}")


def _plan(config: TrainingConfig, film: Film, preset: str, device: str) -> list[str]:
    """Describe the training in lines that are printed before it begins."""
    from zoo.api.samples_and_latents import Sampling
    from zoo.base.numbers import counted
    from zoo.base.presets_and_budgets import Budget
    from zoo.plugins.registry import registry

    budget = Budget.parse(config.budget)
    seen, held_out = len(film.split.seen), len(film.split.held_out)
    frames = Sampling.of(registry().architecture(config.model)).frames_in(config.batch)
    steps = budget.steps(seen, frames)
    amount = f"{counted(steps, 'step')} of {counted(frames, 'frame')}" if steps else ""
    # A budget in steps already states their number.
    amount = (
        amount if budget.unit == "steps" else ": ".join(filter(None, (budget.in_words, amount)))
    )
    epochs = f", {steps * frames / seen:.3g} epochs" if steps and budget.unit != "epochs" else ""
    lines = [
        f"{config.size}, {config.options.get('latent')} numbers per frame; "
        f"{amount}{epochs} of {counted(seen, 'training frame')}",
        f"{counted(held_out, 'frame')} held out, {film.split.in_gaps:,} in gaps between"
        if held_out
        else "no frame is held out (--holdout 0): only frames that it is trained on are scored",
    ]
    if device == "cpu" and preset == "film":
        lines.append(
            "no GPU is used: --preset laptop is for processors, and --preset quick takes minutes"
        )
    return lines


def _received(training: TrainingReceived) -> str:
    """Say how long the model was trained."""
    from zoo.base.numbers import counted, duration, verb

    epochs = f"{training.epochs:.3g}"
    return (
        f"trained for {duration(training.seconds)}: {counted(training.steps, 'step')}, "
        f"{counted(training.frames, 'frame')}, {epochs} {verb(epochs == '1', 'epoch', 'epochs')}"
    )


def _print_scores(
    console: Console,
    model: str,
    score: Mapping[str, Values],
    beside: Mapping[str, Mapping[str, Values] | str],
) -> None:
    """Print the final scores of a few frames, and below them those of the references."""
    from rich.table import Table
    from rich.text import Text

    from zoo.api.recipe_and_events import PART_LABELS, format_scores

    parts = [part for part in ("held_out", "seen") if part in score]
    table = Table.grid(padding=(0, 2))
    table.add_row("", *(PART_LABELS[part] for part in parts))
    reasons = []
    for name, scores in {model: score, **beside}.items():
        if isinstance(scores, str):
            reasons.append(f"{name}: {scores}")
            continue
        table.add_row(Text(name), *(Text(format_scores(scores[part])) for part in parts))
    console.print(table)
    for reason in reasons:
        console.print_line(reason)
    console.print_line("means over a few frames, the same for every row, before quantisation")
