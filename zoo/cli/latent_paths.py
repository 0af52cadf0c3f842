"""`zoo interpolate`, `zoo sample` and `zoo walk`: videos of paths through latent space."""

from __future__ import annotations

import importlib.metadata
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.base.errors import BadInput
from zoo.cli import options as opt

if TYPE_CHECKING:
    from zoo.cli.console import Console
    from zoo.cli.options import Opened
    from zoo.latent_walk.write import Video

FilmOption = Annotated[str, typer.Option("--film", help="The film: of the catalogue, or a path.")]
ModelArgument = Annotated[
    str | None, typer.Argument(help="A model that was trained; --run names a run instead.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", help="The MP4; its strip is a PNG of the same name.")
]
RunOption = Annotated[
    str | None, typer.Option("--run", help="This run, named as `zoo runs` names it.")
]
TrainedOnOption = Annotated[
    str | None,
    typer.Option("--trained-on", help="The film that the network knows, if it is another."),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace the MP4 and the PNG if they are there.")
]
FpsOption = Annotated[str, typer.Option("--fps", help="Pictures a second: 24 or 24000/1001.")]
ScaleOption = Annotated[
    int, typer.Option("--scale", help="Enlarge the video by this whole factor.")
]

MOST_SECONDS = 24 * 3600.0


def place_of(out: Path | None, film: str, model: str, verb: str, overwrite: bool) -> Path:
    """Where to write; raises BadInput if the MP4 or its strip may not be written."""
    from zoo.cli.console import check_free

    path = check_free(out or Path(f"{film}-{model}-{verb}.mp4"), ".mp4", overwrite)
    check_free(path.with_suffix(".png"), ".png", overwrite)
    return path


def count_of(seconds: float, fps: str) -> tuple[int, Fraction]:
    """Pictures in so many seconds, and how many there are a second; raises BadInput."""
    from zoo.films.entry import parse_fps

    rate = parse_fps(fps)
    if not 0 < seconds <= MOST_SECONDS:
        raise BadInput(f"--seconds is more than 0 and at most a day; not {seconds:g}")
    return max(2, round(seconds * rate)), rate


def check_scale(scale: int) -> int:
    """Return a factor from 1 to 16; raises BadInput on another."""
    if not 1 <= scale <= 16:
        raise BadInput(f"--scale is a whole factor from 1 to 16; not {scale}")
    return scale


def tags_for(opened: Opened, what: str) -> dict[str, str]:
    """What the video says of itself."""
    config = opened.eyes.config
    licence = opened.film.licence or "not stated"
    version = importlib.metadata.version("film-zoo")
    return {
        "title": f"{opened.entry.shown_title}: {what}",
        "comment": (
            f"Drawn by {config.model}, trained on {config.film}. Film: {opened.entry.shown_title}. "
            f"Licence: {licence}. Made by film-zoo {version}."
        ),
    }


def say_written(console: Console, video: Video, pictures: int) -> None:
    """Name what was written."""
    from zoo.cli.console import teller
    from zoo.films.time_code import format_time_code

    seconds = float(pictures * video.held / video.rate)
    teller(console)(f"wrote {video.path}: {format_time_code(seconds)}, and {video.strip}")


def interpolate(
    film: FilmOption,
    begin: Annotated[str, typer.Option("--from", help="Time code to begin at, HH:MM:SS.mmm.")],
    end: Annotated[str, typer.Option("--to", help="Time code to end at.")],
    model: ModelArgument = None,
    via: Annotated[
        list[str] | None, typer.Option("--via", help="A time code to pass; may be given again.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Length of the whole walk.")] = 4.0,
    fps: FpsOption = "24",
    path: Annotated[str, typer.Option("--path", help="spherical or linear.")] = "spherical",
    scale: ScaleOption = 1,
    out: OutOption = None,
    run: RunOption = None,
    trained_on: TrainedOnOption = None,
    overwrite: OverwriteOption = False,
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

    from zoo.base.errors import BadInput
    from zoo.cli.console import Console, bar
    from zoo.evaluation.watch import samples_of
    from zoo.films.time_code import format_time_code, parse_time_code
    from zoo.latent_walk.paths import KINDS, Space, between, frames_at
    from zoo.latent_walk.write import Video, write_walk
    from zoo.reconstruct.loading import film_latents

    kind = next((each for each in KINDS if each == path), None)
    if kind is None:
        raise BadInput(f"a path is {' or '.join(KINDS)}; not {path!r}")
    words = [begin, *(via or []), end]
    moments = [parse_time_code(word) for word in words]
    count, rate = count_of(seconds, fps)
    check_scale(scale)
    console = Console()

    def place(film: str, model: str, knows: str) -> Path:
        return place_of(out, film, model, "interpolate", overwrite)

    opened = opt.open_run(console, model, film, place, run, trained_on, holdout, threads, device)
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
            tags_for(opened, f"from {begin} to {end} through latent space"),
            progress=progress,
        )
    say_written(console, video, count)


