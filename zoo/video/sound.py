"""The sound of source files, brought along in step with the pictures."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.error
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition

from zoo.films.source import Source
from zoo.video.recoding import BIT_RATE_A_CHANNEL, Recoder

COPIED = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")
"""What MP4 takes and players know there; anything else is coded again, as AAC."""
# A file whose reading fails this often in a row has nothing more to give.
_MOST_FAILURES = 200
# What comes before the beginning is sought past, in seconds, if it is longer than this.
_WORTH_SEEKING, _EARLIER = 30.0, 3.0
# Before the beginning there may be what a decoder needs to start; no player is to hear it.
_LONGEST_PRIMING = 1.0


@dataclass(frozen=True)
class _Part:
    """One source file that has sound."""

    path: Path
    starts: float
    """Seconds on the film's time line at which the file begins."""
    stream: int
    """Which of the file's streams."""


@dataclass(frozen=True)
class Sound:
    """The sound of a film from `start` to `stop`, in seconds on the film's time line.

    What is heard at `start` is heard at 0 in the new file.
    """

    parts: tuple[_Part, ...]
    start: float
    stop: float | None
    codec: str
    copied: bool
    """Packet by packet; else it is decoded and coded again."""
    told: str
    """What becomes of the sound, in a line."""

    def into(self, container: OutputContainer) -> Generator[Packet[Any], None, None]:
        """Add a stream to the container at once; return its packets in order, timed from 0."""
        with Source.open(self.parts[0].path, threads=1) as source:
            first = _stream_of(source, self.parts[0].stream)
            if self.copied:
                return self._copied(container.add_stream_from_template(first))
            context = first.codec_context
            recoder = Recoder(container, context.sample_rate, context.channels, self._length)
        return self._recoded(recoder)

    @property
    def _length(self) -> float | None:
        return None if self.stop is None else self.stop - self.start

    def _copied(self, stream: AudioStream) -> Generator[Packet[Any], None, None]:
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

    def _recoded(self, recoder: Recoder) -> Generator[Packet[Any], None, None]:
        for shift, packet in self._packets():
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                # A damaged packet is a moment of silence: what follows keeps its time.
                continue
            for frame in frames:
                if frame.pts is None or frame.time_base is None:
                    continue
                yield from recoder.feed(frame, float(frame.pts * frame.time_base) + shift)
        yield from recoder.finish()

    def _packets(self) -> Iterator[tuple[float, Packet[AudioStream]]]:
        """Packets of all parts, each with what to add to its time, in seconds."""
        for part in self.parts:
            with Source.open(part.path, threads=1) as source:
                shift = part.starts - source.clock_start - self.start
                for packet in _from(source, _stream_of(source, part.stream), -shift):
                    if packet.pts is None or packet.dts is None or not packet.size:
                        continue
                    late = float(packet.pts * packet.time_base) + shift
                    if self._length is not None and late >= self._length:
                        return
                    yield shift, packet


def _from(source: Source, stream: AudioStream, moment: float) -> Iterator[Packet[AudioStream]]:
    """Packets of a stream from not long before a moment on the file's own clock."""
    base = stream.time_base
    if moment - source.clock_start > _WORTH_SEEKING and base is not None:
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


def _stream_of(source: Source, index: int) -> AudioStream:
    stream = source.container.streams[index]
    assert isinstance(stream, AudioStream)
    return stream


def sound_of(
    files: Sequence[Path], starts: Sequence[float], start: float = 0.0, stop: float | None = None
) -> Sound | None:
    """The sound of a film's files from `start` to `stop`; None where there is none.

    `starts` are the seconds on the film's time line at which the files begin. Of several tracks the
    one that is marked as the default is taken, else the first. Sound is copied packet by packet
    where MP4 takes it and all files have it in the same form, and coded again as AAC where not.
    Raises BadInput if a file cannot be read.
    """
    parts: list[_Part] = []
    forms = set()
    tracks = 0
    codec = ""
    for path, begins in zip(files, starts, strict=True):
        if stop is not None and begins >= stop:
            break
        with Source.open(path, threads=1) as source:
            # A track without a codec context is one that nothing here can decode.
            heard = [s for s in source.container.streams.audio if s.codec_context is not None]
            if not heard:
                continue
            chosen = max(heard, key=lambda s: bool(s.disposition & Disposition.default))
            context = chosen.codec_context
            form = (context.name, context.sample_rate, context.layout.name, context.extradata)
            tracks = max(tracks, len(heard))
            codec = codec or _family(context.name)
            forms.add(form)
            parts.append(_Part(path, begins, chosen.index))
    if not parts:
        return None
    copied = len(forms) == 1 and codec in COPIED
    told = _told(codec, copied, len(forms) > 1, tracks)
    return Sound(tuple(parts), start, stop, codec, copied, told)


def _family(decoder: str) -> str:
    """A codec by the name of its decoder: `mp3float` is mp3, `libopus` is opus."""
    return decoder.removesuffix("float").removeprefix("lib")


def _told(codec: str, copied: bool, mixed: bool, tracks: int) -> str:
    if copied:
        said = f"{codec}, copied"
    else:
        why = "its parts differ" if mixed else "players do not know it in MP4"
        kilobits = BIT_RATE_A_CHANNEL // 1000
        said = f"{codec}, coded again as AAC at {kilobits} kbit/s a channel ({why})"
    return said + (f"; one of {tracks} tracks" if tracks > 1 else "")
