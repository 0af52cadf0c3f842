"""What `zoo interpolate`, `zoo sample` and `zoo walk` have in common."""

from __future__ import annotations

import importlib.metadata
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.errors import BadInput

if TYPE_CHECKING:
    from zoo.cli.output import Console
    from zoo.cli.run_choice import Opened
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
    from zoo.cli.output import check_free

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
    from zoo.cli.output import teller
    from zoo.films.time_code import format_time_code

    seconds = float(pictures * video.held / video.rate)
    teller(console)(f"wrote {video.path}: {format_time_code(seconds)}, and {video.strip}")
