"""The films of a comparison as MP4s: each original, and what every model of one seed made of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path

import torch

from zoo.compare.drawing import Pixels, drawn_frames
from zoo.films.film import Film
from zoo.records import FilmInfo, Record
from zoo.video.writer import Coding, video_file
from zoo.workspace import Workspace

VIDEOS = Path("videos")
LONGEST = 120.0
"""Seconds of a film that are kept as a video; all of it is scored all the same."""
ORIGINAL = "original"


class Stepping(Coding):
    """H.264 that a player steps through quickly, forwards and backwards, to the very frame."""

    @property
    def options(self) -> dict[str, str]:
        """Half a second from one key frame to the next, and no frame that waits for a later one."""
        return {**super().options, "g": "12", "bf": "0"}


def with_videos(
    workspace: Workspace,
    films: Sequence[Film],
    described: Sequence[FilmInfo],
    records: Sequence[Record],
    results: Path,
    device: torch.device,
    longest: float = LONGEST,
) -> tuple[list[FilmInfo], list[Record]]:
    """Draw every film's first `longest` seconds into `videos/<film>/` of the results' folder.

    `original.mp4` is the film; beside it lies what every good record of the first seed made of the
    film that it was trained on. Frame n of a video is shown from n / fps on, also where the rate of
    the source varies. Returns the films and the records with paths relative to the results' folder.
    With a `longest` of 0 nothing is drawn, and what an earlier comparison drew is removed. Raises
    ZooError where a run's latents or stream are gone.
    """
    shutil.rmtree(results / VIDEOS, ignore_errors=True)
    if longest <= 0:
        return list(described), list(records)
    names: dict[str, set[str]] = {}
    shown_films = []
    for film, info in zip(films, described, strict=True):
        path = _path(film, ORIGINAL)
        frames = (film.store.array[number] for number in range(_length(film, longest)))
        _write(results / path, film, frames)
        names[film.name] = {ORIGINAL}
        shown_films.append(info.model_copy(update={"video": path.as_posix()}))
    by_name = {film.name: film for film in films}
    first_seed = min((record.seed for record in records), default=0)
    shown = []
    for record in records:
        own = record.watched == record.trained_on
        if own and record.status == "ok" and record.seed == first_seed:
            film = by_name[record.watched]
            path = _path(film, _new_name(record.model, names[film.name]))
            count = _length(film, longest)
            drawn = drawn_frames(workspace, record, film, range(count), device)
            # No frame more is asked for: a codec would go on decoding to the end of the film.
            _write(results / path, film, (pixels for _, pixels in islice(drawn, count)))
            record = record.model_copy(update={"video": path.as_posix()})
        shown.append(record)
    return shown_films, shown


def _length(film: Film, longest: float) -> int:
    return max(1, min(len(film), round(longest * film.fps)))


def _path(film: Film, name: str) -> Path:
    return VIDEOS / film.name / f"{name}.mp4"


def _new_name(model: str, taken: set[str]) -> str:
    """A file's name that no other record of the film has, also where letters have no case."""
    name, count = model, 1
    while name.lower() in taken:
        count += 1
        name = f"{model}-{count}"
    taken.add(name.lower())
    return name


def _write(path: Path, film: Film, frames: Iterable[Pixels]) -> None:
    with video_file(path, film.size, Fraction(film.fps), coding=Stepping(crf=16)) as video:
        for pixels in frames:
            video.write(pixels)
