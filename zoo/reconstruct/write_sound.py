"""Write the sound of source files to a separate MP4, in sync with the frames.

Sound is copied if MP4 supports its codec, else it is re-encoded as AAC. The file is read back
before use; if this fails, the video is written without sound. `Sound.summary` states the result.
"""

from __future__ import annotations

import errno
import io
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.codec.codec import Codec
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from zoo.base.errors import BadInput
from zoo.films.video_file import VideoFile
from zoo.reconstruct.source_sound import (
    LONGEST_PRIMING,
    FilmPart,
    SoundFormat,
    Track,
    codec_family,
    decoded_frames,
    find_tracks,
    timed_packets,
)

COPIED = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")
"""Codecs that players support in MP4; sound in other codecs is re-encoded as AAC."""
FORMAT = "mp4"
BIT_RATE, SMALL_BIT_RATE = 96_000, 48_000
"""Bits per second of each channel."""
LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1")
"""Layouts that AAC can name, so that decoders know the position of each channel."""
_USUAL_RATE = 48_000
# Times of sound in files jitter, in old WebM files by up to 20 ms. Differences above this, about
# one film frame, are cuts or gaps.
_JITTER_SECONDS = 0.04
_SAMPLES_AT_ONCE = 48_000
# The written file must have this share of the source's sound, minus this many seconds.
_LEAST_SHARE, _LEAST_SECONDS = 0.98, 0.5
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


@dataclass(frozen=True)
class SoundFile:
    """One track of sound in an MP4, as a `SoundTrack` for `video_file`; untrusted input."""

    content: Path | bytes = field(repr=False)

    def into(self, container: OutputContainer) -> Generator[Packet[Any], None, None]:
        """Add a stream to the container at once; return its packets in order, timed from 0.

        Raises BadInput if the file has no sound that can be copied.
        """
        source = self.opened()
        stream = _only_stream(source)
        return _packets(source, stream, container.add_stream_from_template(stream))

    def check(self) -> None:
        """Raise BadInput unless every packet can be read and written to an MP4."""
        try:
            with av.open(_NullFile(), "w", format=FORMAT) as container:
                for packet in self.into(container):
                    container.mux(packet)
        except (av.error.FFmpegError, ValueError) as error:
            raise BadInput(f"the sound in the film file is damaged: {error}") from None

    def opened(self) -> InputContainer:
        """Open the file for reading; raises BadInput if it is not an MP4."""
        try:
            # The format is fixed, so that the content cannot refer to other files or addresses.
            file = (
                io.BytesIO(self.content)
                if isinstance(self.content, bytes)
                else f"file:{self.content.absolute()}"
            )
            return av.open(file, "r", format=FORMAT, metadata_errors="replace")
        except av.error.FFmpegError as error:
            raise BadInput(f"the sound in the film file is damaged: {error.strerror}") from None


class _NullFile(io.RawIOBase):
    def __init__(self) -> None:
        super().__init__()
        self._position = self._size = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._position += len(data)
        self._size = max(self._size, self._position)
        return len(data)

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}
        self._position = starts[whence] + offset
        return self._position


def _packets(
    source: InputContainer, stream: AudioStream, into: AudioStream
) -> Generator[Packet[Any], None, None]:
    with source:
        for packet in source.demux(stream):
            if packet.pts is None or packet.dts is None or not packet.size:
                continue
            packet.stream = into
            yield packet


def _only_stream(source: InputContainer) -> AudioStream:
    streams = source.streams
    if len(streams) != 1 or not isinstance(streams[0], AudioStream):
        raise BadInput("the sound in the film file is not a single audio track")
    stream = streams[0]
    # A stream without a codec context has no decoder.
    context = stream.codec_context
    name = "" if context is None else codec_family(context.name)
    if name not in COPIED:
        raise BadInput(f"the sound in the film file is {name or 'unknown'}, which is not for MP4")
    if not context.sample_rate or not context.channels:
        raise BadInput("the sound in the film file is empty")
    return stream


@dataclass(frozen=True)
class Sound:
    """The sound of a film, as it was written."""

    track: SoundFile | None
    codec: str
    """Codec of the source."""
    summary: str


