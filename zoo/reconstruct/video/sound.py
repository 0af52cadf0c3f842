"""The sound of source files, in step with the pictures, written to an MP4 of its own.

It is decoded once as it is in the source, because headers do not say what comes: a track may be
empty, or change its channels in mid-film. What is written is read back before it is used. Sound
that fails either is coded again or left out, and `Sound.told` says so: it never stops the pictures.
"""

from __future__ import annotations

import errno
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition

from zoo.base.errors import BadInput
from zoo.films.source import Source
from zoo.reconstruct.video.recoding import BIT_RATE_A_CHANNEL, Form, Recoder, target_for
from zoo.reconstruct.video.sound_clock import Section, SoundClock
from zoo.reconstruct.video.sound_file import COPIED, FORMAT, SoundFile, codec_family

# A file whose reading fails this often in a row has nothing more to give.
_MOST_FAILURES = 200
# What comes before the beginning is sought past, in seconds, if it is longer than this.
_WORTH_SEEKING, _EARLIER = 30.0, 3.0
# Before the beginning there may be what a decoder needs to start; no player is to hear it.
_LONGEST_PRIMING = 1.0
# A form that is heard for less than this, in seconds, is a damaged packet.
_BRIEF = 0.1
# Of what was heard in the source, so much is heard in what was written, apart from some seconds.
_LEAST_SHARE, _LEAST_SECONDS = 0.98, 0.5
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class Join(Protocol):
    """A leap of a file's clock, in seconds on that clock, from where the file begins."""

    after: float
    """The first picture after it."""
    shift: float
    """What to add from there on, for seconds of the film."""


@dataclass(frozen=True)
class FilePart:
    """One source file of a film, and where it lies on the film's time line."""

    path: Path
    starts: float
    """Seconds at which the file begins."""
    ends: float
    """Seconds at which its last picture's time is over."""
    joins: Sequence[Join] = ()
    """Leaps of its clock that the pictures were joined at."""


@dataclass(frozen=True)
class Sound:
    """What became of a film's sound."""

    track: SoundFile | None
    """None where there is no sound to be had."""
    codec: str
    """Of the source."""
    told: str
    """The same in a line."""


@dataclass
class _Track:
    """One audio stream of one file, and what was heard of it."""

    part: FilePart
    stream: int
    codec: str
    header: tuple[Any, ...]
    heard: dict[Form, float] = field(default_factory=dict)
    """Seconds of each form, within the range that was asked for."""
    failed: int = 0
    """Packets that cannot be decoded."""
    joined: bool = False


def write_sound(
    parts: Sequence[FilePart], path: Path, start: float = 0.0, stop: float | None = None
) -> Sound:
    """Write the sound of a film from `start` to `stop`, in seconds on its time line, as an MP4.

    What is heard at `start` is heard at 0 in the file. Of several tracks of the picture's programme
    the default is taken, else the first; an empty one is passed over. Sound is copied packet by
    packet where MP4 takes it and it has one form throughout, and coded again as AAC where not.
    Raises BadInput if a source file cannot be opened, and OSError where the disk is full.
    """
    tracks, none_because = _tracks(parts, start, stop)
    if not tracks:
        return Sound(None, "", none_because)
    film = _FilmSound(tracks, start, stop)
    codec = tracks[0].codec
    why = film.why_not_copied()
    notes = film.notes(len(parts))
    if not why:
        if film.written(path, film.copied):
            return Sound(SoundFile(path), codec, "; ".join([f"{codec}, copied", *notes]))
        why = "its packets alone cannot be played in MP4"
    target = target_for(film.forms)
    if film.written(path, film.coded_again):
        kilobits = BIT_RATE_A_CHANNEL // 1000
        said = f"{codec}, coded again as AAC at {kilobits} kbit/s a channel ({why})"
        lost = [target.lost] if target.lost else []
        return Sound(SoundFile(path), codec, "; ".join([said, *lost, *notes]))
    return Sound(None, codec, f"left out: its {codec} can be neither copied nor coded again")


def _tracks(
    parts: Sequence[FilePart], start: float, stop: float | None
) -> tuple[list[_Track], str]:
    """The track of each file that has sound in the range; else why there is none."""
    found: list[_Track] = []
    reasons: list[str] = []
    for part in parts:
        if part.ends <= start:
            continue
        if stop is not None and part.starts >= stop:
            break
        with Source.open(part.path, threads=1) as source:
            candidates, reason = _candidates(source, part)
        reasons += [reason] if reason else []
        for track in candidates:
            _listen(track, start, stop)
            if track.heard:
                found.append(track)
                break
        else:
            reasons += [
                f"its {one.codec} cannot be decoded" if one.failed else f"its {one.codec} is empty"
                for one in candidates
            ]
    told = ", ".join(dict.fromkeys(reasons))
    return found, f"left out: {told}" if told else "the source has none"


