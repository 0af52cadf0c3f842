"""`zoo sample`: pictures of what a model thinks likely, drawn from its prior."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import options as opt
from zoo.cli import walking

MOST = 10_000


def sample(
    film: walking.FilmOption,
    model: walking.ModelArgument = None,
    count: Annotated[int, typer.Option("--count", help="How many are drawn.")] = 16,
    seed: opt.SeedOption = 0,
    hold: Annotated[
        float, typer.Option("--hold", help="Seconds for which each is shown in the MP4.")
    ] = 0.5,
    scale: walking.ScaleOption = 1,
    out: walking.OutOption = None,
    run: walking.RunOption = None,
    trained_on: walking.TrainedOnOption = None,
    overwrite: walking.OverwriteOption = False,
    holdout: opt.HoldoutOption = 0.1,
    threads: opt.ThreadsOption = None,
    device: opt.DeviceOption = "auto",
) -> None:
    """Draw latents from a model's prior and show what it makes of them: an MP4, and a sheet.

    Variational models have a prior; for others `zoo walk` drifts through a film's latents.
    """
    import math

    from zoo.cli.output import Console, bar
    from zoo.cli.run_choice import open_run
    from zoo.errors import BadInput
    from zoo.latent_walk.write import Video, write_walk
    from zoo.loading import prior_sample

    if not 1 <= count <= MOST:
        raise BadInput(f"--count is from 1 to {MOST:,}; not {count}")
    if not 0.04 <= hold <= 60:
        raise BadInput(f"--hold is from 0.04 to 60 seconds; not {hold:g}")
    walking.check_scale(scale)
    console = Console()

    def place(film: str, model: str, knows: str) -> Path:
        return walking.place_of(out, film, model, "sample", overwrite)

    opened = open_run(console, model, film, place, run, trained_on, holdout, threads, device)
    latents = prior_sample(opened.eyes.model, count, seed).to(opened.eyes.device)
    video = Video(opened.out, Fraction(25), held=round(hold * 25), enlarged=scale)
    sheet = dict.fromkeys(range(min(count, 64)), "")
    with bar(console, "drawing", count) as progress:
        write_walk(
            opened.eyes.model,
            latents.flatten(1),
            tuple(latents.shape[1:]),
            video,
            walking.tags_for(opened, f"{count} draws from the prior"),
            captions=sheet,
            columns=math.ceil(math.sqrt(len(sheet))),
            progress=progress,
        )
    walking.say_written(console, video, count)
