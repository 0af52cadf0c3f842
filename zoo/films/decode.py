"""Decoding a film, file after file, around whatever is damaged, onto one time line."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av.error
from av.video.frame import VideoFrame

from zoo.films.clock import FileClock, FrameClock
from zoo.films.source import Source
from zoo.films.store import Damage, Join
from zoo.films.time_code import format_time_code
from zoo.plain_text import one_line

# A file whose reading fails this often in a row has nothing more to give.
_MOST_FAILURES = 200
# What comes before the beginning that was asked for is sought past, in seconds, if it is longer
# than this; decoding begins a little earlier, for frames that lean on others.
_WORTH_SEEKING, _EARLIER = 30.0, 3.0
# A file whose last frame is over this long, in seconds, before it should be is cut off.
_EARLY_SECONDS = 0.5


@dataclass(frozen=True)
class TimedFrame:
    """A decoded frame, the number of its file, and when it is shown on the film's time line."""

    part: int
    time: float
    frame: VideoFrame


def decoded(source: Source, damage: Damage) -> Iterator[VideoFrame]:
    """Yield every frame of a file that can be decoded, counting what cannot."""
    packets = source.container.demux(source.stream)
    failures = 0
    while failures < _MOST_FAILURES:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            damage.packets += 1
            failures += 1
            # An error ends the iterator; a new one goes on where the file was left.
            packets = source.container.demux(source.stream)
            continue
        try:
            frames = packet.decode()
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            damage.packets += 1
            continue
        for frame in frames:
            assert isinstance(frame, VideoFrame)
            failures = 0
            if frame.is_corrupt:
                damage.frames += 1
            else:
                yield frame
    damage.notes.append(f"{one_line(source.path.name)} cannot be read to its end")


@dataclass
class PartEnd:
    """What was learnt of a file while it was decoded."""

    starts: float
    frames: int
    joins: list[Join] = field(default_factory=list)


class FilmDecoder:
    """Decodes the files of a film in order and keeps those frames that were asked for."""

    def __init__(
        self,
        files: Sequence[Path],
        start: float | None,
        stop: float | None,
        hwaccel: str | None,
        threads: int,
    ) -> None:
        self.files = files
        self.start = start
        self.stop = stop
        self.hwaccel = hwaccel
        self.threads = threads
        self.damage = Damage()
        self.ends: list[PartEnd] = []

    def frames(self) -> Generator[TimedFrame, None, None]:
        """Yield frames from `start` up to and without `stop`, times ascending."""
        starts = 0.0
        for number, path in enumerate(self.files):
            with Source.open(path, self.hwaccel, self.threads) as source:
                clock = FrameClock(source, starts, self.damage)
                end = PartEnd(starts, 0, clock.joins)
                self.ends.append(end)
                for time, frame in clock.timed(self._from_start(source, starts)):
                    if self.stop is not None and time >= self.stop:
                        return
                    if self.start is None or time >= self.start:
                        end.frames += 1
                        yield TimedFrame(number, time, frame)
                if not clock.joins:
                    self._note_early_end(source, clock.end - starts)
                # Where there is sound, the next file begins when this one's sound is over too.
                starts = max(clock.end, FileClock(starts, clock.joins).film_seconds(source.heard))

    def _note_early_end(self, source: Source, end: float) -> None:
        stated = source.sole_duration
        if stated is not None and end < stated - max(_EARLY_SECONDS, float(2 / source.rate)):
            name, of = one_line(source.path.name), format_time_code(stated)
            self.damage.notes.append(f"{name} ends at {format_time_code(end)} of {of}")

    def _from_start(self, source: Source, starts: float) -> Iterator[VideoFrame]:
        """Yield a file's frames, beginning not long before the first that is wanted."""
        ahead = (self.start or 0.0) - starts
        base = source.stream.time_base
        if ahead > _WORTH_SEEKING and base is not None:
            place = round((ahead - _EARLIER + source.clock_start) / base)
            latest = (ahead + source.clock_start) / base
            try:
                source.container.seek(place, stream=source.stream, backward=True)
                frames = decoded(source, self.damage)
                first = next(frames, None)
            except av.error.FFmpegError:
                first = None
            if first is not None and first.pts is not None and first.pts <= latest:
                yield first
                yield from frames
                return
            # Not every file can be sought in; decoding it from the beginning always works.
            source.container.seek(0)
        yield from decoded(source, self.damage)
