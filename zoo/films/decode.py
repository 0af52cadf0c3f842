"""Decode a film, file after file, onto one time line.

Missing, disordered and jumping timestamps are repaired; damaged parts are skipped and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, TypeVar

import av.error
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from zoo.base.safe_text import one_line
from zoo.base.time_code import format_time_code
from zoo.films.frame_store import Damage, Join, film_seconds
from zoo.films.geometry import ContainerGeometry
from zoo.films.source_files import different_sizes
from zoo.films.video_file import VideoFile

P = TypeVar("P", bound="Packet[Any]")

_JUMP_SECONDS, _STEP_BACK = 60.0, 1.0
"""A time that jumps further than this ahead, or further back, may be a break in the clock."""
_SHORTEST_STEP = 1 / 50_000
"""Seconds between two frames, over one tick of the videos that are written
(`zoo.base.time_code.TICKS`); less is rounding of the same time."""
_MOST_GAP = 30 * 3600.0
"""Longest gap without a frame, in seconds, that is believed if no duration is stated."""
_PROBED = 128
# Reading a file ends after this many failures in a row.
_MOST_FAILURES = 200
_DATED_IN_PART = {"mpeg", "mpegts"}
"""Formats in which a packet of several frames states the time of the first frame only."""


class FrameClock:
    """Gives each frame of one file its time in seconds; repairs missing and disordered times.

    Containers with one clock (Matroska, MP4, AVI) keep their gaps, however long. In formats whose
    clock may jump (transport and program streams) a jump of over a minute is removed.
    """

    def __init__(self, source: VideoFile, starts: float, damage: Damage) -> None:
        self._base = source.stream.time_base
        self._zero = source.clock_start
        self._starts = starts
        self._shift = starts
        self._period = float(1 / source.rate)
        self._damage = damage
        self._jumps = source.clock_may_jump
        self._dated_in_part = bool(_formats(source) & _DATED_IN_PART)
        stated = source.container_seconds
        self._longest = _MOST_GAP if stated is None else stated
        self._last: float | None = None
        self._stamped = False
        self._unstamped = 0
        self._delay = decoding_delay(source)
        self._late = 0 if self._delay is not None else _guessed_delay(source)
        self.joins: list[Join] = []
        """Jumps that were removed so far."""

    @property
    def end(self) -> float:
        """The time at which the last frame ends."""
        return self._starts if self._last is None else self._last + self._period

    def timed(self, frames: Iterable[VideoFrame]) -> Iterator[tuple[float, VideoFrame]]:
        """Yield frames with their times in film seconds, each later than the one before."""
        held: tuple[float, VideoFrame] | None = None
        for frame in frames:
            own = self._own(frame)
            if held is not None:
                # A single frame far ahead of both its neighbours has a broken time.
                ahead, waiting = held
                held = None
                broken = own is not None and own < ahead
                yield self._next(None if broken else ahead), waiting
            if own is not None and self._jumps_ahead(own):
                held = own, frame
            else:
                yield self._next(own), frame
        if held is not None:
            yield self._next(held[0]), held[1]

    def _own(self, frame: VideoFrame) -> float | None:
        """Return a frame's time on the file's own clock; None if it has none."""
        base = frame.time_base or self._base
        stamp = None if frame.pts is None else frame.pts - self._late
        if self._delay is not None:
            if frame.dts is None and self._last is not None:
                # The decoder's last frames come without a packet: they follow at the frame rate.
                return self._last + self._period - self._shift
            stamp = None if frame.dts is None else frame.dts - self._delay
        elif stamp is None and not self._stamped:
            # Some containers order frames by decoding time alone, as players then do too.
            stamp = frame.dts
        if stamp is None or base is None:
            return None
        self._stamped = self._stamped or frame.pts is not None
        return stamp * base.numerator / base.denominator - self._zero

    def _jumps_ahead(self, own: float) -> bool:
        return self._last is not None and own + self._shift > self._last + _JUMP_SECONDS

    def _next(self, own: float | None) -> float:
        """Return the film time of the next frame, given its time on the file's own clock."""
        self._last = self._repaired(own)
        return self._last

    def _repaired(self, own: float | None) -> float:
        last = self._last
        time = None if own is None else own + self._shift
        if time is None or own is None:
            # A raw stream has no times at all, which is not damage either.
            self._unstamped += not self._dated_in_part
            return self._starts if last is None else last + self._period
        self._damage.times += self._unstamped
        self._unstamped = 0
        if last is None:
            return time
        jump = self._jumps_ahead(own) and (self._jumps or own > self._longest + _JUMP_SECONDS)
        if time > last + _SHORTEST_STEP and not jump:
            return time
        self._damage.times += 1
        if jump or time < last - _STEP_BACK:
            before = last - self._shift
            self._shift += last + self._period - time
            self.joins.append(Join(before=before, after=own, shift=self._shift))
            return last + self._period
        # Halfway to where the next frame belongs, so that the next one needs no repair.
        return last + self._period / 2


