"""The films of a comparison as MP4s: each original, and what every model of one seed made of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path, PurePosixPath

import torch

from zoo.compare.drawing import ORIGINAL, Pixels, drawn_frames, drawn_records
from zoo.films.film import Film
from zoo.plain_text import file_names
from zoo.records import FilmInfo, Record
from zoo.report.folder import VIDEOS
from zoo.video.writer import Coding, video_file
from zoo.workspace import Workspace

LONGEST = 120.0
"""Seconds of a film that are kept as a video; all of it is scored all the same."""


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
    """Draw every film's first `longest` seconds into `videos/<film>/` of a new results folder.

    `original.mp4` is the film; beside it lies what the records that `drawn_records` names made of
    the film that they were trained on. Frame n of a video is shown from n / fps on, also where the
    rate of the source varies. Returns the films and the records with paths relative to the results'
    folder. With a `longest` of 0 nothing is drawn. Raises ZooError where a run's latents or stream
    are gone.
    """
    if longest <= 0:
        return list(described), list(records)
    by_name = {film.name: film for film in films}
    stems = file_names(by_name)

    def place(film: Film, name: str) -> PurePosixPath:
        return PurePosixPath(VIDEOS, stems[film.name], f"{name}.mp4")

    shown_films = []
    for film, info in zip(films, described, strict=True):
        path = place(film, ORIGINAL)
        frames = (film.store.array[number] for number in range(_length(film, longest)))
        _write(results / path, film, frames)
        shown_films.append(info.model_copy(update={"video": path.as_posix()}))
    shown = list(records)
    for index, name in drawn_records(records).items():
        record = records[index]
        film = by_name[record.watched]
        path, count = place(film, name), _length(film, longest)
        drawn = drawn_frames(workspace, record, film, range(count), device)
        # No frame more is asked for: a codec would go on decoding to the end of the film.
        _write(results / path, film, (pixels for _, pixels in islice(drawn, count)))
        shown[index] = record.model_copy(update={"video": path.as_posix()})
    return shown_films, shown


def _length(film: Film, longest: float) -> int:
    return max(1, min(len(film), round(longest * film.fps)))


def _write(path: Path, film: Film, frames: Iterable[Pixels]) -> None:
    with video_file(path, film.size, Fraction(film.fps), coding=Stepping(crf=16)) as video:
        for pixels in frames:
            video.write(pixels)
