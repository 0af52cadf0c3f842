"""What a user may ask of the video: its name, its place, its size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from zoo.base.atomic_files import check_writable
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.films.catalogue import FilmEntry


def default_name(film: str, models: Sequence[str], trained_on: str | None) -> str:
    """`<film>-<model>.mp4`, with the film that the network knows where it is another."""
    other = [trained_on] if trained_on and trained_on != film else []
    return "-".join([film, *models, *other]) + ".mp4"


def check_place(path: Path, entry: FilmEntry, overwrite: bool) -> None:
    """Raise BadInput unless a video may be written here; a source file is never written over."""
    if path.suffix.lower() != ".mp4":
        raise BadInput(f"a film is written as MP4: a name that ends in .mp4; not {path.name!r}")
    if path.exists():
        _check_replaceable(path, entry, overwrite)
    check_writable(path.parent, path)


def _check_replaceable(path: Path, entry: FilmEntry, overwrite: bool) -> None:
    if any(source.exists() and path.samefile(source) for source in entry.files):
        raise BadInput(f"{path} is a file of {entry.name} itself; choose another name with -o")
    if not path.is_file():
        raise BadInput(f"{path} is no file that could be replaced")
    if not overwrite:
        raise BadInput(f"{path} is there already; --overwrite replaces it, -o names another")


def parse_scale(text: str, size: FrameSize) -> FrameSize:
    """Read `1280x720`, or `2x` as so many times `size`, rounded to even sides.

    Raises BadInput on anything else and on a size out of range.
    """
    times = re.fullmatch(r"(\d{1,2}(?:\.\d{1,3})?)[x×]", text.strip())
    if times:
        width, height = (2 * round(side * float(times[1]) / 2) for side in size)
        text = f"{width}x{height}"
    try:
        return FrameSize.parse(text)
    except BadInput as error:
        raise BadInput(f"--scale takes 2x, or a size: {error}") from None
