"""Write an animated WebP, a moving picture for web pages, as a whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import av.codec.codec
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from zoo.base.atomic_files import atomic_write
from zoo.base.errors import BadInput, ZooError
from zoo.base.frame_size import FrameSize
from zoo.reconstruct.video.frame_conversion import Pixels
from zoo.reconstruct.video.mp4_writer import write_errors

WEBP = ".webp"
_CLOCK = Fraction(1, 1000)
_QUALITY = 60
_LARGEST = 16_383
"""Pixels of a side; the format's limit."""


class WebpWriter:
    """Takes frames one after another; made by `webp_file`."""

    def __init__(
        self, container: OutputContainer, stream: VideoStream, path: Path, rate: Fraction | float
    ) -> None:
        self.size = FrameSize(stream.width, stream.height)
        self.frames = 0
        self._container, self._stream, self._path = container, stream, path
        self._period = 1 / float(rate)
        self._time, self._last = -1.0, -1

    @property
    def seconds(self) -> float:
        """The end of the last frame, which is shown for as long as the others on average.

        A frame that is alone is shown for one period of the rate.
        """
        if self.frames < 2:
            return self.frames * (self._last / 1000 + self._period)
        return self._last / 1000 * self.frames / (self.frames - 1)

    def write(self, pixels: Pixels, time: float) -> None:
        """Add a frame, uint8 (H, W, 3), RGB, shown from `time` on, in seconds.

        Times ascend from 0. The format counts in milliseconds: of the frames that begin in the same
        one, only the first is written, so that the film keeps its speed. Raises ValueError on a
        frame of another size or a time that does not ascend, and ZooError where the file cannot be
        written.
        """
        if pixels.shape != (self.size.height, self.size.width, 3) or pixels.dtype != np.uint8:
            raise ValueError(f"frames are uint8 and {self.size}; not {pixels.shape}")
        if time < 0 or time <= self._time:
            raise ValueError(f"times ascend from 0; not {time} after {self._time}")
        self._time, stamp = time, round(time * 1000)
        if stamp == self._last:
            return
        rgb = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame = rgb.reformat(format="bgra")
        frame.pts, frame.time_base = stamp, _CLOCK
        self._encode(frame)
        self._last = stamp
        self.frames += 1

    def finish(self) -> None:
        """Write the last frame."""
        self._encode(None)
        with write_errors(self._path):
            self._container.close()

    def _encode(self, frame: VideoFrame | None) -> None:
        with write_errors(self._path):
            self._container.mux(self._stream.encode(frame))


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
        with write_errors(path):
            opened = av.open(
                f"file:{temporary.absolute()}", "w", format="webp", container_options={"loop": "0"}
            )
        try:
            yield (writer := WebpWriter(opened, _stream(opened, size, rate), path, rate))
            writer.finish()
        finally:
            with write_errors(path):
                opened.close()


def _stream(container: OutputContainer, size: FrameSize, rate: Fraction | float) -> VideoStream:
    options = {"quality": str(_QUALITY), "compression_level": "6"}
    try:
        stream = container.add_stream(
            "libwebp", rate=Fraction(rate).limit_denominator(1001), options=options
        )
    except av.codec.codec.UnknownCodecError:
        raise ZooError("this build of FFmpeg has no encoder libwebp") from None
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = size
    # Colours are converted by libwebp itself, with its own filter for chroma.
    stream.pix_fmt = "bgra"
    stream.time_base = stream.codec_context.time_base = _CLOCK
    return stream
