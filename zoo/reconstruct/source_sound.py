"""Read the sound of source files: which track, its decodable packets, and their times in the film.

Headers do not say what comes: a track may be empty, or change its channels in mid-film. So every
track is decoded once before it is used.
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

from zoo.films.frame_store import Join
from zoo.films.video_file import VideoFile

LONGEST_PRIMING = 1.0
"""Seconds before the beginning from which packets are kept: a decoder may need them to start."""
# A file whose reading fails this often in a row has nothing more to give.
_MOST_FAILURES = 200
# What comes before the beginning is skipped by seeking, in seconds, if it is longer than this.
_WORTH_SEEKING, _EARLIER = 30.0, 3.0
# A sound format that lasts less than this, in seconds, is a damaged packet.
_BRIEF = 0.1
# Sound may begin a little before the frame that it belongs to, and jitter by as much, in seconds.
_TOLERANCE = 1.0
NO_SOUND = "the source has none"
"""Why there is no sound, where nothing was left out."""
# FFmpeg's usual layout for a number of channels whose positions are not stated.
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
    """Second of the film at which the file begins."""
    ends: float
    """Second of the film at which its last frame ends."""
    joins: Sequence[Join] = ()
    """Jumps of its clock at which the frames were joined."""


@dataclass(frozen=True)
class SoundFormat:
    """Channels and sample rate of decoded sound."""

    layout: str
    """As FFmpeg names it."""
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
    """One audio stream of one file, and what was decoded of it."""

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
    """The track of each file that has sound in the range; else the reason why there is none."""
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
    """Audio streams of the video's program, best first; else the reason why there is none."""
    streams = list(source.container.streams.audio)
    if not streams:
        return [], ""
    # Without a codec context there is no decoder for a stream.
    known = [s for s in streams if s.codec_context is not None]
    if not known:
        return [], "there is no decoder here for it"
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
    """The codec of a decoder: `mp3float` is mp3, `libopus` is opus."""
    return decoder.removesuffix("float").removeprefix("lib")


def _same_program(source: VideoFile, stream: AudioStream) -> bool:
    """Whether sound and video are of one program: FFmpeg then finds one video for both."""
    streams = source.container.streams
    by_sound = streams.best("video", related=stream)
    by_video = streams.best("video", related=source.stream)
    return by_sound is None or by_video is None or by_sound.index == by_video.index


def _decode_range(track: Track, start: float, stop: float | None) -> None:
    """Decode what lies in the range; record its formats and what cannot be decoded."""
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
    """Frames of a packet; none of a damaged one, which `track` counts."""
    try:
        return packet.decode()
    except av.error.FFmpegError:
        if track is not None:
            track.failed += 1
        return []


def timed_packets(
    track: Track, start: float, stop: float | None
) -> Iterator[tuple[float, Packet[AudioStream]]]:
    """Packets of a track in the range, each with what to add to its time, in seconds."""
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
    """Packets of a stream from shortly before a time on the file's own clock; None: all."""
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
        # Not every file supports seeking; reading it from the beginning always works.
        source.container.seek(0)
    yield from _readable_packets(source, stream)


def _readable_packets(source: VideoFile, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
    """Packets up to the end, or to where nothing more can be read; damaged ones are skipped."""
    packets = source.container.demux(stream)
    failures = 0
    while failures < _MOST_FAILURES:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            failures += 1
            # An error ends the iterator; a new one continues at the file's position.
            packets = source.container.demux(stream)
            continue
        failures = 0
        yield packet


@dataclass(frozen=True)
class Section:
    """A part of one file without a jump of its clock."""

    starts: float
    """Second of the film at which its frames begin."""
    shift: float
    """What to add to a time of the file to get a time of the film, in seconds."""


class SoundClock:
    """Gives packets of one file their times in the film, and joins sound where frames were joined.

    Where the clock of the sound alone jumps, back or to after the last frame, the sound continues
    without a gap. `sections` are in order, at least one; `ends` is when the last frame ends. All
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
        """A time of the film on the file's clock; None if that clock jumps."""
        return film_time - self._sections[0].shift if len(self._sections) == 1 else None

    def time(self, stamp: float, length: float) -> float | None:
        """Time of the next packet, `length` seconds long; None if it belongs to no frame.

        `stamp` is its time on the file's clock.
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
