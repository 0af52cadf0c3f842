"""Write an MP4, or an animated WebP for web pages, frame by frame, as a whole or not at all."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import av
import av.codec.codec
import av.error
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from zoo.base.atomic_files import atomic_write
from zoo.base.encoder_priority import quiet_encoders, usual_priority
from zoo.base.errors import BadInput, CannotWrite, ZooError, write_error
from zoo.base.frame_size import FrameSize
from zoo.base.time_code import TICKS, rate_fraction
from zoo.reconstruct.frame_conversion import Pixels, ToYuv

if TYPE_CHECKING:
    from av.container.core import Chapter as AvChapter

_CLOCK = Fraction(1, TICKS)
_LONGEST_SHOWN, _LONGEST_VIDEO = 300 * TICKS, 400 * 86_400
"""A frame that is shown for longer is written again: MP4 and encoders count ticks in 32 bits, from
a frame to one that was coded some dozens of frames before. And the longest video, in seconds, so
that times of any size in an untrusted file are not repeated for ever."""
_FEWEST_REORDERED = 3
"""Fewer frames are encoded in display order; x265 gives them no decoding times."""
_X26X = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower",
         "veryslow", "placebo")  # fmt: skip


@dataclass(frozen=True)
class _Encoder:
    presets: Sequence[str]
    preset: str
    crf: float
    finest: float
    coarsest: float


@dataclass(frozen=True)
class EncoderSettings:
    """One of FFmpeg's video encoders, with its quality and speed.

    `crf` is the constant rate factor: higher is coarser and smaller. None means high quality, and
    the encoder's medium speed. Raises BadInput on an unknown encoder, preset or crf.
    """

    ENCODERS: ClassVar[Mapping[str, _Encoder]] = {
        # Below 1 x264 is lossless, in a profile that few players support.
        "libx264": _Encoder(_X26X, "medium", 18, 1, 51),
        "libx265": _Encoder(_X26X, "medium", 20, 1, 51),
        "libsvtav1": _Encoder([str(n) for n in range(14)], "8", 24, 1, 63),
    }

    codec: str = "libx264"
    crf: float | None = None
    preset: str | None = None

    def __post_init__(self) -> None:
        if self.codec not in self.ENCODERS:
            raise BadInput(
                f"no codec is called {self.codec!r} here; there are: {', '.join(self.ENCODERS)}"
            )
        one = self._encoder
        if self.crf is not None and not one.finest <= self.crf <= one.coarsest:
            raise BadInput(
                f"the crf of {self.codec} is from {one.finest:g} to {one.coarsest:g}; "
                f"not {self.crf:g}"
            )
        if self.preset is not None and self.preset not in one.presets:
            raise BadInput(
                f"{self.codec} has no preset {self.preset!r}; it has: {', '.join(one.presets)}"
            )

    @property
    def _encoder(self) -> _Encoder:
        return self.ENCODERS[self.codec]

    @property
    def options(self) -> dict[str, str]:
        """Options for FFmpeg."""
        crf = f"{self._encoder.crf if self.crf is None else self.crf:g}"
        options = {"preset": self.preset or self._encoder.preset}
        match self.codec:
            case "libx264":
                return {**options, "crf": crf, "profile": "high"}
            case "libx265":
                return {**options, "crf": crf, "x265-params": "log-level=error"}
            case _:
                # The library takes quarters of a crf step, FFmpeg's own option whole ones.
                return {**options, "svtav1-params": f"crf={crf}"}


@dataclass(frozen=True)
class Chapter:
    """A chapter of the film, in seconds from its first frame or sound."""

    start: float
    stop: float
    title: str


class SoundTrack(Protocol):
    """A track of sound for the video."""

    def into(self, container: OutputContainer) -> Generator[Packet[Any], None, None]:
        """Add a stream to the container at once; return its packets in order, timed from 0."""


class _FrameWriter:
    """What both writers do: encode frames, and write one that is shown for long again and again."""

    _clock: ClassVar[Fraction]
    _longest: ClassVar[int]

    def __init__(
        self, container: OutputContainer, stream: VideoStream, path: Path, period: int
    ) -> None:
        self.frames = 0
        self._container, self._stream, self._path = container, stream, path
        self._last, self._written, self._period = -1, 0, period
        self._ends: int | None = None
        self._shown: VideoFrame | None = None

    @property
    def seconds(self) -> float:
        """The end of the last frame."""
        return float((self._last + self._last_duration) * self._clock) if self.frames else 0.0

    @property
    def _last_duration(self) -> int:
        """Ticks for which the latest frame is shown, if no other follows."""
        return self._period if self._ends is None else max(1, self._ends - self._last)

    def _add(self, frame: VideoFrame, ticks: int) -> None:
        self._show_until(ticks)
        self._encode(frame, ticks)
        self._shown = frame
        self.frames += 1

    def _show_until(self, ticks: int) -> None:
        """Write the latest frame again, as often as it takes to show it until then."""
        if ticks * self._clock > _LONGEST_VIDEO:
            raise ZooError(f"{self._path} would last for more than a year; write a part of it")
        while self._shown is not None and ticks - self._last > self._longest:
            self._encode(self._shown, self._last + self._longest)

    def _encode(self, frame: VideoFrame, ticks: int) -> None:
        frame.pts, frame.time_base = ticks, self._clock
        self._last = ticks
        self._written += 1
        with write_errors(self._path), usual_priority():
            packets = self._stream.encode(frame)
        self._mux(packets)

    def finish(self) -> None:
        """Write the encoder's last frames, the rest of the sound, and the index."""
        self._ends = self._last + self._last_duration
        self._show_until(self._ends)
        with write_errors(self._path), usual_priority():
            packets = self._stream.encode(None)
        if self._written < _FEWEST_REORDERED:
            for packet in packets:
                packet.dts = packet.pts
        self._mux(packets)
        self._mux_sound(math.inf)
        with write_errors(self._path):
            self._container.close()

    def _mux(self, packets: Sequence[Packet[Any]]) -> None:
        for packet in packets:
            # Only the last frame's duration counts; others last until the next frame. Before the
            # last frame it is that of the rest of the film, which may be hours.
            packet.duration = min(self._last_duration, self._longest)
            with write_errors(self._path):
                self._container.mux(packet)
            self._mux_sound(_seconds(packet))

    def _mux_sound(self, until: float) -> None:
        """Write sound up to a time, in seconds, where there is some."""


