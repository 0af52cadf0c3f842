"""An MP4 written frame by frame, whole or not at all."""

from __future__ import annotations

import math
import os
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
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from zoo.base.environment import usual_priority
from zoo.base.errors import BadInput, CannotWrite, ZooError, reason
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import written_aside
from zoo.reconstruct.video.frame_conversion import Pixels, ToYuv

if TYPE_CHECKING:
    from av.container.core import Chapter as AvChapter

TICKS = 120_000
"""Ticks a second of the clock in the file: every usual rate, also 24000/1001, is whole in it."""
_CLOCK = Fraction(1, TICKS)
_FEWEST_ORDERED = 3
"""Fewer pictures are coded in the order they are shown; x265 gives them no times to decode at."""
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
class Coding:
    """How pictures are coded: one of FFmpeg's encoders, its quality and its speed.

    `crf` is a constant rate factor: higher is coarser and smaller. None means a quality at which
    little is lost, and the encoder's middle speed. Raises BadInput on what it does not have.
    """

    ENCODERS: ClassVar[Mapping[str, _Encoder]] = {
        # Below 1 x264 codes without loss, in a profile that few players have.
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
        """What the encoder is told."""
        crf = f"{self._encoder.crf if self.crf is None else self.crf:g}"
        options = {"preset": self.preset or self._encoder.preset}
        match self.codec:
            case "libx264":
                return {**options, "crf": crf, "profile": "high"}
            case "libx265":
                return {**options, "crf": crf, "x265-params": "log-level=error"}
            case _:
                # The library takes quarters of a step, FFmpeg's own option whole ones.
                return {**options, "svtav1-params": f"crf={crf}"}


@dataclass(frozen=True)
class Chapter:
    """A named stretch of the film, in seconds from its first picture or sound."""

    start: float
    stop: float
    title: str


class SoundTrack(Protocol):
    """Sound that goes beside the pictures."""

    def into(self, container: OutputContainer) -> Generator[Packet[Any], None, None]:
        """Add a stream to the container at once; return its packets in order, timed from 0."""


class VideoWriter:
    """Takes pictures one after another; `video_file` makes it."""

    def __init__(
        self,
        container: OutputContainer,
        size: FrameSize,
        rate: Fraction,
        coding: Coding,
        sound: SoundTrack | None,
        path: Path,
        ends: float | None,
    ) -> None:
        self.size, self.rate = size, rate
        self._ends = None if ends is None else round(ends * TICKS)
        self._path = path
        self.frames = 0
        """Pictures taken so far."""
        self._container = container
        self._to_yuv = ToYuv(size)
        self._period = round(TICKS / rate)
        self._last = -1
        self._stream = _video_stream(container, self._to_yuv.even, rate, coding)
        self._sound = sound.into(container) if sound else None
        self._waiting: Packet[Any] | None = None

    @property
    def seconds(self) -> float:
        """When the last picture's time is over."""
        return (self._last + self._longest) / TICKS if self.frames else 0.0

    @property
    def _longest(self) -> int:
        """Ticks for which the picture that was taken last is shown, if no other follows."""
        return self._period if self._ends is None else max(1, self._ends - self._last)

    def write(self, pixels: Pixels, time: float | None = None) -> None:
        """Add a picture, uint8 (H, W, 3), RGB, full range, shown from `time` on, in seconds.

        Times ascend from 0. Without times pictures follow one another at the rate; either all have
        one or none has. Raises ValueError on a picture of another size or a time that does not
        ascend, and ZooError where the file cannot be written.
        """
        if pixels.shape != (self.size.height, self.size.width, 3) or pixels.dtype != np.uint8:
            raise ValueError(f"pictures are uint8 and {self.size}; not {pixels.shape}")
        ticks = round(self.frames * TICKS / self.rate if time is None else time * TICKS)
        if ticks <= self._last:
            raise ValueError(f"times ascend from 0; not {ticks / TICKS} after {self._last / TICKS}")
        frame = self._to_yuv(pixels)
        frame.pts, frame.time_base = ticks, _CLOCK
        self._last = ticks
        self.frames += 1
        with _told(self._path), usual_priority():
            packets = self._stream.encode(frame)
        self._mux(packets)

    def finish(self) -> None:
        """Write what the encoder still holds, the rest of the sound, and the index."""
        with _told(self._path), usual_priority():
            last = self._stream.encode(None)
        if self.frames < _FEWEST_ORDERED:
            for packet in last:
                packet.dts = packet.pts
        self._mux(last)
        self._mux_sound(math.inf)
        with _told(self._path):
            self._container.close()

    def close(self) -> None:
        """Let go of the sound's files."""
        if self._sound is not None:
            self._sound.close()

    def _mux(self, packets: Sequence[Packet[Any]]) -> None:
        for packet in packets:
            # Only the last one's counts; the others last until the next.
            packet.duration = self._longest
            with _told(self._path):
                self._container.mux(packet)
            self._mux_sound(_seconds(packet))

    def _mux_sound(self, until: float) -> None:
        """Write sound up to a moment: what is played together lies together in the file."""
        while self._sound is not None:
            packet = self._waiting or next(self._sound, None)
            self._waiting = None
            if packet is None:
                self._sound = None
            elif _seconds(packet) > until:
                self._waiting = packet
                return
            else:
                with _told(self._path):
                    self._container.mux(packet)


def _seconds(packet: Packet[Any]) -> float:
    assert packet.dts is not None and packet.time_base is not None
    return float(packet.dts * packet.time_base)


def _video_stream(
    container: OutputContainer, size: FrameSize, rate: Fraction, coding: Coding
) -> VideoStream:
    # SVT-AV1 tells its settings on standard error; errors stay.
    os.environ.setdefault("SVT_LOG", "1")
    try:
        stream = container.add_stream(coding.codec, rate=rate, options=coding.options)
    except av.codec.codec.UnknownCodecError:
        raise ZooError(f"this build of FFmpeg has no encoder {coding.codec}") from None
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.time_base = _CLOCK
    context = stream.codec_context
    context.time_base = _CLOCK
    context.thread_count = 0
    context.colorspace = Colorspace.ITU709
    context.color_range = ColorRange.MPEG
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709
    if coding.codec == "libx265":
        # What QuickTime knows H.265 by.
        context.codec_tag = "hvc1"
    return stream


@contextmanager
def video_file(
    path: Path,
    size: FrameSize,
    rate: Fraction | float,
    *,
    coding: Coding | None = None,
    tags: Mapping[str, str] | None = None,
    chapters: Sequence[Chapter] = (),
    sound: SoundTrack | None = None,
    ends: float | None = None,
) -> Iterator[VideoWriter]:
    """Write an MP4 that plays everywhere and begins to play before it is all there.

    `size` is that of the pictures to come, `rate` how many there are a second (the mean where it
    varies). The last picture is shown until `ends`, in seconds; None is for one period of the rate.
    `tags` are those MP4 knows: title, comment, artist, date, copyright and so on; chapters
    are in order. The file is yuv420p, BT.709. It is written aside: after an error or an interrupt
    nothing is left. Raises BadInput unless the name ends in `.mp4`, and ZooError where the file
    cannot be written.
    """
    if path.suffix.lower() != ".mp4":
        raise BadInput(f"a film is written as MP4: a name that ends in .mp4; not {path.name}")
    rate = Fraction(rate).limit_denominator(1001)
    with written_aside(path) as aside:
        options = {"movflags": "+faststart"}
        with _told(path):
            # An absolute path: a name such as `concat:x` is a file's name here, no protocol.
            opened = av.open(
                f"file:{aside.absolute()}", "w", format="mp4", container_options=options
            )
        try:
            opened.metadata.update(tags or {})
            whole = _without_holes(chapters)
            opened.set_chapters([_as_av(number, one) for number, one in enumerate(whole)])
            with _told(path):
                writer = VideoWriter(opened, size, rate, coding or Coding(), sound, path, ends)
            try:
                yield writer
                writer.finish()
            finally:
                writer.close()
        finally:
            with _told(path):
                opened.close()


def _without_holes(chapters: Sequence[Chapter]) -> list[Chapter]:
    """Chapters with nameless ones between them: in MP4 each begins where the one before ends."""
    whole: list[Chapter] = []
    ends = 0.0
    for one in chapters:
        if one.start - ends > 1 / TICKS:
            whole.append(Chapter(ends, one.start, ""))
        whole.append(one)
        ends = one.stop
    return whole


def _as_av(number: int, chapter: Chapter) -> AvChapter:
    return {
        "id": number,
        "start": round(chapter.start * TICKS),
        "end": round(chapter.stop * TICKS),
        "time_base": _CLOCK,
        "metadata": {"title": chapter.title},
    }


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except av.error.FFmpegError as error:
        raise CannotWrite(
            f"{path} cannot be written: {reason(error.errno, error.strerror)}"
        ) from error