def decoding_delay(source: VideoFile) -> int | None:
    """Return the ticks to subtract from decoding times, if a file's presentation times are wrong.

    None if they are right. AVI and ASF store no presentation times, so the times of frames that
    were coded out of order go back and forth. Their decoding times are in order, but late by the
    decoder's delay; players use those.
    """
    if source.clock_may_jump or not source.stream.codec_context.has_b_frames:
        return None
    with VideoFile.open(source.path, threads=1) as again:
        try:
            packets = [p for p in islice(again.container.demux(again.stream), _PROBED) if p.size]
            coded = [p.pts for p in packets if p.pts is not None]
            if len(coded) < len(packets) or not _ascend(coded):
                return None
            frames = [frame for packet in packets for frame in packet.decode()]
        except av.error.FFmpegError:
            return None
    shown = [frame.pts for frame in frames if frame.pts is not None]
    first, begins = frames[0].dts if frames else None, packets[0].dts if packets else None
    return None if _ascend(shown) or first is None or begins is None else first - begins


def _guessed_delay(source: VideoFile) -> int:
    """Return the ticks by which FFmpeg's times for all frames of an AVI are too late.

    AVI stores only decoding times. FFmpeg may add a delay for frames that were coded out of order;
    players show the first frame at once, when the sound begins.
    """
    if source.container.format.name != "avi":
        return 0
    with VideoFile.open(source.path, threads=1) as again:
        try:
            first = next(p for p in again.container.demux(again.stream) if p.size and p.is_keyframe)
        except (StopIteration, av.error.FFmpegError):
            return 0
    if first.pts is None or first.dts is None:
        return 0
    return first.pts - first.dts


def dated_packets(source: VideoFile) -> Iterator[Packet[VideoStream]]:
    """Yield the packets of a file's video; raises FFmpegError where reading fails.

    In a program stream FFmpeg may give a packet's time both to the frame that ends in it and to the
    frame that begins in it. If two packets in a row have the same time, only the second keeps it.
    """
    packets = source.container.demux(source.stream)
    if "mpeg" not in _formats(source):
        yield from packets
        return
    waiting = None
    try:
        for packet in packets:
            if waiting is not None:
                if packet.dts is not None and packet.dts == waiting.dts:
                    waiting.pts = waiting.dts = None
                yield waiting
            waiting = packet
    except av.error.FFmpegError:
        if waiting is not None:
            yield waiting
        raise
    if waiting is not None:
        yield waiting


class ReadablePackets(Iterator[P]):
    """Iterates over packets to the end of a file; goes on after failures, up to a limit.

    Set `failures_in_a_row` to 0 whenever something was read without error. `failed` is called for
    each failure.
    """

    given_up = False
    """Whether iteration ended because of failures and not at the file's end."""

    def __init__(
        self, read: Callable[[], Iterator[P]], failed: Callable[[], None] = lambda: None
    ) -> None:
        self._read, self._failed = read, failed
        self._packets = read()
        self.failures_in_a_row = 0

    def __next__(self) -> P:
        while self.failures_in_a_row < _MOST_FAILURES:
            try:
                return next(self._packets)
            except av.error.FFmpegError:
                self._failed()
                self.failures_in_a_row += 1
                # An error ends the iterator; a new one continues from the same place in the file.
                self._packets = self._read()
        self.given_up = True
        raise StopIteration


def _formats(source: VideoFile) -> set[str]:
    return set(source.container.format.name.split(","))


def _ascend(stamps: Sequence[int]) -> bool:
    return all(one < other for one, other in pairwise(stamps))


# The fewest seconds before the start that are skipped by seeking, and how many seconds before it
# decoding then begins, for frames that depend on earlier ones.
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

    def packet_lost() -> None:
        damage.packets += 1

    packets = ReadablePackets(lambda: dated_packets(source), packet_lost)
    geometry = ContainerGeometry(source)
    leading: int | None = None if sought else 0
    picture: tuple[str, tuple[int, int]] | None = None
    for packet in packets:
        if leading is not None and packet.size:
            if not packet.is_keyframe:
                leading += 1
            else:
                if leading:
                    what = "1 frame" if leading == 1 else f"{leading:,} frames"
                    name = one_line(source.path.name)
                    damage.notes.append(f"{name}: lost {what} before its first key frame")
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
            packets.failures_in_a_row = 0
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
    if packets.given_up:
        damage.notes.append(f"{one_line(source.path.name)} cannot be read to the end")


@dataclass
class DecodedPart:
    """What decoding found out about one file."""

    starts: float
    frames: int
    joins: list[Join] = field(default_factory=list)


class _PartTracker:
    """Finds the file that each frame comes from, in a recording that was cut into several files."""

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
        # Where each file begins, in seconds on the clock of the first.
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
        """Register the end; a file to which no frame could be attributed begins at the end."""
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
                starts = max(clock.end, film_seconds(source.audio_seconds, starts, clock.joins))
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
            self.damage.notes.append(f"{name} ends early, at {format_time_code(end)} of {of}")

    def _from_start(self, source: VideoFile, starts: float) -> Iterator[VideoFrame]:
        """Yield a file's frames, from shortly before the first one needed."""
        ahead = (self.start or 0.0) - starts
        base = source.stream.time_base
        if ahead > _WORTH_SEEKING and base is not None:
            latest = (ahead + source.clock_start) / base
            try:
                source.seek(ahead - _EARLIER + source.clock_start)
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