class VideoWriter(_FrameWriter):
    """Takes frames one after another; made by `video_file`."""

    _clock, _longest = _CLOCK, _LONGEST_SHOWN

    def __init__(
        self,
        container: OutputContainer,
        size: FrameSize,
        rate: Fraction,
        settings: EncoderSettings,
        sound: SoundTrack | None,
        path: Path,
        ends: float | None,
    ) -> None:
        self.size, self.rate = size, rate
        self._to_yuv = ToYuv(size)
        stream = _video_stream(container, self._to_yuv.even, rate, settings)
        super().__init__(container, stream, path, round(TICKS / rate))
        self._ends = None if ends is None else round(ends * TICKS)
        self._sound = sound.into(container) if sound else None
        self._waiting: Packet[Any] | None = None

    def write(self, pixels: Pixels, time: float | None = None) -> None:
        """Add a frame, uint8 (H, W, 3), RGB, full range, shown from `time` on, in seconds.

        Times ascend from 0. Without times frames follow at the frame rate; either all have a time
        or none has. Raises ValueError on a frame of another size or a time that does not ascend,
        and ZooError where the file cannot be written.
        """
        _check_frame(pixels, self.size)
        ticks = round(self.frames * TICKS / self.rate if time is None else time * TICKS)
        if ticks <= self._last:
            raise ValueError(f"times ascend from 0; not {ticks / TICKS} after {self._last / TICKS}")
        self._add(self._to_yuv(pixels), ticks)

    def close(self) -> None:
        """Close the sound's files."""
        if self._sound is not None:
            self._sound.close()

    def _mux_sound(self, until: float) -> None:
        """Write sound up to a time, so that sound and frames are interleaved in the file."""
        while self._sound is not None:
            packet = self._waiting or next(self._sound, None)
            self._waiting = None
            if packet is None:
                self._sound = None
            elif _seconds(packet) > until:
                self._waiting = packet
                return
            else:
                with write_errors(self._path):
                    self._container.mux(packet)


