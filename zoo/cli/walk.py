"""`zoo walk`: a slow drift through the latents of a film."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import options as opt
from zoo.cli import walking


def walk(
    film: walking.FilmOption,
    model: walking.ModelArgument = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Length of the walk.")] = 20.0,
    pace: Annotated[
        float, typer.Option("--pace", help="Seconds in which the drift comes to something else.")
    ] = 5.0,
    fps: walking.FpsOption = "24",
    seed: opt.SeedOption = 0,
    scale: walking.ScaleOption = 1,
    out: walking.OutOption = None,
    run: walking.RunOption = None,
    trained_on: walking.TrainedOnOption = None,
    overwrite: walking.OverwriteOption = False,
    holdout: opt.HoldoutOption = 0.1,
    threads: opt.ThreadsOption = None,
    device: opt.DeviceOption = "auto",
) -> None:
    """Drift through the space that a film's latents span, and back to the start: it can be looped.

    Every moment is drawn from the normal distribution with the mean and covariance of the film's
    latents, within their range. Works with every model, whether or not it has a prior.
    """
    from zoo.cli.output import Console, bar
    from zoo.cli.run_choice import open_run
    from zoo.errors import BadInput
    from zoo.latent_walk.paths import drift
    from zoo.latent_walk.write import Video, write_walk
    from zoo.loading import film_latents

    count, rate = walking.count_of(seconds, fps)
    if not 0 < pace <= walking.MOST_SECONDS:
        raise BadInput(f"--pace is more than 0 seconds; not {pace:g}")
    walking.check_scale(scale)
    console = Console()

    def place(film: str, model: str, knows: str) -> Path:
        return walking.place_of(out, film, model, "walk", overwrite)

    opened = open_run(console, model, film, place, run, trained_on, holdout, threads, device)
    latents = film_latents(opened.film, opened.eyes)
    # The fastest harmonic has two pictures a turn at least.
    turns = min(max(1, round(seconds / pace)), count // 2)
    places = opened.eyes.model.to_coordinates(latents.restored(slice(None)).flatten(1))
    way = drift(places, count, turns, seed)
    video = Video(opened.out, rate, enlarged=scale)
    with bar(console, "drawing", count) as progress:
        write_walk(
            opened.eyes.model,
            opened.eyes.model.from_coordinates(way),
            latents.shape,
            video,
            walking.tags_for(opened, "a walk through latent space"),
            progress=progress,
        )
    walking.say_written(console, video, count)