def _candidates(source: Source, part: FilePart) -> tuple[list[_Track], str]:
    """Audio streams of the picture's programme, the likeliest first; else why there is none."""
    streams = list(source.container.streams.audio)
    if not streams:
        return [], ""
    # A track without a codec context is one that nothing here can decode.
    known = [s for s in streams if s.codec_context is not None]
    if not known:
        return [], "there is no decoder here for it"
    related = [s for s in known if _same_programme(source, s)]
    if not related:
        return [], "it belongs to another programme"
    related.sort(key=lambda s: not s.disposition & Disposition.default)
    tracks = []
    for stream in related:
        context = stream.codec_context
        header = (context.name, context.sample_rate, context.layout.name, context.extradata)
        tracks.append(_Track(part, stream.index, codec_family(context.name), header))
    return tracks, ""


def _same_programme(source: Source, stream: AudioStream) -> bool:
    """Whether sound and picture are of one programme: FFmpeg names one picture for both then."""
    streams = source.container.streams
    by_sound = streams.best("video", related=stream)
    by_picture = streams.best("video", related=source.stream)
    return by_sound is None or by_picture is None or by_sound.index == by_picture.index


def _listen(track: _Track, start: float, stop: float | None) -> None:
    """Decode what lies in the range, and note its forms and what cannot be decoded."""
    heard: dict[Form, float] = {}
    for shift, packet in _timed(track, start, stop):
        begins = float((packet.pts or 0) * packet.time_base) + shift
        for frame in _decoded(packet, track):
            if begins >= 0 and frame.sample_rate and frame.samples:
                form = Form.of(frame)
                heard[form] = heard.get(form, 0.0) + frame.samples / frame.sample_rate
    longest = max(heard.values(), default=0.0)
    track.heard = {f: s for f, s in heard.items() if s >= min(_BRIEF, longest)}


def _decoded(packet: Packet[AudioStream], track: _Track | None = None) -> list[AudioFrame]:
    """Frames of a packet; of a damaged one none: what follows keeps its time."""
    try:
        return packet.decode()
    except av.error.FFmpegError:
        if track is not None:
            track.failed += 1
        return []


def _timed(
    track: _Track, start: float, stop: float | None
) -> Iterator[tuple[float, Packet[AudioStream]]]:
    """Packets of a track in the range, each with what is to be added to its time, in seconds."""
    part = track.part
    with Source.open(part.path, threads=1) as source:
        zero = source.clock_start
        sections = [
            Section(part.starts, part.starts - zero),
            *(Section(join.after + join.shift, join.shift - zero) for join in part.joins),
        ]
        clock = SoundClock(sections, part.ends)
        stream = source.container.streams[track.stream]
        assert isinstance(stream, AudioStream)
        for packet in _from(source, stream, clock.source_time(start)):
            if packet.pts is None or packet.dts is None or not packet.size:
                continue
            stamp = float(packet.pts * packet.time_base)
            length = float((packet.duration or 0) * packet.time_base)
            begins = clock.time(stamp, length)
            if begins is None or begins + length < start - _LONGEST_PRIMING:
                continue
            if stop is not None and begins >= stop:
                break
            yield begins - stamp - start, packet
        track.joined = clock.joined


