"""The video of a film beside its reconstructions, with the film's sound, and the film's sheet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from zoo.api.film_entry import FilmEntry
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.records import Record
from zoo.evaluation.inference import Pixels
from zoo.films.contact_sheet import contact_sheet
from zoo.films.ingested_film import Film
from zoo.reconstruct.reconstruct_film import FilmRange, FrameGrid, film_sound
from zoo.reconstruct.source_sound import NO_SOUND
from zoo.reconstruct.video_writers import EncoderSettings, video_file
from zoo.reconstruct.write_sound import Sound
from zoo.report.frame_strip import save_webp

SECONDS = 20.0
"""The length of the longest side-by-side video."""
OPENING = 0.1
"""The share at the beginning that videos of longer films skip: black, logos and titles."""
MOST_BESIDE = 2
"""The most reconstructions beside the film."""
BITS_PER_SECOND, PIXELS = 440_000, 3 * 256 * 144
"""The most bits per second of a video whose panels have at most so many pixels together.

With two channels of sound at 48 kbit/s each, 20 seconds take less than 1.5 MB.
"""
MOST_SHOTS = 48
"""The most shots on a contact sheet: if a film has more, evenly spaced ones are shown."""
_ONE_WAY = "threads=1:sync-lookahead=0:no-mbtree=1"
_LONGEST_SIDE = 8000
"""Pixels: a WebP has 16,383 at most."""


@dataclass(frozen=True)
class LimitedCoding(EncoderSettings):
    """H.264 that keeps to a bit rate.

    The same frames always give the same file. Under a limit, x264's choices otherwise depend on the
    timing of its threads, even more with B-frames, and its macroblock tree's on old memory.
    """

    most_bits: int | None = None
    """Most bits per second, over any second and so over the whole; None for no limit."""

    @property
    def options(self) -> dict[str, str]:
        """Options for FFmpeg: one thread, no B-frames and no macroblock tree."""
        most = str(self.most_bits)
        limit = {"maxrate": most, "bufsize": most} if self.most_bits else {}
        return {**super().options, "bf": "0", "x264-params": _ONE_WAY, **limit}


def most_bits(panel: FrameSize, panels: int) -> int:
    """Return the most bits per second of the pictures at any rate; small ones keep quality."""
    return round(BITS_PER_SECOND * max(1.0, panels * panel.pixels / PIXELS))


def records_beside(records: Sequence[Record], shown: Mapping[int, str], film: str) -> list[int]:
    """Return the indices in `records` of the `shown` records to show beside a film.

    These are the first records of the first two models; references and codecs are shown only if
    there are no models. Records are in the order in which models were named.
    """
    own = [index for index in sorted(shown) if records[index].evaluated_on == film]
    chosen = [index for index in own if records[index].role == "model"] or own
    first: dict[str, int] = {}
    for index in chosen:
        first.setdefault(records[index].model, index)
    return list(first.values())[:MOST_BESIDE]


def video_start(film: Film, frames: int) -> int:
    """Return the first frame of a video of `frames` frames: 0 if the film has no more.

    Otherwise it is the beginning of the first shot after the `OPENING`, or the end of the opening
    if a shot is long, but early enough for `frames` frames. It depends on the film alone, so that
    videos of several comparisons fit together.
    """
    opening = round(OPENING * len(film))
    after = (shot.start for shot in film.shots if opening <= shot.start < 2 * opening)
    return max(0, min(next(after, opening), len(film) - frames))


def frames_within(film: Film, seconds: float, start: int = 0) -> int:
    """Return how many frames, from `start` on, begin within so many seconds; at least one.

    They are counted by their own times, because the rate may vary.
    """
    times = film.frame_seconds
    return max(1, int(np.searchsorted(times, times[start] + seconds - 1e-6)) - start)


def frames_beside(film: Film) -> range:
    """The frames of the video of a film beside its reconstructions: `SECONDS` of them, or all."""
    start = video_start(film, frames_within(film, SECONDS))
    return range(start, start + frames_within(film, SECONDS, start))


@contextmanager
def side_by_side_file(
    path: Path, entry: FilmEntry, film: Film, names: Sequence[str], frames: range
) -> Iterator[tuple[Callable[[Sequence[Pixels]], None], Sound]]:
    """Write some frames of a film and of its reconstructions as one MP4, in a row.

    Yields a function that takes each frame of all panels, in order, and the film's sound, which is
    encoded for a small file and ends with the last frame. Each frame is shown at its own time, so
    that sound and picture agree where the rate varies; the last one ends by `SECONDS`. A film
    whose sound cannot be read has none.
    """
    times = film.frame_seconds
    begins = float(times[frames.start])
    ends = min(float(film.times.at(frames.stop)), begins + SECONDS)
    grid = FrameGrid(names, film.size, columns=len(names))
    coding = LimitedCoding(most_bits=most_bits(film.size, len(names)))
    with ExitStack() as stack:
        try:
            span = FilmRange(frames.start, frames.stop, begins, ends)
            sound = stack.enter_context(film_sound(entry, film, span, path, small=True))
        except BadInput as error:
            sound = Sound(None, "", f"left out: {error}")
        video = stack.enter_context(
            video_file(
                path, grid.size, film.fps, settings=coding, sound=sound.track, ends=ends - begins
            )
        )

        def write(panels: Sequence[Pixels]) -> None:
            video.write(grid(panels), float(times[frames[video.frames]]) - begins)

        yield write, sound


def why_silent(sound: Sound) -> str | None:
    """Why the sound of a film is missing; None if it is not, or if the film has none."""
    if sound.track or sound.summary == NO_SOUND:
        return None
    return sound.summary.removeprefix("left out: ")


def write_sheet(film: Film, path: Path) -> None:
    """Write a film's contact sheet, a WebP small enough for a page."""
    sheet = contact_sheet(film, MOST_SHOTS)
    sheet.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
    save_webp(sheet, path)
