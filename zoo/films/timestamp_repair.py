"""Clocks of video files: file timestamps to the film's time line, with jumps removed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise

import av.error
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from zoo.films.frame_store import Damage, Join
from zoo.films.video_file import VideoFile

_JUMP_SECONDS, _STEP_BACK = 60.0, 1.0
"""A time that jumps further than this ahead, or further back, may be a break in the clock."""
_SHORTEST_STEP = 1 / 50_000
"""Seconds between two frames, over one tick of the videos that are written
(`zoo.base.time_code.TICKS`); less is rounding of the same time."""
_MOST_GAP = 30 * 3600.0
"""Longest gap without a frame, in seconds, that is believed if no duration is stated."""
_PROBED = 128
_DATED_IN_PART = {"mpeg", "mpegts"}
"""Formats in which a packet of several frames has one time, that of the first."""


class FileClock:
    """Converts seconds on one file's own clock to seconds on the film's time line.

    A file's own seconds count from its container's start time. Where its clock jumps, as between
    parts of a transport stream that were recorded separately, frames follow one another without a
    gap; `film_seconds` does the same for any other stream of the file. It must be called in the
    order of the file, from its beginning: a clock that restarts has the same time twice.
    """

    def __init__(self, starts: float, joins: Sequence[Join] = ()) -> None:
        self._shift = starts
        self._ahead = list(joins)
        self._last = -math.inf

    def film_seconds(self, own: float) -> float:
        """Return the film's time for `own` seconds on the file's clock."""
        while self._ahead and self._is_past(self._ahead[0], own):
            self._shift = self._ahead.pop(0).shift
        self._last = own
        return own + self._shift

    def _is_past(self, join: Join, own: float) -> bool:
        if join.after > join.before:
            return join.after - own < own - join.before
        back = self._last - own
        return back > _STEP_BACK / 2 and abs(own - join.after) < back


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

    None if they are right. AVI and ASF keep no presentation times: frames that were coded out of
    order then have times that go back and forth. Their decoding times are in order, late by the
    delay of the decoder; players use those.
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
    """Return the ticks by which FFmpeg dates all frames of an AVI too late.

    AVI keeps only decoding times. FFmpeg may add a delay for frames that were coded out of order;
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
    """Yield the packets of a file's video; errors are those of reading it.

    In a program stream FFmpeg may give a packet's time to the frame that ends in it as well as to
    the frame that begins in it: of two in a row with the same time only the second keeps it.
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


def _formats(source: VideoFile) -> set[str]:
    return set(source.container.format.name.split(","))


def _ascend(stamps: Sequence[int]) -> bool:
    return all(one < other for one, other in pairwise(stamps))
