"""Decode a film, file after file, onto one time line; damaged parts are skipped and counted."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av.error
from av.video.frame import VideoFrame

from zoo.base.text import one_line
from zoo.base.time_code import format_time_code
from zoo.films.frame_store import Damage, Join
from zoo.films.geometry import ContainerGeometry
from zoo.films.source_files import different_sizes
from zoo.films.timestamp_repair import FileClock, FrameClock, dated_packets
from zoo.films.video_file import VideoFile

# Reading a file ends after this many failures in a row.
_MOST_FAILURES = 200
# What comes before the start is skipped by seeking if it is longer than this, in seconds; decoding
# begins a little earlier, for frames that depend on others.
_WORTH_SEEKING, _EARLIER = 30.0, 3.0
# A file whose last frame ends this long, in seconds, before the stated end is truncated.
_EARLY_SECONDS = 0.5


@dataclass(frozen=True)
class TimedFrame:
    """A decoded frame, the number of its file, and its time on the film's time line."""

    part: int
    time: float
    frame: VideoFrame


def decode_frames(source: VideoFile, damage: Damage, sought: bool = False) -> Iterator[VideoFrame]:
    """Yield every frame of a file that can be decoded, as it is shown; count those that cannot.

    A file that begins between two key frames yields nothing before the second, which is noted
    unless decoding began there by seeking (`sought`).
    """
    packets = dated_packets(source)
    geometry = ContainerGeometry(source)
    leading: int | None = None if sought else 0
    failures = 0
    picture: tuple[str, tuple[int, int]] | None = None
    while failures < _MOST_FAILURES:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            damage.packets += 1
            failures += 1
            # An error ends the iterator; a new one goes on where the file was left.
            packets = dated_packets(source)
            continue
        if leading is not None and packet.size:
            if not packet.is_keyframe:
                leading += 1
            else:
                if leading:
                    what = "1 frame" if leading == 1 else f"{leading:,} frames"
                    name = one_line(source.path.name)
                    damage.notes.append(f"{name}: {what} before its first key frame are lost")
                leading = None
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
            # Some codecs refresh the picture gradually and have no key frames.
            leading = None
            if frame.is_corrupt:
                damage.frames += 1
                continue
            if source.pictures:
                name, size = source.pictures.files[frame.pts or 0].name, (frame.width, frame.height)
                picture = picture or (name, size)
                if size != picture[1]:
                    raise different_sizes(*picture, name, size)
            yield geometry.apply(frame)
    damage.notes.append(f"{one_line(source.path.name)} cannot be read to its end")


@dataclass
class DecodedPart:
    """What decoding found out about one file."""

    starts: float
    frames: int
    joins: list[Join] = field(default_factory=list)


class _PartTracker:
    """Finds out which file of a recording that was cut into several a frame comes from."""

    def __init__(
        self,
        source: VideoFile,
        clock: FrameClock,
        starts: float,
        rest: Sequence[Path],
        parts: list[DecodedPart],
    ) -> None:
        self._source = source
        self._clock = clock
        self._parts = parts
        self._joins = 0
        # On the clock of the first of them, in seconds.
        self._begins = [0.0]
        for path in rest:
            with VideoFile.open(path, threads=1) as part:
                self._begins.append(part.clock_start - source.clock_start)
        self._part = 0
        parts.append(DecodedPart(starts, 0))

    def register(self, frame: VideoFrame, time: float) -> None:
        """Register the next frame, which may be the first of the next file."""
        self._note_joins()
        base = frame.time_base
        if self._part + 1 == len(self._begins) or frame.pts is None or base is None:
            return
        begins = self._begins[self._part + 1]
        own = float(frame.pts * base) - self._source.clock_start
        if own >= begins > self._begins[self._part]:
            self._part += 1
            self._parts.append(DecodedPart(time - own + begins, 0))

    def finish(self) -> None:
        """Register the end: files to which no frame could be attributed have none."""
        self._note_joins()
        for _ in self._begins[self._part + 1 :]:
            self._parts.append(DecodedPart(self._clock.end, 0))

    def _note_joins(self) -> None:
        begins = self._begins[self._part]
        for join in self._clock.joins[self._joins :]:
            self._parts[-1].joins.append(
                Join(
                    before=join.before - begins,
                    after=join.after - begins,
                    shift=join.shift + begins,
                )
            )
        self._joins = len(self._clock.joins)


@dataclass
class FilmDecoder:
    """Decodes the files of a film in order, from `start` to `stop`."""

    files: Sequence[Path]
    start: float | None
    stop: float | None
    hwaccel: str | None
    threads: int
    image_rate: Fraction | None = None
    damage: Damage = field(default_factory=Damage)
    parts: list[DecodedPart] = field(default_factory=list)

    def frames(self) -> Generator[TimedFrame, None, None]:
        """Yield the frames in `[start, stop)`, times ascending."""
        starts, number = 0.0, 0
        while number < len(self.files):
            path, rest = self.files[number], self._continuing(number)
            with VideoFile.open(path, self.hwaccel, self.threads, rest, self.image_rate) as source:
                clock = FrameClock(source, starts, self.damage)
                parts = _PartTracker(source, clock, starts, rest, self.parts)
                for time, frame in clock.timed(self._from_start(source, starts)):
                    if self.stop is not None and time >= self.stop:
                        return
                    parts.register(frame, time)
                    if self.start is None or time >= self.start:
                        self.parts[-1].frames += 1
                        yield TimedFrame(len(self.parts) - 1, time, frame)
                parts.finish()
                if not clock.joins:
                    self._note_early_end(source, clock.end - starts)
                # If there is sound, the next file begins when this one's sound has ended as well.
                starts = max(
                    clock.end, FileClock(starts, clock.joins).film_seconds(source.audio_seconds)
                )
            number += 1 + len(rest)

    def _continuing(self, number: int) -> list[Path]:
        found: list[Path] = []
        for path, following in pairwise(self.files[number:]):
            with VideoFile.open(path, threads=1) as source:
                if not source.is_continued_by(following):
                    break
            found.append(following)
        return found

    def _note_early_end(self, source: VideoFile, end: float) -> None:
        stated = source.video_duration
        if stated is not None and end < stated - max(_EARLY_SECONDS, float(2 / source.rate)):
            name, of = one_line(source.path.name), format_time_code(stated)
            self.damage.notes.append(f"{name} ends at {format_time_code(end)} of {of}")

    def _from_start(self, source: VideoFile, starts: float) -> Iterator[VideoFrame]:
        """Yield a file's frames, from shortly before the first one needed."""
        ahead = (self.start or 0.0) - starts
        base = source.stream.time_base
        if ahead > _WORTH_SEEKING and base is not None:
            place = round((ahead - _EARLIER + source.clock_start) / base)
            latest = (ahead + source.clock_start) / base
            try:
                source.container.seek(place, stream=source.stream, backward=True)
                frames = decode_frames(source, self.damage, sought=True)
                first = next(frames, None)
            except av.error.FFmpegError:
                first = None
            if first is not None and first.pts is not None and first.pts <= latest:
                yield first
                yield from frames
                return
            # Seeking does not work in every file; decoding it from the beginning always does.
            source.container.seek(0)
        yield from decode_frames(source, self.damage)