def write_sound(
    parts: Sequence[FilmPart],
    path: Path,
    start: float = 0.0,
    stop: float | None = None,
    *,
    small: bool = False,
) -> Sound:
    """Write the sound of a film from `start` to `stop`, in seconds of the film, as an MP4.

    The sound at `start` is at 0 in the file. Of several tracks in the video's program, the default
    track is used, else the first; empty tracks are skipped. Sound is copied packet by packet if MP4
    supports its codec and its format never changes, else re-encoded as AAC. With `small`, it is
    always re-encoded, in at most two channels at `SMALL_BIT_RATE` each. Raises BadInput if a source
    file cannot be opened, and OSError if the disk is full.
    """
    tracks, why_none = find_tracks(parts, start, stop)
    if not tracks:
        return Sound(None, "", why_none)
    film = _FilmSound(tracks, start, stop, small)
    codec = tracks[0].codec
    why = "for a small file" if small else film.why_not_copied()
    notes = film.notes(len(parts))
    if not why:
        if film.written(path, film.copied):
            return Sound(SoundFile(path), codec, "; ".join([f"{codec}, copied", *notes]))
        why = "its packets alone cannot be played in MP4"
    target = aac_format_for(film.formats, small)
    if film.written(path, film.encoded):
        kilobits = target.bit_rate // 1000
        encoded = f"{codec}, encoded again as AAC at {kilobits} kbit/s per channel ({why})"
        lost = [target.lost] if target.lost else []
        return Sound(SoundFile(path), codec, "; ".join([encoded, *lost, *notes]))
    return Sound(None, codec, f"left out: its {codec} can be neither copied nor encoded again")


@dataclass(frozen=True)
class _FilmSound:
    """The sound of all files that have any, and the two ways to write it: copied or encoded."""

    tracks: Sequence[Track]
    start: float
    stop: float | None
    small: bool = False

    @property
    def formats(self) -> list[SoundFormat]:
        """The formats of the sound, in order of first occurrence."""
        return list(dict.fromkeys(sound for track in self.tracks for sound in track.decoded))

    @property
    def seconds(self) -> float:
        return sum(sum(track.decoded.values()) for track in self.tracks)

    @property
    def failed(self) -> int:
        return sum(track.failed for track in self.tracks)

    def why_not_copied(self) -> str:
        """The reason why the sound must be re-encoded; empty if it can be copied."""
        if len({track.header for track in self.tracks}) > 1:
            return "its parts differ"
        if self.tracks[0].codec not in COPIED:
            return "players do not support it in MP4"
        if len(self.formats) > 1:
            layouts = dict.fromkeys(sound.layout for sound in self.formats)
            rates = dict.fromkeys(f"{sound.rate:,} Hz" for sound in self.formats)
            changes = layouts if len(layouts) > 1 else rates
            return f"it changes mid-film: {', then '.join(changes)}"
        return ""

    def notes(self, files: int) -> list[str]:
        """Further remarks for the summary."""
        notes = []
        with VideoFile.open(self.tracks[0].part.path, threads=1) as source:
            count = len(source.container.streams.audio)
        if count > 1:
            notes.append(f"one of {count} tracks")
        if len(self.tracks) < files and self.stop is None:
            notes.append(f"{files - len(self.tracks)} of {files} files are silent")
        if self.failed:
            notes.append(f"{self.failed:,} packets cannot be decoded")
        if any(track.joined for track in self.tracks):
            notes.append("joined where its clock jumps")
        return notes

    def written(self, path: Path, packets_for: Any) -> bool:
        """Write the sound in one of the two ways; return whether it can be read back in full."""
        try:
            with av.open(f"file:{path.absolute()}", "w", format=FORMAT) as container:
                for packet in packets_for(container):
                    container.mux(packet)
            return self._reads_back(path)
        except (av.error.FFmpegError, BadInput, ValueError, IndexError) as error:
            # On an error, sound is left out; but a full disk would stop the video as well.
            if getattr(error, "errno", None) in _DISK_ERRORS:
                raise
            return False

    def _reads_back(self, path: Path) -> bool:
        check = Track(FilmPart(path, 0.0, 0.0), 0, "", ())
        decoded: dict[SoundFormat, float] = {}
        with SoundFile(path).opened() as source:
            for packet in source.demux(audio=0):
                for frame in decoded_frames(packet, check):
                    sound = SoundFormat.of(frame)
                    decoded[sound] = decoded.get(sound, 0.0) + frame.samples / frame.sample_rate
        least = _LEAST_SHARE * self.seconds - _LEAST_SECONDS
        return check.failed <= self.failed and bool(decoded) and sum(decoded.values()) >= least

    def copied(self, container: OutputContainer) -> Generator[Packet[Any], None, None]:
        """Yield the sound's packets unchanged, shifted to their times."""
        with VideoFile.open(self.tracks[0].part.path, threads=1) as source:
            template = source.container.streams[self.tracks[0].stream]
            assert isinstance(template, AudioStream)
            stream = container.add_stream_from_template(template)
        last, last_dts = -LONGEST_PRIMING, None
        for shift, packet in self._packets():
            base = packet.time_base
            assert packet.pts is not None and packet.dts is not None
            length = float((packet.duration or 0) * base)
            begin = float(packet.pts * base) + shift
            # Leave out a packet of which more than half overlaps the previous one: for example the
            # first packets of a later file, which only prime its decoder.
            if begin < last - length / 2:
                continue
            # Keep one packet from before the start, because the first audible one needs it.
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

    def encoded(self, container: OutputContainer) -> Generator[Packet[Any], None, None]:
        """Yield the sound re-encoded as AAC, with silence in the gaps."""
        target = aac_format_for(self.formats, self.small)
        length = None if self.stop is None else self.stop - self.start
        encoder = AacEncoder(container, target, length)
        for shift, packet in self._packets():
            frames = decoded_frames(packet)
            if not frames:
                encoder.mark_gap()
            for frame in frames:
                if frame.pts is not None and frame.time_base is not None:
                    yield from encoder.encode(frame, float(frame.pts * frame.time_base) + shift)
        yield from encoder.finish()

    def _packets(self) -> Iterator[tuple[float, Packet[AudioStream]]]:
        for track in self.tracks:
            yield from timed_packets(track, self.start, self.stop)


