"""`zoo reconstruct`: a film drawn again from its latents, with its sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import options as opt


def reconstruct(
    film: Annotated[
        str, typer.Option("--film", help="The film to draw: of the catalogue, or a path.")
    ],
    model: Annotated[
        str | None, typer.Argument(help="A model that was trained; --models takes several.")
    ] = None,
    models: Annotated[
        str | None, typer.Option("--models", help="Several models in a grid with names: a,b,c.")
    ] = None,
    beside: Annotated[
        bool, typer.Option("--beside", help="Put the original next to what is drawn.")
    ] = False,
    run: Annotated[
        str | None, typer.Option("--run", help="This run, named as `zoo runs` names it.")
    ] = None,
    trained_on: Annotated[
        str | None,
        typer.Option("--trained-on", help="The film that the network knows, if not the one drawn."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The MP4 to write; else <film>-<model>.mp4.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the MP4 if it is there.")
    ] = False,
    begin: Annotated[
        str | None, typer.Option("--from", help="Begin at this time code, HH:MM:SS.mmm.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="End at this time code.")] = None,
    codec: Annotated[
        str, typer.Option("--codec", help="libx264, libx265 or libsvtav1.")
    ] = "libx264",
    crf: Annotated[
        float | None, typer.Option("--crf", help="Quality: higher is coarser; libx264: 18.")
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option("--encoder-preset", help="The encoder's own preset; libx264: medium."),
    ] = None,
    scale: Annotated[
        str | None, typer.Option("--scale", help="Size of a picture in the video: 1280x720 or 2x.")
    ] = None,
    scale_by: Annotated[
        str,
        typer.Option("--filter", help="nearest, bilinear, bicubic, lanczos, spline or area."),
    ] = "lanczos",
    holdout: opt.HoldoutOption = 0.1,
    threads: opt.ThreadsOption = None,
    device: opt.DeviceOption = "auto",
) -> None:
    """Draw a whole film from its latents, at the source's pace and with its sound.

    The network is that of a finished run on this film; of several, the one trained on most frames,
    of equals the newest. With --trained-on it is one that has only ever seen another film.
    """
    import torch

    from zoo.base.environment import choose_device
    from zoo.base.errors import BadInput
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console, bar, teller
    from zoo.cli.progress import ingest_with_progress
    from zoo.films.time_code import format_time_code, parse_time_code
    from zoo.reconstruct.loading import find_run
    from zoo.reconstruct.opening import Opener, run_size
    from zoo.reconstruct.ordering import check_place, default_name, parse_scale
    from zoo.reconstruct.panels import Original, Panel, Redrawn
    from zoo.reconstruct.reconstruct import reconstruct as draw
    from zoo.reconstruct.reconstruct import stretch_of
    from zoo.training.jobs import whole_number
    from zoo.video.convert import libswscale_name
    from zoo.video.writer import Coding

    coding = Coding(codec, crf, speed)
    libswscale_name(scale_by)
    chosen_device = choose_device(device)
    first, last = (None if text is None else parse_time_code(text) for text in (begin, end))
    if first is not None and last is not None and first >= last:
        raise BadInput(f"--from {begin} is not before --to {end}: no frame lies between")
    console = Console()
    tell = teller(console)
    workspace = Workspace.here()
    names = _models(model, models, run)
    requests = [find_run(workspace, name, film, trained_on=trained_on, run=run) for name in names]
    entry, runs = requests[0].entry, [each.run for each in requests]
    out = out or Path(default_name(entry.name, [each.model for each in runs], requests[0].another))
    check_place(out, entry, overwrite)
    size = max((run_size(each) for each in runs), key=lambda one: one.pixels)
    size = parse_scale(scale, size) if scale else size
    if threads is not None:
        torch.set_num_threads(whole_number(threads, "--threads"))

    opener = Opener(
        workspace,
        chosen_device,
        lambda one, size: ingest_with_progress(console, one, size, workspace, holdout),
        tell,
    )
    # Before anything is watched: the film may be shorter than --from.
    stretch_of(entry, opener.ingest(entry, run_size(runs[0])), first, last)
    panels: list[Panel] = []
    for each, request in zip(runs, requests, strict=True):
        tell(f"run: {each.name}")
        its_film, eyes = opener.open(each, entry, request.trained_on)
        name = f"{each.model}, knows {request.another}" if request.another else each.model
        panels.append(Redrawn(its_film, name, eyes))
    largest = max((panel.film for panel in panels), key=lambda one: one.size.pixels)
    if beside:
        panels.insert(0, Original(largest))
    stretch = stretch_of(entry, largest, first, last)
    joins = sum(len(part.joins) for part in largest.store.manifest.parts)
    # At a leap of the clock sound is joined where pictures are.
    if largest.store.manifest.damage.times > joins:
        tell("times of this film were mended; its sound may be out of step after such a place")
    with bar(console, f"drawing {entry.name}", stretch.stop - stretch.start) as progress:
        written = draw(
            entry,
            panels,
            stretch,
            out,
            size=size,
            scale_by=scale_by,
            coding=coding,
            progress=progress,
        )
    tell(f"sound: {written.sound.told}")
    tell(
        f"wrote {written.path}: {written.size}, {written.frames:,} frames, "
        f"{format_time_code(written.seconds)}"
    )


def _models(model: str | None, models: str | None, run: str | None) -> list[str | None]:
    """The names that were given, each once; one None where a run alone says which it is."""
    from zoo.base.errors import BadInput
    from zoo.plugins.registry import registry

    if model and models:
        raise BadInput("name one model, or several with --models; not both")
    if run and models:
        raise BadInput("--run names one run; with --models every model's own is found")
    if not model and not models:
        if not run:
            raise BadInput("name a model, several with --models, or a run with --run")
        return [None]
    names = [word.strip() for word in (models or model or "").split(",") if word.strip()]
    return [registry().architecture(name).name for name in dict.fromkeys(names)]
