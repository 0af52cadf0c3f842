"""Read the sound of source files: choose the track, and time its decodable packets in the film.

Headers are not reliable: a track may be empty, or change its channels in the middle of the film. So
every track is decoded once before it is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av.error
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Disposition

from zoo.films.decode import ReadablePackets
from zoo.films.frame_store import Join
from zoo.films.video_file import VideoFile

LONGEST_PRIMING = 1.0
"""Packets are kept from this many seconds before the start, as a decoder may need them."""
# Seek if the start is later than this; seek to this much before it (both in seconds).
_WORTH_SEEKING, _EARLIER = 30.0, 3.0
# A sound format that lasts less than this, in seconds, is treated as a damaged packet.
_BRIEF = 0.1
# Sound may begin a little before the frame that it belongs to, and jitter by as much, in seconds.
_TOLERANCE = 1.0
NO_SOUND = "the source has none"
"""The reason for missing sound if no sound was left out."""
# FFmpeg's default layout by number of channels, if their positions are not stated.
_USUAL_LAYOUTS = {
    1: "mono",
    2: "stereo",
    3: "2.1",
    4: "4.0",
    5: "5.0",
    6: "5.1",
    7: "6.1",
    8: "7.1",
}


@dataclass(frozen=True)
class FilmPart:
    """One source file of a film, and its place in the film."""

    path: Path
    starts: float
    """When the file begins, in seconds of the film."""
    ends: float
    """When its last frame ends, in seconds of the film."""
    joins: Sequence[Join] = ()
    """Jumps of the file's clock at which the frames were joined."""


@dataclass(frozen=True)
class SoundFormat:
    """Channels and sample rate of decoded sound."""

    layout: str
    """FFmpeg's name of the layout."""
    channels: tuple[str, ...]
    """Position of each channel: FL, FR, LFE and so on."""
    rate: int

    @classmethod
    def of(cls, frame: AudioFrame) -> SoundFormat:
        """The format of a decoded frame."""
        names = tuple(channel.name for channel in frame.layout.channels)
        if len(names) in _USUAL_LAYOUTS and set(names) == {"NONE"}:
            usual = AudioLayout(_USUAL_LAYOUTS[len(names)])
            return cls(usual.name, tuple(c.name for c in usual.channels), frame.sample_rate)
        return cls(frame.layout.name, names, frame.sample_rate)

    @property
    def has_positions(self) -> bool:
        """Whether its channels have positions; FFmpeg cannot mix those that have none."""
        return not any(name == "NONE" or name.startswith(("AMBI", "USR")) for name in self.channels)


@dataclass
class Track:
    """One audio stream of one file, and the result of decoding it."""

    part: FilmPart
    stream: int
    codec: str
    header: tuple[Any, ...]
    decoded: dict[SoundFormat, float] = field(default_factory=dict)
    """Seconds of each format within the range."""
    failed: int = 0
    joined: bool = False


def find_tracks(
    parts: Sequence[FilmPart], start: float, stop: float | None
) -> tuple[list[Track], str]:
    """The track of each file that has sound in the range, or the reason why there is none."""
    found: list[Track] = []
    reasons: list[str] = []
    for part in parts:
        if part.ends <= start:
            continue
        if stop is not None and part.starts >= stop:
            break
        with VideoFile.open(part.path, threads=1) as source:
            candidates, reason = _candidates(source, part)
        reasons += [reason] if reason else []
        for track in candidates:
            _decode_range(track, start, stop)
            if track.decoded:
                found.append(track)
                break
        else:
            partial = start > part.starts + _TOLERANCE or (stop is not None and stop < part.ends)
            empty = "has no sound in this part of the film" if partial else "is empty"
            reasons += [
                f"its {one.codec} {'cannot be decoded' if one.failed else empty}"
                for one in candidates
            ]
    reason = ", ".join(dict.fromkeys(reasons))
    return found, f"left out: {reason}" if reason else NO_SOUND


def _candidates(source: VideoFile, part: FilmPart) -> tuple[list[Track], str]:
    """Audio streams of the video's program, best first, or the reason why there is none."""
    streams = list(source.container.streams.audio)
    if not streams:
        return [], ""
    # A stream without a codec context has no decoder.
    known = [s for s in streams if s.codec_context is not None]
    if not known:
        return [], "this FFmpeg has no decoder for it"
    related = [s for s in known if _same_program(source, s)]
    if not related:
        return [], "it belongs to another programme"
    related.sort(key=lambda s: not s.disposition & Disposition.default)
    tracks = []
    for stream in related:
        context = stream.codec_context
        header = (context.name, context.sample_rate, context.layout.name, context.extradata)
        tracks.append(Track(part, stream.index, codec_family(context.name), header))
    return tracks, ""


def codec_family(decoder: str) -> str:
    """The codec that a decoder decodes, such as mp3 for `mp3float` and opus for `libopus`."""
    return decoder.removesuffix("float").removeprefix("lib")


def _same_program(source: VideoFile, stream: AudioStream) -> bool:
    """Whether sound and video are in one program, in which case FFmpeg finds that video."""
    streams = source.container.streams
    by_sound = streams.best("video", related=stream)
    by_video = streams.best("video", related=source.stream)
    return by_sound is None or by_video is None or by_sound.index == by_video.index


