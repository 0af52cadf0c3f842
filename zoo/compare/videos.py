"""The pictures and videos of a comparison: each film, and what every model of one seed made of it.

Each frame is drawn once for both, and the stream of a codec is decoded once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image

from zoo.base.records import FilmInfo, Picture, Record
from zoo.base.text import file_names
from zoo.base.workspace import Workspace, written_aside
from zoo.compare.drawing import ORIGINAL, Pixels, drawn_frames, drawn_records
from zoo.compare.pictures import Chosen
from zoo.films.film import Film
from zoo.reconstruct.video.mp4_writer import EncoderSettings, video_file
from zoo.report.results_folder import FRAMES, VIDEOS

LONGEST = 120.0
"""Seconds of a film that are kept as a video; all of it is scored all the same."""


class Stepping(EncoderSettings):
    """H.264 that a player steps through quickly, forwards and backwards, to the very frame."""

    @property
    def options(self) -> dict[str, str]:
        """Half a second from one key frame to the next, and no frame that waits for a later one."""
        return {**super().options, "g": "12", "bf": "0"}


def with_pictures_and_videos(
    workspace: Workspace,
    films: Sequence[Film],
    described: Sequence[FilmInfo],
    records: Sequence[Record],
    chosen: Mapping[str, Sequence[Chosen]],
    results: Path,
    device: torch.device,
    longest: float = LONGEST,
) -> tuple[list[FilmInfo], list[Record]]:
    """Draw every film's chosen frames, and its first `longest` seconds, into a new results folder.

    The film itself is `original`; beside it lies what the records that `drawn_records` names made
    of the film that they were trained on. Frame n of a video is shown from n / fps on, also where
    the rate of the source varies. `chosen` is by the films' names. With a `longest` of 0 there are
    no videos. Returns the films and the records with paths relative to the results' folder. Raises
    ZooError where a run's latents or stream are gone.
    """
    stems = file_names(film.name for film in films)
    sheets = {
        film.name: _Sheet(film, chosen[film.name], _length(film, longest), stems[film.name])
        for film in films
    }
    shown_films = []
    for film, info in zip(films, described, strict=True):
        sheet = sheets[film.name]
        frames = ((number, film.store.array[number]) for number in sheet.numbers)
        sheet.write(results, ORIGINAL, frames)
        shown_films.append(info.model_copy(update={"video": sheet.video(ORIGINAL)}))
    shown = list(records)
    for place, name in drawn_records(records).items():
        record = records[place]
        sheet = sheets[record.evaluated_on]
        drawn = drawn_frames(workspace, record, sheet.film, sheet.numbers, device)
        sheet.write(results, name, drawn)
        update = {"pictures": sheet.pictures(name), "video": sheet.video(name)}
        shown[place] = record.model_copy(update=update)
    return shown_films, shown


@dataclass(frozen=True)
class _Sheet:
    """What is drawn of one film, by every model alike."""

    film: Film
    chosen: Sequence[Chosen]
    """Frames that become pictures."""
    length: int
    """Frames of the videos, from the first on; 0 where there are none."""
    stem: str
    """What stands for the film in names of files."""

    @property
    def numbers(self) -> list[int]:
        """The frames that have to be drawn, in rising order."""
        return sorted({*range(self.length), *(each.frame for each in self.chosen)})

    def write(self, results: Path, name: str, drawn: Iterable[tuple[int, Pixels]]) -> None:
        """Write the pictures and the video of one model from the frames that it drew."""
        wanted = {each.frame for each in self.chosen}
        path, settings = self.video(name), Stepping(crf=16)
        with ExitStack() as stack:
            rate = Fraction(self.film.fps)
            video = path and stack.enter_context(
                video_file(results / path, self.film.size, rate, settings=settings)
            )
            for number, pixels in drawn:
                if video and number < self.length:
                    video.write(pixels)
                if number in wanted:
                    with written_aside(results / self._picture(name, number)) as aside:
                        Image.fromarray(np.ascontiguousarray(pixels)).save(aside, format="PNG")

    def video(self, name: str) -> str | None:
        """Where the video of a model lies; None where there are none."""
        return str(PurePosixPath(VIDEOS, self.stem, f"{name}.mp4")) if self.length else None

    def pictures(self, name: str) -> list[Picture]:
        """The pictures of a model, in the order in which they were chosen."""
        return [
            Picture(
                frame=each.frame,
                time_code=self.film.time_code(each.frame),
                part=each.part,
                kind=each.kind,
                original=self._picture(ORIGINAL, each.frame),
                reconstruction=self._picture(name, each.frame),
            )
            for each in self.chosen
        ]

    def _picture(self, name: str, frame: int) -> str:
        return str(PurePosixPath(FRAMES, self.stem, name, f"{frame:06d}.png"))


def _length(film: Film, longest: float) -> int:
    return max(1, min(len(film), round(longest * film.fps))) if longest > 0 else 0