@dataclass(frozen=True)
class AacFormat:
    """The AAC format for re-encoding, and what is lost by it."""

    layout: str
    rate: int
    lost: str = ""
    """What happens to channels that are not kept; empty if all are kept."""
    bit_rate: int = BIT_RATE
    """Bits per second of each channel."""


def aac_format_for(formats: Collection[SoundFormat], small: bool = False) -> AacFormat:
    """Choose the AAC format for these formats: their widest layout and their highest rate.

    With `small`, it has at most two channels, with fewer bits for each.
    """
    allowed, bits = (LAYOUTS[:2], SMALL_BIT_RATE) if small else (LAYOUTS, BIT_RATE)
    known = Codec("aac", "w").audio_rates or []
    rates = [sound.rate for sound in formats if sound.rate in known]
    layouts = {sound: _layout_for(sound, allowed) for sound in formats}
    widest = max((layout for layout, _ in layouts.values()), key=LAYOUTS.index)
    lost = "; ".join(sorted({lost for _, lost in layouts.values() if lost}))
    return AacFormat(widest, max(rates, default=_USUAL_RATE), lost, bits)


def _layout_for(sound: SoundFormat, allowed: Sequence[str]) -> tuple[str, str]:
    count = len(sound.channels)
    if not sound.has_positions:
        return "stereo", f"the first two of {count} channels, whose positions are not stated"
    for layout in allowed:
        has = {channel.name for channel in AudioLayout(layout).channels}
        # The side pair becomes the back pair if the layout has no side pair.
        pairs = {"SL": "BL", "SR": "BR"} if has.isdisjoint({"SL", "SR"}) else {}
        wanted = [pairs.get(name, name) for name in sound.channels]
        if len(set(wanted)) == count and has.issuperset(wanted):
            return layout, ""
    mixed = "7.1" if count > 6 else "5.1" if count > 2 else "stereo"
    mixed = mixed if mixed in allowed else allowed[-1]
    return mixed, f"{count} channels, {sound.layout}, mixed into {mixed}"


