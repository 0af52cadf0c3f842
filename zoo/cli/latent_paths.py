"""`zoo interpolate`, `zoo sample` and `zoo walk`: videos of paths through latent space."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.base.errors import BadInput
from zoo.cli import options as opt

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.api.autoencoder import Autoencoder
    from zoo.api.film_entry import FilmEntry
    from zoo.cli.console import Console
    from zoo.reconstruct.find_run import FoundRun
    from zoo.reconstruct.latent_paths import Kind, PathVideo
    from zoo.training.run_folder import TrainingConfig

OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="The MP4, with a PNG strip next to it; default: <film>-<model>-<command>.mp4.",
    ),
]
FpsOption = Annotated[
    str, typer.Option("--fps", help="Frames per second, such as 24 or 24000/1001.")
]
ScaleOption = Annotated[
    int, typer.Option("--scale", help="Enlarge the video by this whole-number factor.")
]

KINDS: tuple[Kind, ...] = ("spherical", "linear")
MOST_SECONDS = 24 * 3600.0


def check_output(path: Path, overwrite: bool, films: list[FilmEntry]) -> Path:
    """Return `path`; raises BadInput if the MP4 or its strip may not be written."""
    from zoo.cli.console import check_free

    check_free(path, ".mp4", overwrite, films)
    check_free(path.with_suffix(".png"), ".png", overwrite, films)
    return path


def default_name(found: FoundRun, verb: str) -> Path:
    """The MP4 that a verb writes without `-o`."""
    return Path(f"{found.entry.name}-{found.run.model}-{verb}.mp4")


def pictures_in(seconds: float, fps: str) -> tuple[int, Fraction]:
    """The number of pictures in this many seconds, and the frame rate; raises BadInput."""
    from zoo.api.film_entry import parse_fps

    rate = parse_fps(fps)
    if not 0 < seconds <= MOST_SECONDS:
        raise BadInput(f"--seconds must be more than 0 and at most a day; not {seconds:g}")
    return max(2, round(seconds * rate)), rate


def check_scale(scale: int) -> None:
    """Raise BadInput unless a factor is from 1 to 16."""
    if not 1 <= scale <= 16:
        raise BadInput(f"--scale must be a whole number from 1 to 16; not {scale}")


def write_path(
    console: Console,
    model: Autoencoder,
    latents: Tensor,
    video: PathVideo,
    config: TrainingConfig,
    film: FilmEntry | None,
    what: str,
    **sheet: Any,
) -> None:
    """Decode latents (N, ...) to a video with a progress bar, and print the paths of the files.

    `film` is None if the film itself is not available; `what` is the end of the video's title.
    """
    import importlib.metadata

    from zoo.base.time_code import format_time_code
    from zoo.cli.progress import frames_bar
    from zoo.reconstruct.latent_paths import write_path_video

    title = film.shown_title if film else config.film
    licence = (film and film.licence) or "not stated"
    version = importlib.metadata.version("film-zoo")
    tags = {
        "title": f"{title}: {what}",
        "comment": (
            f"Decoded by {config.model}, trained on {config.film}. "
            f"Film: {title}. Licence: {licence}. Made by film-zoo {version}."
        ),
    }
    count, shape = len(latents), tuple(latents.shape[1:])
    with frames_bar(console, "decoding", count) as bar:
        write_path_video(
            model, latents.flatten(1), shape, video, tags, progress=bar.update, **sheet
        )
    seconds = float(count * video.hold / video.rate)
    console.print_line(f"wrote {video.path}: {format_time_code(seconds)}, and {video.strip}")


def _write_points(
    console: Console,
    opened: opt.Opened,
    points: Tensor,
    shape: tuple[int, ...],
    rate: Fraction,
    scale: int,
    what: str,
) -> None:
    """Write a path of coordinates (N, M) by `write_path`; `shape` is the shape of one latent."""
    from zoo.reconstruct.latent_paths import PathVideo

    trained = opened.trained
    latents = trained.model.from_coordinates(points).unflatten(1, shape)
    video = PathVideo(opened.out, rate, enlarge=scale)
    write_path(console, trained.model, latents, video, trained.config, opened.entry, what)


def interpolate(
    begin: Annotated[str, typer.Option("--from", help="Time code to start at, HH:MM:SS.mmm.")],
    end: Annotated[str, typer.Option("--to", help="Time code to end at.")],
    model: opt.ModelArgument = None,
    film: opt.FilmOfRunOption = None,
    via: Annotated[
        list[str] | None,
        typer.Option("--via", metavar="TIME", help="A time code to pass through; may be repeated."),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", help="Length of the whole path in seconds.")
    ] = 4.0,
    fps: FpsOption = "24",
    path: Annotated[
        str, typer.Option("--path", help="Kind of path: spherical or linear.")
    ] = "spherical",
    scale: ScaleOption = 1,
    out: OutOption = None,
    run: opt.RunOption = None,
    trained_on: opt.TrainedOnOption = None,
    overwrite: opt.OverwriteOption = False,
    holdout: opt.HoldoutOption = 0.1,
    threads: opt.ThreadsOption = None,
    device: opt.DeviceOption = "auto",
) -> None:
    """Interpolate in latent space between moments of a film; write an MP4 and a strip of it.

    The first and last pictures, and one at each --via, are reconstructions of those moments. A
    spherical path stays as far from the mean of the film's latents as the frames themselves.
    """
    from zoo.base.time_code import format_time_code, in_file_name, parse_time_code
    from zoo.cli.console import Console

    kind = next((each for each in KINDS if each == path), None)
    if kind is None:
        raise BadInput(f"a path must be {' or '.join(KINDS)}; not {path!r}")
    words = [begin, *(via or []), end]
    moments = [parse_time_code(word) for word in words]
    count, rate = pictures_in(seconds, fps)
    check_scale(scale)
    console = Console()

    def output_path(found: FoundRun) -> Path:
        stops = "-to-".join(map(in_file_name, moments))
        path = out or default_name(found, f"interpolate-from-{stops}")
        return check_output(path, overwrite, found.films)

    opened = opt.open_run(
        console, model, film, output_path, run, trained_on, holdout, threads, device
    )
    import numpy as np
    import torch

    from zoo.evaluation.inference import samples_of
    from zoo.reconstruct.latent_paths import LatentStatistics, frames_at, path_through

    times = opened.film.frame_seconds
    try:
        frames = frames_at(moments, opened.film.times)
    except ValueError as outside:
        raise BadInput(
            f"{opened.film.name} has no frame at {format_time_code(outside.args[0])}; its frames "
            f"are from {format_time_code(times[0])} to {format_time_code(times[-1])}"
        ) from None
    latents = opened.trained.film_latents(opened.film)
    points = opened.trained.model.to_coordinates(latents.dequantised(slice(None)).flatten(1))
    # Adjust the number of pictures so that every stop is one of them.
    legs = len(frames) - 1
    count = legs * max(1, round((count - 1) / legs)) + 1
    # For a model with a window: the latents from which these frames are decoded.
    stops = samples_of(opened.film, opened.trained.model).samples_of(np.array(frames))
    path_points = path_through(
        points[torch.from_numpy(stops)], count, LatentStatistics.of(points), kind
    )
    what = f"from {begin} to {end} through latent space"
    _write_points(console, opened, path_points, latents.shape, rate, scale, what)


MOST_SAMPLES = 10_000


def sample(
    film: opt.FilmOfRunOption = None,
    model: opt.ModelArgument = None,
    count: Annotated[int, typer.Option("--count", help="Number of samples.")] = 16,
    seed: opt.SeedOption = 0,
    hold: Annotated[
        float, typer.Option("--hold", help="Seconds to show each sample in the MP4.")
    ] = 0.5,
    scale: ScaleOption = 1,
    out: OutOption = None,
    run: opt.RunOption = None,
    trained_on: opt.TrainedOnOption = None,
    overwrite: opt.OverwriteOption = False,
    threads: opt.ThreadsOption = None,
    device: opt.DeviceOption = "auto",
) -> None:
    """Sample latents from a model's prior and decode them into an MP4 and a sheet.

    Does not open the film, which need not be on this machine if you name a run. Variational models
    have a prior; for other models, `zoo walk` drifts through a film's latents.
    """
    import math

    from zoo.base.devices import choose_device
    from zoo.base.workspace import Workspace
    from zoo.cli.console import Console
    from zoo.reconstruct.find_run import find_model
    from zoo.reconstruct.latent_paths import PathVideo
    from zoo.reconstruct.loading import prior_sample
    from zoo.training.trained_models import load_model

    if not 1 <= count <= MOST_SAMPLES:
        raise BadInput(f"--count must be from 1 to {MOST_SAMPLES:,}; not {count}")
    if not 0.04 <= hold <= 60:
        raise BadInput(f"--hold must be from 0.04 to 60 seconds; not {hold:g}")
    check_scale(scale)
    chosen = choose_device(device)
    found, entry = find_model(Workspace.here(), model, film, trained_on=trained_on, run=run)
    assert found.description is not None, "a finished run has a description"
    config = found.description.config
    name = entry.name if entry else found.film
    path = out or Path(f"{name}-{found.model}-sample.mp4")
    check_output(path, overwrite, [entry] if entry else [])
    opt.set_threads(threads)
    console = Console()
    console.print_line(f"run: {found.name}")
    own = entry if entry and entry.name == config.film else None
    network = load_model(found.folder, config, chosen, own)
    latents = prior_sample(network, count, seed).to(chosen)
    video = PathVideo(path, Fraction(25), hold=round(hold * 25), enlarge=scale)
    sheet = dict.fromkeys(range(min(count, 64)), "")
    what, columns = f"{count} samples of the prior", math.ceil(math.sqrt(len(sheet)))
    write_path(
        console, network, latents, video, config, entry, what, captions=sheet, columns=columns
    )


def walk(
    film: opt.FilmOfRunOption = None,
    model: opt.ModelArgument = None,
    seconds: Annotated[
        float, typer.Option("--seconds", help="Length of the walk in seconds.")
    ] = 20.0,
    period: Annotated[
        float, typer.Option("--period", help="Period of the fastest motion in seconds.")
    ] = 5.0,
    fps: FpsOption = "24",
    seed: opt.SeedOption = 0,
    scale: ScaleOption = 1,
    out: OutOption = None,
    run: opt.RunOption = None,
    trained_on: opt.TrainedOnOption = None,
    overwrite: opt.OverwriteOption = False,
    holdout: opt.HoldoutOption = 0.1,
    threads: opt.ThreadsOption = None,
    device: opt.DeviceOption = "auto",
) -> None:
    """Write a looping video that drifts through the space spanned by a film's latents.

    Every moment is sampled from a normal distribution with the mean and covariance of the film's
    latents, clamped to their range. Works with every model, with or without a prior.
    """
    from zoo.cli.console import Console

    count, rate = pictures_in(seconds, fps)
    if not 0 < period <= MOST_SECONDS:
        raise BadInput(f"--period must be more than 0 seconds; not {period:g}")
    check_scale(scale)
    console = Console()

    def output_path(found: FoundRun) -> Path:
        return check_output(out or default_name(found, "walk"), overwrite, found.films)

    opened = opt.open_run(
        console, model, film, output_path, run, trained_on, holdout, threads, device
    )
    from zoo.reconstruct.latent_paths import closed_walk

    latents = opened.trained.film_latents(opened.film)
    # The fastest harmonic has at least two pictures per turn.
    turns = min(max(1, round(seconds / period)), count // 2)
    points = opened.trained.model.to_coordinates(latents.dequantised(slice(None)).flatten(1))
    path_points = closed_walk(points, count, turns, seed)
    what = "a walk through latent space"
    _write_points(console, opened, path_points, latents.shape, rate, scale, what)
