"""`zoo reconstruct`: a film reconstructed from its latents, with its sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import options as opt


def reconstruct(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|MODEL",
            help="A model that was trained, or a run as `zoo runs` names it; --models takes "
            "several.",
        ),
    ] = None,
    film: opt.FilmOfRunOption = None,
    models: Annotated[
        str | None, typer.Option("--models", help="Several models in a grid with names: a,b,c.")
    ] = None,
    beside: Annotated[
        bool, typer.Option("--beside", help="Put the original next to the reconstruction.")
    ] = False,
    run: opt.RunOption = None,
    trained_on: opt.TrainedOnOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The MP4 to write, or a silent WebP; else <film>-<model>.mp4 or -beside.mp4.",
        ),
    ] = None,
    overwrite: opt.OverwriteOption = False,
    begin: Annotated[
        str | None, typer.Option("--from", help="Begin at this time code, HH:MM:SS.mmm.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="End at this time code.")] = None,
    codec: opt.CodecOption = "libx264",
    crf: opt.CrfOption = None,
    speed: opt.EncoderPresetOption = None,
    scale: opt.ScaleToOption = None,
    scale_by: opt.FilterOption = "lanczos",
    holdout: opt.HoldoutOption = 0.1,
    threads: opt.ThreadsOption = None,
    device: opt.DeviceOption = "auto",
) -> None:
    """Reconstruct a whole film from its latents, with the time codes and the sound of the source.

    The model is that of a finished run on this film; of several, the one trained on most frames,
    then the newest. With --trained-on it is one that has only ever seen another film.
    """
    from zoo.base.devices import choose_device
    from zoo.base.errors import BadInput
    from zoo.base.time_code import parse_time_code
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console
    from zoo.cli.progress import frames_bar, ingest_with_progress
    from zoo.reconstruct.find_run import find_run
    from zoo.reconstruct.model_loader import ModelLoader, run_size
    from zoo.reconstruct.reconstruct_film import (
        Original,
        Panel,
        Reconstruction,
        check_output,
        default_name,
        film_range,
    )
    from zoo.reconstruct.reconstruct_film import reconstruct as write
    from zoo.reconstruct.video.frame_conversion import libswscale_name, parse_scale
    from zoo.reconstruct.video.mp4_writer import EncoderSettings
    from zoo.reconstruct.video.webp_writer import WEBP

    settings = EncoderSettings(codec, crf, speed)
    if out and out.suffix.lower() == WEBP and settings != EncoderSettings():
        raise BadInput(
            "--codec, --crf and --encoder-preset are for an MP4; a WebP has none of them"
        )
    libswscale_name(scale_by)
    chosen_device = choose_device(device)
    first, last = (None if text is None else parse_time_code(text) for text in (begin, end))
    if first is not None and last is not None and first >= last:
        raise BadInput(f"--from {begin} is not before --to {end}: no frame lies between")
    console = Console()
    workspace = Workspace.here()
    names = _models(model, models, run)
    requests = [find_run(workspace, name, film, trained_on=trained_on, run=run) for name in names]
    entry, runs = requests[0].entry, [each.run for each in requests]
    models_of_runs = [each.model for each in runs]
    other = requests[0].other_film
    out = out or Path(
        default_name(entry.name, models_of_runs, other, beside=beside, begin=first, end=last)
    )
    check_output(out, entry, overwrite)
    size = max((run_size(each) for each in runs), key=lambda one: one.pixels)
    size = parse_scale(scale, size) if scale else size
    opt.set_threads(threads)

    loader = ModelLoader(
        workspace,
        chosen_device,
        lambda one, size: ingest_with_progress(console, one, size, workspace, holdout),
        console.print_line,
    )
    # Before anything is evaluated: the film may be shorter than --from.
    film_range(entry, loader.ingest(entry, run_size(runs[0])), first, last)
    panels: list[Panel] = []
    for each, request in zip(runs, requests, strict=True):
        console.print_line(f"run: {each.name}")
        its_film, trained = loader.load(each, entry, request.trained_on)
        name = f"{each.model}, knows {request.other_film}" if request.other_film else each.model
        panels.append(Reconstruction(its_film, name, trained))
    largest = max((panel.film for panel in panels), key=lambda one: one.size.pixels)
    if beside:
        panels.insert(0, Original(largest))
    span = film_range(entry, largest, first, last)
    joins = sum(len(part.joins) for part in largest.store.manifest.parts)
    # At a leap of the clock sound is joined where pictures are.
    if largest.store.manifest.damage.times > joins:
        console.print_line(
            "time codes of this film were repaired; sound may be out of step after a repair"
        )
    with frames_bar(console, f"reconstructing {entry.name}", span.stop - span.start) as bar:
        written = write(
            entry,
            panels,
            span,
            out,
            size=size,
            scale_by=scale_by,
            settings=settings,
            progress=bar.update,
        )
    opt.print_written(console, written)


def _models(model: str | None, models: str | None, run: str | None) -> list[str | None]:
    """The names that were given, each once; one None where a run alone says which it is."""
    from zoo.base.errors import BadInput

    if model and models:
        raise BadInput("name one model, or several with --models; not both")
    if run and models:
        raise BadInput("--run names one run; with --models every model's own is found")
    if not model and not models:
        if not run:
            raise BadInput("name a model, several with --models, or a run with --run")
        return [None]
    names = [word.strip() for word in (models or model or "").split(",") if word.strip()]
    return list(dict.fromkeys(names))