def _seconds(packet: Packet[Any]) -> float:
    assert packet.dts is not None and packet.time_base is not None
    return float(packet.dts * packet.time_base)


def _check_frame(pixels: Pixels, size: FrameSize) -> None:
    if pixels.shape != (size.height, size.width, 3) or pixels.dtype != np.uint8:
        raise ValueError(f"frames are uint8 and {size}; not {pixels.shape}")


def _add_stream(
    container: OutputContainer,
    codec: str,
    size: FrameSize,
    rate: Fraction,
    options: dict[str, str],
) -> VideoStream:
    """Add a stream of a size; raises ZooError if this FFmpeg has no such encoder."""
    try:
        stream = container.add_stream(codec, rate=rate, options=options)
    except av.codec.codec.UnknownCodecError:
        raise ZooError(f"this build of FFmpeg has no encoder {codec}") from None
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = size
    return stream


def _opened(path: Path, temporary: Path, form: str, options: dict[str, str]) -> OutputContainer:
    """Open a temporary file to write a container into; errors are of `path`."""
    with write_errors(path):
        # An absolute path: FFmpeg takes a name such as `concat:x` for a protocol.
        return av.open(f"file:{temporary.absolute()}", "w", format=form, container_options=options)


def _video_stream(
    container: OutputContainer, size: FrameSize, rate: Fraction, settings: EncoderSettings
) -> VideoStream:
    quiet_encoders()
    stream = _add_stream(container, settings.codec, size, rate, settings.options)
    stream.pix_fmt = "yuv420p"
    stream.time_base = _CLOCK
    context = stream.codec_context
    context.time_base = _CLOCK
    context.thread_count = 0
    context.colorspace = Colorspace.ITU709
    context.color_range = ColorRange.MPEG
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709
    if settings.codec == "libx265":
        context.codec_tag = "hvc1"  # by which QuickTime recognises H.265
    return stream


@contextmanager
def video_file(
    path: Path,
    size: FrameSize,
    rate: Fraction | float,
    *,
    settings: EncoderSettings | None = None,
    tags: Mapping[str, str] | None = None,
    chapters: Sequence[Chapter] = (),
    sound: SoundTrack | None = None,
    ends: float | None = None,
) -> Iterator[VideoWriter]:
    """Write an MP4 that plays everywhere and starts playing before it is fully loaded.

    `size` is the size of the frames, `rate` the frames per second (the mean if the rate varies).
    The last frame is shown until `ends`, in seconds; None means for one period of the rate. `tags`
    are those of MP4: title, comment, artist, date, copyright and so on; chapters are in order. The
    file is yuv420p, BT.709. It is written atomically: after an error or an interrupt nothing is
    left. Raises BadInput unless the name ends in `.mp4`, and ZooError where the file cannot be
    written.
    """
    if path.suffix.lower() != ".mp4":
        raise BadInput(f"a film is written as MP4: a name that ends in .mp4; not {path.name}")
    rate = rate_fraction(rate)
    with atomic_write(path) as temporary:
        opened = _opened(path, temporary, "mp4", {"movflags": "+faststart"})
        try:
            opened.metadata.update(tags or {})
            gapless = _without_gaps(chapters)
            opened.set_chapters([_as_av(number, one) for number, one in enumerate(gapless)])
            with write_errors(path):
                writer = VideoWriter(
                    opened, size, rate, settings or EncoderSettings(), sound, path, ends
                )
            try:
                yield writer
                writer.finish()
            finally:
                writer.close()
        finally:
            with write_errors(path):
                opened.close()