class AacEncoder:
    """Encodes decoded, timed sound as AAC, and fills gaps with silence.

    If `length` is given, it writes nothing after this many seconds.
    """

    def __init__(self, container: OutputContainer, target: AacFormat, length: float | None) -> None:
        self._rate, self._layout = target.rate, target.layout
        self._length = None if length is None else round(length * self._rate)
        stream = container.add_stream("aac", rate=self._rate, layout=self._layout)
        assert isinstance(stream, AudioStream)
        self._channels = len(stream.codec_context.layout.channels)
        stream.bit_rate = target.bit_rate * self._channels
        self._stream = stream
        self._resampler: AudioResampler | None = None
        self._source: tuple[str, str, int] | None = None
        self._shift = 0.0
        self._written = 0
        self._gap = False

    def mark_gap(self) -> None:
        """Mark missing sound of any length here, so that later sound keeps its time."""
        self._gap = True

    def encode(self, frame: AudioFrame, begin: float) -> Iterator[Packet[Any]]:
        """Encode sound that begins at `begin`, in seconds; yield the packets that are ready."""
        assert frame.pts is not None and frame.time_base is not None
        source = (frame.format.name, frame.layout.name, frame.sample_rate)
        if source != self._source:
            yield from self._resampled(None)
            self._source = source
            # Channels without positions are not mixed here; `_with_channels` uses the first ones.
            layout = self._layout if SoundFormat.of(frame).has_positions else frame.layout
            # Interleaved, because PyAV supports at most eight planes.
            self._resampler = AudioResampler("flt", layout, self._rate)
        self._shift = begin - float(frame.pts * frame.time_base)
        yield from self._resampled(frame)

    def finish(self) -> Iterator[Packet[Any]]:
        """Yield the remaining packets."""
        yield from self._resampled(None)
        yield from self._stream.encode(None)

    def _resampled(self, frame: AudioFrame | None) -> Iterator[Packet[Any]]:
        if self._resampler is None:
            return
        for one in self._resampler.resample(frame):
            assert one.pts is not None and one.time_base is not None
            begin = float(one.pts * one.time_base) + self._shift
            samples = np.asarray(one.to_ndarray(), np.float32).reshape(one.samples, -1)
            yield from self._at_time(self._with_channels(samples), begin)

    def _with_channels(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Convert samples (n, any channels) to the encoder's channels: all, or the first two."""
        if samples.shape[1] == self._channels:
            return samples
        converted = np.zeros((len(samples), self._channels), np.float32)
        kept = min(2, self._channels, samples.shape[1])
        converted[:, :kept] = samples[:, :kept]
        return converted

    def _at_time(self, samples: npt.NDArray[np.float32], begin: float) -> Iterator[Packet[Any]]:
        """Encode samples (n, channels) at their time, after silence or without their beginning."""
        missing = round(begin * self._rate) - self._written
        if abs(missing) <= _JITTER_SECONDS * self._rate and self._written and not self._gap:
            missing = 0
        self._gap = False
        while missing > 0:
            silent = min(missing, _SAMPLES_AT_ONCE)
            yield from self._encoded(np.zeros((silent, self._channels), np.float32))
            missing -= silent
        yield from self._encoded(samples[-missing:] if missing else samples)

    def _encoded(self, samples: npt.NDArray[np.float32]) -> Iterator[Packet[Any]]:
        if self._length is not None:
            samples = samples[: max(0, self._length - self._written)]
        if not len(samples):
            return
        interleaved = np.ascontiguousarray(samples).reshape(1, -1)
        frame = AudioFrame.from_ndarray(interleaved, "flt", self._layout)
        frame.sample_rate = self._rate
        frame.pts, frame.time_base = self._written, Fraction(1, self._rate)
        self._written += len(samples)
        yield from self._stream.encode(frame)
