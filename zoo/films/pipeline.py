"""The ingest pipeline: decode a film, convert it to RGB, score frames, and resample in time.

Ingest writes the frames to disk and matching hashes them; both read them through `FramePipeline`.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from zoo.api.film_entry import FilmEntry
from zoo.base.errors import BadInput
from zoo.base.prefetch import prefetch
from zoo.films.decode import FilmDecoder, TimedFrame
from zoo.films.frame_converter import FrameConverter
from zoo.films.frame_store import IngestSettings
from zoo.films.probe import FileProbe, probe_files
from zoo.films.shots_and_split import SceneDetector, SceneScore

# Decoded frames handed over together. Three times as many are in memory, few enough for 4K.
_GROUP = 4
_PROGRESS_SECONDS = 0.2
# A pass looks for bars at least every so many seconds of film, and at least so often per file.
_BARS_SECONDS, _LEAST_BARS_SEARCHES = 2.0, 20

Pixels = npt.NDArray[np.uint8]
_T = TypeVar("_T")


@dataclass(frozen=True)
class IngestProgress:
    """The progress of reading a film.

    `expected` is an estimate from what the files state, 0 if they state nothing. `message`, if
    any, is a line to be shown and kept.
    """

    film: str
    frames: int
    expected: int
    message: str | None = None


Progress = Callable[[IngestProgress], None]


class ProgressReporter:
    """Reports progress to a callback, no more often than a person can see."""

    def __init__(self, film: str, callback: Progress | None) -> None:
        self._film = film
        self._callback = callback
        self._reported_at = 0.0
        self._state = (0, 0)

    def message(self, text: str) -> None:
        """Report a line to be shown and kept."""
        if self._callback:
            self._callback(IngestProgress(self._film, *self._state, text))

    def frames(self, done: int, expected: int, last: bool = False) -> None:
        """Report how many frames are done."""
        now = time.monotonic()
        if self._callback and (last or now - self._reported_at > _PROGRESS_SECONDS):
            self._reported_at, self._state = now, (done, expected)
            self._callback(IngestProgress(self._film, done, expected))


def probe_film(
    entry: FilmEntry, settings: IngestSettings, reporter: ProgressReporter
) -> list[FileProbe]:
    """Probe every file of a film and report the notes on them. Raises as `probe_files`."""
    probes = probe_files(entry, settings)
    for probe in probes:
        for note in probe.part.notes:
            reporter.message(f"{probe.part.file}: {note}")
    return probes


def repeat_if_bars_change(
    probes: Sequence[FileProbe], reporter: ProgressReporter, read: Callable[[], _T]
) -> _T:
    """Call `read`, which passes over the whole film, and return its result.

    If that pass finds other bars than the probes did, the probes are corrected and `read` is called
    once more.
    """
    result = read()
    wrong = [probe for probe in probes if probe.bars_are_wrong()]
    if not wrong:
        return result
    reporter.message(f"{wrong[0].part.file}: the whole film has different bars; starting again")
    for probe in probes:
        if probe.searched:
            probe.part.bars = probe.finder.bars()
    return read()


@dataclass(frozen=True)
class FinishedFrame:
    """A frame as it is stored: its time in seconds, its scene score, its pixels (H, W, 3)."""

    time: float
    scored: SceneScore
    pixels: Pixels


@dataclass
class FramePipeline:
    """One pass over all files of a film, which yields its finished frames in order.

    After the pass, `times`, `scores` and `black` have an entry for each frame, and `decoder` has
    the damage and the end of each file.
    """

    entry: FilmEntry
    settings: IngestSettings
    probes: Sequence[FileProbe]
    reporter: ProgressReporter
    hwaccel: str | None = None
    threads: int = 0

    def __post_init__(self) -> None:
        settings = self.settings
        self.decoder = FilmDecoder(
            self.entry.files,
            settings.start,
            settings.stop,
            self.hwaccel,
            self.threads,
            settings.fps,
        )
        self.resampler = FrameRateResampler(settings.fps) if settings.fps else None
        self.times: list[float] = []
        self.scores: list[float] = []
        self.black: list[bool] = []

    def frames(self) -> Generator[Pixels, None, None]:
        """Yield every frame, uint8 (H, W, 3); a view that need not be contiguous.

        Decoding runs in a thread of its own, which ends when the generator is closed. Raises
        BadInput at the end if there were fewer than two frames.
        """
        expected = sum(probe.expected for probe in self.probes)
        decoded = self.decoder.frames()
        with closing(decoded), closing(prefetch(decoded, _GROUP)) as ahead:
            for frame in self._resampled(self._converted(ahead)):
                self.times.append(frame.time)
                self.scores.append(frame.scored.score)
                self.black.append(frame.scored.black)
                yield frame.pixels
                self.reporter.frames(len(self.times), expected)
        self.reporter.frames(len(self.times), expected, last=True)
        if len(self.times) < 2:
            raise BadInput(_too_short(self.entry, self.settings, len(self.times)))

    def _converted(self, ahead: Iterator[TimedFrame]) -> Iterator[FinishedFrame]:
        detector: SceneDetector | None = None
        for part, timed in itertools.groupby(ahead, key=lambda one: one.part):
            probe = self.probes[part]
            converter = probe.converter(self.settings)
            times: list[float] = []
            for number, frame in self._through(converter, probe, timed, times):
                detector = detector or SceneDetector(*self.settings.size)
                pixels = _pixels(frame)
                yield FinishedFrame(times[number], detector.score(frame, pixels), pixels)
            probe.part.interlaced = converter.interlaced

    @staticmethod
    def _through(
        converter: FrameConverter,
        probe: FileProbe,
        timed: Iterator[TimedFrame],
        times: list[float],
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Yield one file's frames with their numbers; note their times and look for bars."""
        searched = -math.inf
        interval = min(_BARS_SECONDS, (probe.part.duration or math.inf) / _LEAST_BARS_SEARCHES)
        for one in timed:
            times.append(one.time)
            if probe.searched and one.time - searched >= interval:
                searched = one.time
                probe.finder.add(one.frame)
            yield from converter.convert(one.frame)
        yield from converter.flush()

    def _resampled(self, frames: Iterator[FinishedFrame]) -> Iterator[FinishedFrame]:
        if self.resampler is None:
            yield from frames
            return
        for frame in frames:
            yield from self.resampler.add(frame)
        yield from self.resampler.flush()


