"""A whole film drawn again, into a video with the source's sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import av.error
import numpy as np

from zoo.base.atomic_files import temporary_folder
from zoo.base.errors import BadInput, CannotWrite, reason
from zoo.base.frame_size import FrameSize
from zoo.films.catalogue import FilmEntry
from zoo.films.film import Film
from zoo.films.time_code import format_time_code
from zoo.reconstruct.panels import Panel
from zoo.reconstruct.saying import tags_of
from zoo.reconstruct.streaming import pictures
from zoo.video.convert import Pixels, Scaler
from zoo.video.layout import Grid
from zoo.video.origin import source_chapters, source_tags
from zoo.video.sound import FilePart, Sound, write_sound
from zoo.video.writer import Coding, video_file


@dataclass(frozen=True)
class Stretch:
    """Frames `[start, stop)` of a film, and the time they take on its time line, in seconds."""

    start: int
    stop: int
    begins: float
    """What becomes 0 in the new file."""
    ends: float | None
    """None where the sound goes on to its own end."""


def stretch_of(
    entry: FilmEntry, film: Film, begin: float | None = None, end: float | None = None
) -> Stretch:
    """The frames of a film from `begin` up to and without `end`, in seconds of its time line.

    Of a whole film, what comes before the first picture is kept: where the source begins with
    sound alone, so does the new file. Raises BadInput if no frame lies between the two.
    """
    times = film.time_codes
    start = 0 if begin is None else int(np.searchsorted(times, begin - 1e-6))
    stop = len(film) if end is None else int(np.searchsorted(times, end - 1e-6))
    if start >= stop:
        raise BadInput(
            f"no frame of {film.name} lies between --from and --to; its frames are from "
            f"{format_time_code(times[0])} to {format_time_code(times[-1])}"
        )
    cut_before = start > 0 or entry.start is not None
    cut_after = stop < len(film) or entry.stop is not None
    return Stretch(
        start,
        stop,
        begins=float(times[start]) if cut_before else min(0.0, float(times[0])),
        ends=_end(film, stop, end) if cut_after else None,
    )


def _end(film: Film, stop: int, end: float | None = None) -> float:
    """When the frame before `stop` is over: when the next one is shown, or at `end`."""
    shown = float(film.times.at(stop))
    return shown if end is None else min(shown, end)


@dataclass(frozen=True)
class Written:
    """What became of it."""

    path: Path
    size: FrameSize
    frames: int
    seconds: float
    sound: Sound


@contextmanager
def film_sound(entry: FilmEntry, film: Film, stretch: Stretch, path: Path) -> Iterator[Sound]:
    """The sound of a stretch of a film, in a temporary file beside `path`.

    Raises BadInput if a source file cannot be opened, and CannotWrite where the disk is full.
    """
    starts = [part.starts for part in film.store.manifest.parts]
    ends = [*starts[1:], film.times.ends]
    joins = [part.joins for part in film.store.manifest.parts]
    parts = [FilePart(*one) for one in zip(entry.files, starts, ends, joins, strict=True)]
    with temporary_folder(path) as folder:
        try:
            sound = write_sound(parts, folder / "sound.mp4", stretch.begins, stretch.ends)
        except av.error.FFmpegError as error:
            why = reason(error.errno, error.strerror)
            raise CannotWrite(f"the sound of {path} cannot be written: {why}") from error
        yield sound


def reconstruct(
    entry: FilmEntry,
    panels: Sequence[Panel],
    stretch: Stretch,
    path: Path,
    *,
    size: FrameSize | None = None,
    scale_by: str = "lanczos",
    coding: Coding | None = None,
    progress: Callable[[int], None] | None = None,
) -> Written:
    """Write the panels' pictures of a film as an MP4, with the source's sound in step.

    Several panels stand in a grid under their names. `size` is that of a panel in the video, None
    for that of the first one's film; pictures of another are scaled, after they were rounded to 8
    bits. `progress` is called with the number of frames written so far. The sound is written first,
    beside `path`, and read back. Raises ZooError where the file cannot be written, and what the
    panels raise; nothing is left then.
    """
    film = panels[0].film
    shown = size or film.size
    scalers = [Scaler(panel.film.size, shown, scale_by) for panel in panels]
    grid = Grid([panel.name for panel in panels], shown) if len(panels) > 1 else None
    files, starts = entry.files, [part.starts for part in film.store.manifest.parts]
    times = film.time_codes
    until = stretch.ends or _end(film, stretch.stop)

    def composed(of: Sequence[Pixels]) -> Pixels:
        scaled = [scale(picture) for scale, picture in zip(scalers, of, strict=True)]
        return grid(scaled) if grid else scaled[0]

    with (
        film_sound(entry, film, stretch, path) as sound,
        video_file(
            path,
            grid.size if grid else shown,
            film.fps,
            coding=coding,
            tags=tags_of(film, entry, panels, source_tags(files[0])),
            chapters=source_chapters(files, starts, stretch.begins, until),
            sound=sound.track,
            ends=until - stretch.begins,
        ) as video,
        closing(pictures(panels, stretch.start, stretch.stop)) as drawn,
    ):
        for number, of in enumerate(drawn, stretch.start):
            video.write(composed(of), float(times[number]) - stretch.begins)
            if progress:
                progress(video.frames)
    return Written(path, video.size, video.frames, video.seconds, sound)