MOST = 10_000


def sample(
    film: FilmOption,
    model: ModelArgument = None,
    count: Annotated[int, typer.Option("--count", help="How many are drawn.")] = 16,
    seed: opt.SeedOption = 0,
    hold: Annotated[
        float, typer.Option("--hold", help="Seconds for which each is shown in the MP4.")
    ] = 0.5,
    scale: ScaleOption = 1,
    out: OutOption = None,
    run: RunOption = None,
    trained_on: TrainedOnOption = None,
    overwrite: OverwriteOption = False,
    holdout: opt.HoldoutOption = 0.1,
    threads: opt.ThreadsOption = None,
    device: opt.DeviceOption = "auto",
) -> None:
    """Draw latents from a model's prior and show what it makes of them: an MP4, and a sheet.

    Variational models have a prior; for others `zoo walk` drifts through a film's latents.
    """
    import math

    from zoo.base.errors import BadInput
    from zoo.cli.console import Console, bar
    from zoo.latent_walk.write import Video, write_walk
    from zoo.reconstruct.loading import prior_sample

    if not 1 <= count <= MOST:
        raise BadInput(f"--count is from 1 to {MOST:,}; not {count}")
    if not 0.04 <= hold <= 60:
        raise BadInput(f"--hold is from 0.04 to 60 seconds; not {hold:g}")
    check_scale(scale)
    console = Console()

    def place(film: str, model: str, knows: str) -> Path:
        return place_of(out, film, model, "sample", overwrite)

    opened = opt.open_run(console, model, film, place, run, trained_on, holdout, threads, device)
    latents = prior_sample(opened.eyes.model, count, seed).to(opened.eyes.device)
    video = Video(opened.out, Fraction(25), held=round(hold * 25), enlarged=scale)
    sheet = dict.fromkeys(range(min(count, 64)), "")
    with bar(console, "drawing", count) as progress:
        write_walk(
            opened.eyes.model,
            latents.flatten(1),
            tuple(latents.shape[1:]),
            video,
            tags_for(opened, f"{count} draws from the prior"),
            captions=sheet,
            columns=math.ceil(math.sqrt(len(sheet))),
            progress=progress,
        )
    say_written(console, video, count)


def walk(
    film: FilmOption,
    model: ModelArgument = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Length of the walk.")] = 20.0,
    pace: Annotated[
        float, typer.Option("--pace", help="Seconds in which the drift comes to something else.")
    ] = 5.0,
    fps: FpsOption = "24",
    seed: opt.SeedOption = 0,
    scale: ScaleOption = 1,
    out: OutOption = None,
    run: RunOption = None,
    trained_on: TrainedOnOption = None,
    overwrite: OverwriteOption = False,
    holdout: opt.HoldoutOption = 0.1,
    threads: opt.ThreadsOption = None,
    device: opt.DeviceOption = "auto",
) -> None:
    """Drift through the space that a film's latents span, and back to the start: it can be looped.

    Every moment is drawn from the normal distribution with the mean and covariance of the film's
    latents, within their range. Works with every model, whether or not it has a prior.
    """
    from zoo.base.errors import BadInput
    from zoo.cli.console import Console, bar
    from zoo.latent_walk.paths import drift
    from zoo.latent_walk.write import Video, write_walk
    from zoo.reconstruct.loading import film_latents

    count, rate = count_of(seconds, fps)
    if not 0 < pace <= MOST_SECONDS:
        raise BadInput(f"--pace is more than 0 seconds; not {pace:g}")
    check_scale(scale)
    console = Console()

    def place(film: str, model: str, knows: str) -> Path:
        return place_of(out, film, model, "walk", overwrite)

    opened = opt.open_run(console, model, film, place, run, trained_on, holdout, threads, device)
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
            tags_for(opened, "a walk through latent space"),
            progress=progress,
        )
    say_written(console, video, count)