def _decode_range(track: Track, start: float, stop: float | None) -> None:
    """Decode the packets in the range; record their formats and failures in `track`."""
    decoded: dict[SoundFormat, float] = {}
    for shift, packet in timed_packets(track, start, stop):
        begins = float((packet.pts or 0) * packet.time_base) + shift
        for frame in decoded_frames(packet, track):
            if begins >= 0 and frame.sample_rate and frame.samples:
                sound = SoundFormat.of(frame)
                decoded[sound] = decoded.get(sound, 0.0) + frame.samples / frame.sample_rate
    longest = max(decoded.values(), default=0.0)
    track.decoded = {f: s for f, s in decoded.items() if s >= min(_BRIEF, longest)}


def decoded_frames(packet: Packet[AudioStream], track: Track | None = None) -> list[AudioFrame]:
    """Decode a packet; a damaged one gives no frames and is counted in `track`."""
    try:
        return packet.decode()
    except av.error.FFmpegError:
        if track is not None:
            track.failed += 1
        return []


def timed_packets(
    track: Track, start: float, stop: float | None
) -> Iterator[tuple[float, Packet[AudioStream]]]:
    """Yield the packets of a track in the range, each with a shift of its time in seconds."""
    part = track.part
    with VideoFile.open(part.path, threads=1) as source:
        zero = source.clock_start
        sections = [
            Section(part.starts, part.starts - zero),
            *(Section(join.after + join.shift, join.shift - zero) for join in part.joins),
        ]
        clock = SoundClock(sections, part.ends)
        stream = source.container.streams[track.stream]
        assert isinstance(stream, AudioStream)
        for packet in _packets_from(source, stream, clock.source_time(start)):
            if packet.pts is None or packet.dts is None or not packet.size:
                continue
            stamp = float(packet.pts * packet.time_base)
            length = float((packet.duration or 0) * packet.time_base)
            begins = clock.time(stamp, length)
            if begins is None or begins + length < start - LONGEST_PRIMING:
                continue
            if stop is not None and begins >= stop:
                break
            yield begins - stamp - start, packet
        track.joined = clock.joined


def _packets_from(
    source: VideoFile, stream: AudioStream, time: float | None
) -> Iterator[Packet[AudioStream]]:
    """Yield a stream's packets from shortly before a time of the file's clock; None for all."""
    base = stream.time_base
    if time is not None and time - source.clock_start > _WORTH_SEEKING and base is not None:
        try:
            source.seek(time - _EARLIER, stream)
            first = next(_readable_packets(source, stream), None)
        except av.error.FFmpegError:
            first = None
        if first is not None and first.pts is not None and first.pts * base <= time:
            yield first
            yield from _readable_packets(source, stream)
            return
        # Not every file supports seeking, but reading from the beginning always works.
        source.container.seek(0)
    yield from _readable_packets(source, stream)


def _readable_packets(source: VideoFile, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
    packets = ReadablePackets(lambda: source.container.demux(stream))
    for packet in packets:
        packets.failures_in_a_row = 0
        yield packet


@dataclass(frozen=True)
class Section:
    """A part of a file in which its clock does not jump."""

    starts: float
    """When its frames begin, in seconds of the film."""
    shift: float
    """Seconds to add to a time of the file to get a time of the film."""


class SoundClock:
    """Converts packet times of one file to film times, and joins sound where frames were joined.

    If only the clock of the sound jumps, backwards or past the last frame, the sound continues
    without a gap. `sections` are in order, at least one; `ends` is the end of the last frame. All
    times are in seconds.
    """

    def __init__(self, sections: Sequence[Section], ends: float) -> None:
        self._sections = sections
        self._ends = ends
        self._current = 0
        self._correction = 0.0
        self._last: float | None = None
        self.joined = False
        """Whether sound was moved or left out because of a jump."""

    def source_time(self, film_time: float) -> float | None:
        """Convert a film time to the file's clock; None if that clock jumps."""
        return film_time - self._sections[0].shift if len(self._sections) == 1 else None

    def time(self, stamp: float, length: float) -> float | None:
        """The film time of the next packet, `length` seconds long; None if it matches no frame.

        `stamp` is the packet's time on the file's clock.
        """
        found = self._film_time(stamp)
        if found is not None:
            self._last = found + length
        return found

    def _film_time(self, stamp: float) -> float | None:
        at = stamp + self._sections[self._current].shift + self._correction
        last = at if self._last is None else self._last
        jumps_back = at < last - _TOLERANCE
        if not jumps_back and at < self._end_of(self._current):
            beyond = at > self._ends + _TOLERANCE and at > last + _TOLERANCE
            return self._continued(at, last) if beyond else at
        for number in range(self._current + 1, len(self._sections)):
            section = self._sections[number]
            there = stamp + section.shift
            earliest = max(section.starts, last if jumps_back else section.starts) - _TOLERANCE
            if earliest <= there < self._end_of(number):
                self._current, self._correction, self.joined = number, 0.0, True
                return there
        if jumps_back:
            return self._continued(at, last)
        self.joined = True
        return None

    def _end_of(self, number: int) -> float:
        following = number + 1
        return self._sections[following].starts if following < len(self._sections) else float("inf")

    def _continued(self, at: float, last: float) -> float:
        self._correction += last - at
        self.joined = True
        return last