def _pixels(frame: VideoFrame) -> Pixels:
    """Return the samples of an rgb24 frame as a view without a copy: uint8 (H, W, 3)."""
    plane = frame.planes[0]
    lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return lines[: frame.height, : 3 * frame.width].reshape(frame.height, frame.width, 3)


def _too_short(entry: FilmEntry, settings: IngestSettings, frames: int) -> str:
    if settings.start is not None or settings.stop is not None:
        return f"{entry.name} has fewer than two frames between its from and to"
    if frames:
        return f"{entry.files[0].name} has a single picture; a film needs at least two frames"
    return f"no frame of {entry.files[0].name} can be decoded"


class FrameRateResampler:
    """Brings frames to an even rate of `fps`, and counts what that drops and repeats.

    Each frame goes to the nearest point of an even grid that starts with the first frame. Of
    several frames for one point the nearest is kept; a point without a frame repeats the one
    before.
    """

    # At twice the rate, frames lie exactly halfway between two points; times rounded to the
    # millisecond must not tip them to either side at random.
    _HALF = 0.5 - 1 / 17

    def __init__(self, fps: Fraction) -> None:
        self.fps = float(fps)
        self.dropped = 0
        self.repeated = 0
        self._first: float | None = None
        self._held: tuple[int, FinishedFrame] | None = None
        self._carried = 0.0

    def add(self, frame: FinishedFrame) -> Iterator[FinishedFrame]:
        """Take a frame; yield the frames for points to which no later frame can be nearest."""
        if self._first is None:
            self._first = frame.time
        position = (frame.time - self._first) * self.fps
        point = math.floor(position + self._HALF)
        if self._held is None:
            self._held = (point, frame)
            return
        held_point, held = self._held
        if point <= held_point:
            self.dropped += 1
            # A cut at a dropped frame moves to the next frame that is kept.
            distance = abs((held.time - self._first) * self.fps - held_point)
            if abs(position - held_point) < distance:
                self._held = (held_point, _with_score(frame, held.scored.score))
            else:
                self._carried = max(self._carried, frame.scored.score)
            return
        yield from self._repeated(held_point, point, held)
        self._held = (point, _with_score(frame, self._carried))
        self._carried = 0.0

    def flush(self) -> Iterator[FinishedFrame]:
        """Yield the last frame."""
        if self._held is not None:
            point, held = self._held
            yield from self._repeated(point, point + 1, held)
            self._held = None

    def _repeated(self, start: int, stop: int, frame: FinishedFrame) -> Iterator[FinishedFrame]:
        assert self._first is not None
        self.repeated += stop - start - 1
        for point in range(start, stop):
            scored = frame.scored if point == start else SceneScore(0.0, frame.scored.black)
            yield FinishedFrame(self._first + point / self.fps, scored, frame.pixels)


def _with_score(frame: FinishedFrame, score: float) -> FinishedFrame:
    scored = SceneScore(max(score, frame.scored.score), frame.scored.black)
    return FinishedFrame(frame.time, scored, frame.pixels)
