"""Write an MP4, or an animated WebP for web pages, frame by frame and atomically."""

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
"""A frame that is shown for more ticks than this is written again, because MP4 and encoders count
ticks between frames some dozens apart in 32 bits. The second is the maximum video length in
seconds, so that a huge time in an untrusted file does not repeat a frame endlessly."""
_FEWEST_REORDERED = 3
"""With fewer frames, coding order is display order, and x265 sets no decoding times."""
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

    `crf` is the constant rate factor; higher values give lower quality and smaller files. None
    means high quality and medium speed. Raises BadInput on an unknown encoder, preset or crf.
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
                f"the crf of {self.codec} must be from {one.finest:g} to {one.coarsest:g}; "
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
                # The library accepts quarter steps of crf, FFmpeg's own option only whole ones.
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
    """Base of both writers: encodes frames, and repeats a frame that is shown for a long time."""

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
        """Ticks for which the latest frame is shown if it is the last one."""
        return self._period if self._ends is None else max(1, self._ends - self._last)

    def _add(self, frame: VideoFrame, ticks: int) -> None:
        self._show_until(ticks)
        self._encode(frame, ticks)
        self._shown = frame
        self.frames += 1

    def _show_until(self, ticks: int) -> None:
        """Repeat the latest frame as often as needed to show it until `ticks`."""
        if ticks * self._clock > _LONGEST_VIDEO:
            raise ZooError(f"{self._path} would last more than a year; write only a part of it")
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
            # Only the last frame's duration is used; others last until the next frame. Before the
            # last frame, this duration covers the rest of the film, which can be hours.
            packet.duration = min(self._last_duration, self._longest)
            with write_errors(self._path):
                self._container.mux(packet)
            self._mux_sound(_seconds(packet))

    def _mux_sound(self, until: float) -> None:
        """Write sound up to a time in seconds; this base class has no sound."""


class VideoWriter(_FrameWriter):
    """Writes the frames of an MP4 in order; made by `video_file`."""

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

        Times ascend from 0. Without times, frames follow at the frame rate; give a time for all
        frames or for none. Raises ValueError on a frame of another size or a time that does not
        ascend, and ZooError if the file cannot be written.
        """
        _check_frame(pixels, self.size)
        ticks = round(self.frames * TICKS / self.rate if time is None else time * TICKS)
        if ticks <= self._last:
            raise ValueError(f"times ascend from 0; not {ticks / TICKS} after {self._last / TICKS}")
        self._add(self._to_yuv(pixels), ticks)

    def close(self) -> None:
        """Close the files of the sound."""
        if self._sound is not None:
            self._sound.close()

    def _mux_sound(self, until: float) -> None:
        """Write sound up to a time in seconds, to interleave it with frames in the file."""
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
        raise ValueError(f"frames must be uint8 and {size}; not {pixels.shape}")


def _add_stream(
    container: OutputContainer,
    codec: str,
    size: FrameSize,
    rate: Fraction,
    options: dict[str, str],
) -> VideoStream:
    """Add a video stream; raises ZooError if this FFmpeg has no such encoder."""
    try:
        stream = container.add_stream(codec, rate=rate, options=options)
    except av.codec.codec.UnknownCodecError:
        raise ZooError(f"this build of FFmpeg has no encoder {codec}") from None
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = size
    return stream


def _opened(path: Path, temporary: Path, form: str, options: dict[str, str]) -> OutputContainer:
    """Open a temporary file to write a container; errors name `path`."""
    with write_errors(path):
        # An absolute path, because FFmpeg reads a name such as `concat:x` as a protocol.
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
        context.codec_tag = "hvc1"  # the tag that QuickTime requires for H.265
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
    The last frame is shown until `ends`, in seconds; None means one period of the rate. `tags` are
    MP4 tags: title, comment, artist, date, copyright and so on; chapters are in order. The format
    is yuv420p, BT.709. The file is written atomically: after an error or an interrupt, no file
    remains. Raises BadInput unless the name ends in `.mp4`, and ZooError if the file cannot be
    written.
    """
    if path.suffix.lower() != ".mp4":
        raise BadInput(f"a film is written as MP4: its name must end in .mp4; not {path.name}")
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
    """Fill gaps with untitled chapters, because in MP4 each begins where the previous ends."""
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
    """Raise CannotWrite, with the path and the reason, if FFmpeg fails."""
    try:
        yield
    except av.error.FFmpegError as error:
        raise CannotWrite(
            f"{path} cannot be written: {write_error(error.errno, error.strerror)}"
        ) from error


WEBP = ".webp"
_WEBP_CLOCK = Fraction(1, 1000)
_LARGEST = 16_383
"""Maximum pixels of a side in a WebP."""


class WebpWriter(_FrameWriter):
    """Writes the frames of an animated WebP in order; made by `webp_file`."""

    _clock, _longest = _WEBP_CLOCK, 4 * 3600 * 1000  # the format has 24 bits for milliseconds

    def __init__(
        self, container: OutputContainer, stream: VideoStream, path: Path, rate: Fraction | float
    ) -> None:
        self.size = FrameSize(stream.width, stream.height)
        super().__init__(container, stream, path, max(1, round(1000 / rate)))
        self._time = -1.0

    def write(self, pixels: Pixels, time: float) -> None:
        """Add a frame, uint8 (H, W, 3), RGB, shown from `time` on, in seconds.

        Times ascend from 0. The format counts in milliseconds. Of frames that begin in the same
        millisecond only the first is written, so that the film keeps its speed. Raises ValueError
        on a frame of another size or a time that does not ascend, and ZooError if the file cannot
        be written.
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
    """Write an animated WebP that repeats endlessly: lossy, without sound, tags or chapters.

    `size` is the size of the frames, `rate` the frames per second (the mean if the rate varies).
    Each frame is coded independently: if frames are coded as changes of the previous one, as in
    libwebp's own animations, blocks drift away from the film. The file is written atomically: after
    an error or an interrupt, no file remains. Raises BadInput unless the name ends in `.webp` and
    the sides are at most 16,383 pixels, and ZooError if the file cannot be written.
    """
    if path.suffix.lower() != WEBP:
        raise BadInput(f"the name of a WebP must end in .webp; not {path.name}")
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
    # BGRA, so that libwebp converts colours itself, with its own chroma filter.
    stream.pix_fmt = "bgra"
    stream.time_base = stream.codec_context.time_base = _WEBP_CLOCK
    return stream