def _without_gaps(chapters: Sequence[Chapter]) -> list[Chapter]:
    """Fill gaps with untitled chapters: in MP4 each begins where the one before ends."""
    gapless: list[Chapter] = []
    ends = 0.0
    for one in chapters:
        if one.start - ends > 1 / TICKS:
            gapless.append(Chapter(ends, one.start, ""))
        gapless.append(one)
        ends = one.stop
    return gapless


def _as_av(number: int, chapter: Chapter) -> AvChapter:
    return {
        "id": number,
        "start": round(chapter.start * TICKS),
        "end": round(chapter.stop * TICKS),
        "time_base": _CLOCK,
        "metadata": {"title": chapter.title},
    }


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Raise CannotWrite, with the path and the reason, where FFmpeg fails."""
    try:
        yield
    except av.error.FFmpegError as error:
        raise CannotWrite(
            f"{path} cannot be written: {write_error(error.errno, error.strerror)}"
        ) from error


WEBP = ".webp"
_WEBP_CLOCK = Fraction(1, 1000)
_LARGEST = 16_383
"""Pixels of a side; the format's limit."""


class WebpWriter(_FrameWriter):
    """Takes frames one after another; made by `webp_file`."""

    _clock, _longest = _WEBP_CLOCK, 4 * 3600 * 1000  # the format has 24 bits for milliseconds

    def __init__(
        self, container: OutputContainer, stream: VideoStream, path: Path, rate: Fraction | float
    ) -> None:
        self.size = FrameSize(stream.width, stream.height)
        super().__init__(container, stream, path, max(1, round(1000 / rate)))
        self._time = -1.0

    def write(self, pixels: Pixels, time: float) -> None:
        """Add a frame, uint8 (H, W, 3), RGB, shown from `time` on, in seconds.

        Times ascend from 0. The format counts in milliseconds: of the frames that begin in the same
        one, only the first is written, so that the film keeps its speed. Raises ValueError on a
        frame of another size or a time that does not ascend, and ZooError where the file cannot be
        written.
        """
        _check_frame(pixels, self.size)
        if time < 0 or time <= self._time:
            raise ValueError(f"times ascend from 0; not {time} after {self._time}")
        self._time, stamp = time, round(time * 1000)
        if stamp == self._last:
            return
        rgb = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        self._add(rgb.reformat(format="bgra"), stamp)


@contextmanager
def webp_file(path: Path, size: FrameSize, rate: Fraction | float) -> Iterator[WebpWriter]:
    """Write an animated WebP that repeats for ever: lossy, without sound, tags or chapters.

    `size` is the size of the frames, `rate` the frames per second (the mean if the rate varies).
    Each frame is coded alone: as changes of the frame before, in the manner of libwebp's own
    animations, frames drift away from the film in blocks. The file is written atomically: after an
    error or an interrupt nothing is left. Raises BadInput unless the name ends in `.webp` and the
    sides are at most 16,383 pixels, and ZooError where the file cannot be written.
    """
    if path.suffix.lower() != WEBP:
        raise BadInput(f"a WebP has a name that ends in .webp; not {path.name}")
    if max(size) > _LARGEST:
        raise BadInput(f"a WebP is at most {_LARGEST:,} pixels wide and high; not {size}")
    with atomic_write(path) as temporary:
        opened = _opened(path, temporary, "webp", {"loop": "0"})
        try:
            yield (writer := WebpWriter(opened, _webp_stream(opened, size, rate), path, rate))
            writer.finish()
        finally:
            with write_errors(path):
                opened.close()


def _webp_stream(
    container: OutputContainer, size: FrameSize, rate: Fraction | float
) -> VideoStream:
    options = {"quality": "60", "compression_level": "6"}
    stream = _add_stream(container, "libwebp", size, rate_fraction(rate), options)
    # Colours are converted by libwebp itself, with its own filter for chroma.
    stream.pix_fmt = "bgra"
    stream.time_base = stream.codec_context.time_base = _WEBP_CLOCK
    return stream
