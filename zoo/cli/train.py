"""`zoo train`: one model on one film."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli import options as opt

if TYPE_CHECKING:
    from zoo.films.film import Film
    from zoo.training.run_folder import RunFile, TrainingConfig


def train(
    model: Annotated[str, typer.Argument(help="A model, as `zoo models` lists them.")],
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
            help="Start from the weights of a finished run: its name, or that of its film.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Train again; an earlier training is deleted.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write scalars into the run's tensorboard/.")
    ] = False,
) -> None:
    """Train a model on a film; Ctrl-C saves, and the same command goes on."""
    from contextlib import nullcontext
    from dataclasses import replace

    from rich.markup import escape

    from zoo.base.errors import BadInput
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console
    from zoo.cli.progress import TrainingDisplay, ingest_with_progress
    from zoo.films.catalogue import Catalogue
    from zoo.plugins.model_building import fits_directly
    from zoo.plugins.registry import registry
    from zoo.training.callbacks import (
        call_all,
        ignore_event,
        require_tensorboard,
        tensorboard_callback,
    )
    from zoo.training.distributed import rank
    from zoo.training.run_folder import RunFolder
    from zoo.training.settings import Settings
    from zoo.training.trained_models import ensure_trained

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
        options=opt.read_settings(settings),
    )
    chosen.options_of(architecture)
    if init_from is not None:
        from zoo.training.trained_models import warm_start

        initial_weights = warm_start(init_from, architecture, chosen, workspace)
        chosen = replace(chosen, initial_weights=initial_weights)
        console.print(escape(f"begins with the weights of {initial_weights.run}"), soft_wrap=True)
    chosen.pin_threads()
    entries = Catalogue.open(workspace).choose(film)
    if len(entries) != 1:
        raise BadInput("zoo train takes one film; zoo compare takes several")
    the_film = ingest_with_progress(console, entries[0], chosen.size, workspace, holdout)
    config = chosen.config(architecture, the_film)

    title = escape(f"{model} on {the_film.name}")
    folder = RunFolder.of(workspace, config)
    done = folder.state == "finished"
    if rank() == 0 and not fits_directly(architecture) and (overwrite or not done):
        for line in _plan(config, the_film, preset, chosen.device.type):
            console.print(escape(line), soft_wrap=True, highlight=False)
    writing = tensorboard_callback(folder.tensorboard) if tensorboard else nullcontext(ignore_event)
    with TrainingDisplay(console, title) as display, writing as write:
        folder = ensure_trained(
            workspace,
            config,
            the_film,
            chosen.device,
            callback=call_all(display.watch, write),
            overwrite=overwrite,
            measure_peak=console.is_terminal,
            initial_weights=chosen.initial_weights,
        )
    if done and not overwrite:
        console.print(f"{title} was trained already; --overwrite trains it again")
    if rank() == 0 and (description := folder.read()):
        for line in _outcome(description):
            console.print(escape(line), soft_wrap=True, highlight=False)
    console.print(f"run: {escape(str(folder.path.relative_to(workspace.root)))}", soft_wrap=True)
    console.print(
        f"preview: {escape(str(folder.preview.relative_to(workspace.root)))}"
        + (" (left seen, right held out)" if len(the_film.split.held_out) else ""),
        soft_wrap=True,
    )


def _plan(config: TrainingConfig, film: Film, preset: str, device: str) -> list[str]:
    """What will be done, in lines to print before it begins."""
    from zoo.api.sampling import Sampling
    from zoo.base.numbers import counted
    from zoo.base.presets import Budget
    from zoo.plugins.registry import registry

    budget = Budget.parse(config.budget)
    seen, held_out = len(film.split.seen), len(film.split.held_out)
    frames = Sampling.of(registry().architecture(config.model)).frames_in(config.batch)
    steps = budget.steps(seen, frames)
    amount = f": {counted(steps, 'step')} of {counted(frames, 'frame')}" if steps else ""
    epochs = f", {steps * frames / seen:.3g} epochs" if steps and budget.unit != "epochs" else ""
    lines = [
        f"{config.size}, {config.options.get('latent')} numbers per frame; {budget.in_words}"
        f"{amount}{epochs} of {counted(seen, 'training frame')}",
        f"{counted(held_out, 'frame')} held out"
        if held_out
        else "no frame is held out (--holdout 0): only frames that it is trained on are scored",
    ]
    if device == "cpu" and preset == "film":
        lines.append("no GPU is used: --preset quick trains in minutes on a processor")
    return lines


def _outcome(description: RunFile) -> list[str]:
    """The final scores of a few frames, and those of the mean frame for comparison."""
    from zoo.training.callbacks import PART_LABELS, format_scores

    score = description.score or {}
    mean = score.get("mean_frame")
    beside = f" (the mean frame instead: {format_scores(mean)})" if mean else ""
    lines = [
        f"{PART_LABELS[part]}: {format_scores(score[part])}"
        for part in ("held_out", "seen")
        if part in score
    ]
    if lines:
        lines[0] += beside
        lines[-1] += "; a few frames of each, before quantisation" if lines[1:] else ""
    return lines
