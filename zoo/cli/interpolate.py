"""`zoo interpolate`: a walk through latent space from one moment of a film to others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import options as opt
from zoo.cli import walking


def interpolate(
    film: walking.FilmOption,
    begin: Annotated[str, typer.Option("--from", help="Time code to begin at, HH:MM:SS.mmm.")],
    end: Annotated[str, typer.Option("--to", help="Time code to end at.")],
    model: walking.ModelArgument = None,
    via: Annotated[
        list[str] | None, typer.Option("--via", help="A time code to pass; may be given again.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Length of the whole walk.")] = 4.0,
    fps: walking.FpsOption = "24",
    path: Annotated[str, typer.Option("--path", help="spherical or linear.")] = "spherical",
    scale: walking.ScaleOption = 1,
    out: walking.OutOption = None,
    run: walking.RunOption = None,
    trained_on: walking.TrainedOnOption = None,
    overwrite: walking.OverwriteOption = False,
    holdout: opt.HoldoutOption = 0.1,
    threads: opt.ThreadsOption = None,
    device: opt.DeviceOption = "auto",
) -> None:
    """Walk through latent space between moments of a film; an MP4, and a strip of it.

    The first and the last picture are those moments as the network draws them, and so is one at
    every --via. A spherical way keeps as far from the middle of the film's latents as frames do.
    """
    import numpy as np
    import torch

    from zoo.cli.output import Console, bar
    from zoo.cli.run_choice import open_run
    from zoo.errors import BadInput
    from zoo.evaluation.watch import samples_of
    from zoo.films.time_code import format_time_code, parse_time_code
    from zoo.latent_walk.paths import KINDS, Space, between, frames_at
    from zoo.latent_walk.write import Video, write_walk
    from zoo.loading import film_latents

    kind = next((each for each in KINDS if each == path), None)
    if kind is None:
        raise BadInput(f"a path is {' or '.join(KINDS)}; not {path!r}")
    words = [begin, *(via or []), end]
    moments = [parse_time_code(word) for word in words]
    count, rate = walking.count_of(seconds, fps)
    walking.check_scale(scale)
    console = Console()

    def place(film: str, model: str, knows: str) -> Path:
        return walking.place_of(out, film, model, "interpolate", overwrite)

    opened = open_run(console, model, film, place, run, trained_on, holdout, threads, device)
    times = opened.film.time_codes
    try:
        frames = frames_at(moments, opened.film.times)
    except ValueError as outside:
        raise BadInput(
            f"{opened.film.name} has no frame at {format_time_code(outside.args[0])}; its frames "
            f"are from {format_time_code(times[0])} to {format_time_code(times[-1])}"
        ) from None
    latents = film_latents(opened.film, opened.eyes)
    places = opened.eyes.model.to_coordinates(latents.restored(slice(None)).flatten(1))
    # So that every stop is a picture.
    legs = len(frames) - 1
    count = legs * max(1, round((count - 1) / legs)) + 1
    # Of a model with a window, the latents that draw these frames.
    stops = samples_of(opened.film, opened.eyes.model).samples_of(np.array(frames))
    way = between(places[torch.from_numpy(stops)], count, Space.of(places), kind)
    video = Video(opened.out, rate, enlarged=scale)
    with bar(console, "drawing", count) as progress:
        write_walk(
            opened.eyes.model,
            opened.eyes.model.from_coordinates(way),
            latents.shape,
            video,
            walking.tags_for(opened, f"from {begin} to {end} through latent space"),
            progress=progress,
        )
    walking.say_written(console, video, count)