@dataclass(frozen=True)
class _FilmSound:
    """Sound of all files that have some, and the two ways in which it is written."""

    tracks: Sequence[_Track]
    start: float
    stop: float | None

    @property
    def forms(self) -> list[Form]:
        """In the order in which they are first heard."""
        return list(dict.fromkeys(form for track in self.tracks for form in track.heard))

    @property
    def seconds(self) -> float:
        return sum(sum(track.heard.values()) for track in self.tracks)

    @property
    def failed(self) -> int:
        return sum(track.failed for track in self.tracks)

    def why_not_copied(self) -> str:
        """Why it is to be coded again; empty where it need not be."""
        if len({track.header for track in self.tracks}) > 1:
            return "its parts differ"
        if self.tracks[0].codec not in COPIED:
            return "players do not know it in MP4"
        if len(self.forms) > 1:
            layouts = dict.fromkeys(form.layout for form in self.forms)
            rates = dict.fromkeys(f"{form.rate:,} Hz" for form in self.forms)
            changes = layouts if len(layouts) > 1 else rates
            return f"it changes in mid-film: {', then '.join(changes)}"
        return ""

    def notes(self, files: int) -> list[str]:
        """What else is worth saying."""
        notes = []
        with Source.open(self.tracks[0].part.path, threads=1) as source:
            count = len(source.container.streams.audio)
        if count > 1:
            notes.append(f"one of {count} tracks")
        if len(self.tracks) < files and self.stop is None:
            notes.append(f"{files - len(self.tracks)} of {files} files are silent")
        if self.failed:
            notes.append(f"{self.failed:,} packets cannot be decoded")
        if any(track.joined for track in self.tracks):
            notes.append("joined where its clock leaps")
        return notes

    def written(self, path: Path, how: Any) -> bool:
        """Write it in one of the two ways; returns whether it can be read back whole."""
        try:
            with av.open(f"file:{path.absolute()}", "w", format=FORMAT) as container:
                for packet in how(container):
                    container.mux(packet)
            return self._reads_back(path)
        except (av.error.FFmpegError, BadInput, ValueError, IndexError) as error:
            # Sound is left out rather than stop the film; but a full disk stops the film anyway.
            if getattr(error, "errno", None) in _DISK:
                raise
            return False

    def _reads_back(self, path: Path) -> bool:
        check = _Track(FilePart(path, 0.0, 0.0), 0, "", ())
        heard: dict[Form, float] = {}
        with SoundFile(path).opened() as source:
            for packet in source.demux(audio=0):
                for frame in _decoded(packet, check):
                    form = Form.of(frame)
                    heard[form] = heard.get(form, 0.0) + frame.samples / frame.sample_rate
        least = _LEAST_SHARE * self.seconds - _LEAST_SECONDS
        return check.failed <= self.failed and bool(heard) and sum(heard.values()) >= least

    def copied(self, container: OutputContainer) -> Generator[Packet[Any], None, None]:
        """Its packets, moved to where they are heard."""
        with Source.open(self.tracks[0].part.path, threads=1) as source:
            template = source.container.streams[self.tracks[0].stream]
            assert isinstance(template, AudioStream)
            stream = container.add_stream_from_template(template)
        last, last_dts = -_LONGEST_PRIMING, None
        for shift, packet in self._packets():
            base = packet.time_base
            assert packet.pts is not None and packet.dts is not None
            length = float((packet.duration or 0) * base)
            begin = float(packet.pts * base) + shift
            # A packet that lies more than half before the end of the one before has no room: a
            # file's first packets, that only ready its decoder, where another file came before.
            if begin < last - length / 2:
                continue
            # One packet from before the beginning is kept: the first that is heard leans on it.
            if self.start > 0 and begin + 2 * length <= 0:
                continue
            last = begin + length
            offset = round(Fraction(shift) / base)
            packet.pts += offset
            packet.dts += offset
            if last_dts is not None and packet.dts <= last_dts:
                packet.pts += last_dts + 1 - packet.dts
                packet.dts = last_dts + 1
            last_dts = packet.dts
            packet.stream = stream
            yield packet

    def coded_again(self, container: OutputContainer) -> Generator[Packet[Any], None, None]:
        """Its samples as AAC, with silence where there are none."""
        target = target_for(self.forms)
        length = None if self.stop is None else self.stop - self.start
        recoder = Recoder(container, target.layout, target.rate, length)
        for shift, packet in self._packets():
            frames = _decoded(packet)
            if not frames:
                recoder.lose()
            for frame in frames:
                if frame.pts is not None and frame.time_base is not None:
                    yield from recoder.feed(frame, float(frame.pts * frame.time_base) + shift)
        yield from recoder.finish()

    def _packets(self) -> Iterator[tuple[float, Packet[AudioStream]]]:
        for track in self.tracks:
            yield from _timed(track, self.start, self.stop)


def _from(
    source: Source, stream: AudioStream, moment: float | None
) -> Iterator[Packet[AudioStream]]:
    """Packets of a stream from not long before a moment on the file's own clock; None: all."""
    base = stream.time_base
    if moment is not None and moment - source.clock_start > _WORTH_SEEKING and base is not None:
        try:
            source.container.seek(round((moment - _EARLIER) / base), stream=stream, backward=True)
            first = next(_readable(source, stream), None)
        except av.error.FFmpegError:
            first = None
        if first is not None and first.pts is not None and first.pts * base <= moment:
            yield first
            yield from _readable(source, stream)
            return
        # Not every file can be sought in; reading it from the beginning always works.
        source.container.seek(0)
    yield from _readable(source, stream)


def _readable(source: Source, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
    """Packets up to the end, or to where nothing more can be read; damaged places are silent."""
    packets = source.container.demux(stream)
    failures = 0
    while failures < _MOST_FAILURES:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            failures += 1
            # An error ends the iterator; a new one goes on where the file was left.
            packets = source.container.demux(stream)
            continue
        failures = 0
        yield packet
