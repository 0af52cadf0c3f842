"""x264, x265 and SVT-AV1 through PyAV, at the same bytes per frame as the models' latents.

The bytes are those of the playable elementary stream (Annex B for H.264 and H.265, OBUs with
temporal delimiters for AV1), with parameter sets and headers but without a container.
docs/references.md lists the settings and the reasons for them.
"""

from __future__ import annotations

import io
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import av
import av.error
import numpy as np
import numpy.typing as npt
import torch
from av.bitstream import BitStreamFilterContext
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from zoo import CodedFilm, CodingTerms, Film, FilmCodec, FrameSize, ZooError, hookimpl
from zoo.base.encoder_priority import quiet_encoders, usual_priority
from zoo.base.time_code import rate_fraction

CLOSE_ENOUGH = 0.015
"""The search ends when the bytes differ from the target by at most this share."""
CODINGS = 9
"""Maximum codings per search; four is usual."""
ROUNDED_WELL = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
"""Without these flags, conversion to yuv420p and back loses 6 dB before any coding."""

NO_MATRIX = 0
"""ITU-T H.273's matrix code for RGB."""

Frame = npt.NDArray[np.uint8]


class VideoCodec(FilmCodec):
    """An FFmpeg encoder: it codes the film repeatedly until the stream has the right length.

    The quality (a constant rate factor: higher is coarser) is found by regula falsi on the
    logarithm of the stream's length, which is a nearly linear function of the quality.
    """

    encoder: ClassVar[str]
    finest: ClassVar[float] = 0.0
    coarsest: ClassVar[float]
    first: ClassVar[float]
    """The quality at which the search begins."""
    grid: ClassVar[float]
    """The encoder's smallest step in quality."""
    stripped: ClassVar[str | None] = None
    """A bitstream filter that removes data which no decoder needs."""

    def settings(self, quality: float, threads: int) -> dict[str, str]:
        """The encoder's options."""
        raise TypeError(f"{type(self).__name__} defines no settings(quality, threads)")

    def code(self, film: Film, terms: CodingTerms) -> CodedFilm:
        """Code the film at the quality whose stream is nearest to the requested bytes."""
        target = terms.bytes_per_frame * len(film)
        tried: dict[float, int] = {}
        best: tuple[bytes, float] | None = None
        quality: float | None = self.first
        while quality is not None and len(tried) < CODINGS:
            began = time.perf_counter()
            stream = self._coded(film, quality)
            seconds = time.perf_counter() - began
            tried[quality] = len(stream)
            terms.say(f"quality {quality:g}: {len(stream) / len(film):.1f} bytes per frame")
            if best is None or _apart(len(stream), target) < _apart(len(best[0]), target):
                best = stream, seconds
            quality = self._next(tried, target)
        assert best is not None
        return CodedFilm(*best, note=self._reason(tried, target, len(film)))

    def _next(self, tried: dict[float, int], target: float) -> float | None:
        """Choose the next quality to try; None if no other quality could be nearer."""
        if min(_apart(length, target) for length in tried.values()) <= CLOSE_ENOUGH:
            return None
        if min(tried.values()) > target or max(tried.values()) < target:
            # All tries are on one side of the target: go past it. Usually 6 more halve the bytes.
            edge = max(tried) if min(tried.values()) > target else min(tried)
            over = 6 * math.log2(tried[edge] / target)
            guess = edge + math.copysign(max(1.3 * abs(over), 2.0), over)
            guess = min(self.coarsest, max(self.finest, self._on_grid(guess)))
            return None if guess in tried else guess
        brackets = [
            (coarser - finer, finer, coarser)
            for finer, coarser in itertools.pairwise(sorted(tried))
            if tried[finer] > target > tried[coarser] and coarser - finer > 1.5 * self.grid
        ]
        if not brackets:
            return None
        width, finer, coarser = min(brackets)
        high, low = (math.log(tried[quality] / target) for quality in (finer, coarser))
        share = min(0.9, max(0.1, high / (high - low)))
        guess = self._on_grid(finer + share * width)
        return min(coarser - self.grid, max(finer + self.grid, guess))

    def _on_grid(self, quality: float) -> float:
        return round(quality / self.grid) * self.grid

    def _reason(self, tried: dict[float, int], target: float, frames: int) -> str:
        reached = min(tried.values(), key=lambda length: _apart(length, target))
        if _apart(reached, target) <= CLOSE_ENOUGH:
            return ""
        least, most = min(tried.values()), max(tried.values())
        if least > target and self.coarsest in tried:
            return f"{least / frames:.1f} bytes per frame is the least {self.name} gives here"
        if most < target and self.finest in tried:
            return f"{most / frames:.1f} bytes per frame is the most {self.name} gives here"
        return f"{reached / frames:.1f} bytes per frame is the nearest {self.name} came"

    def _coded(self, film: Film, quality: float) -> bytes:
        """Code the whole film at one quality, as an elementary stream."""
        quiet_encoders()
        written = io.BytesIO()
        padded = FrameSize(*(side + side % 2 for side in self.size))
        to_yuv = _converter(padded, "rgb24", "yuv420p")
        threads = torch.get_num_threads()
        try:
            with av.open(written, "w", format=self.suffix) as container:
                rate = rate_fraction(film.fps)
                options = self.settings(quality, threads)
                stream = container.add_stream(self.encoder, rate=rate, options=options)
                assert isinstance(stream, VideoStream)
                stream.width, stream.height = padded
                stream.pix_fmt = "yuv420p"
                stream.codec_context.thread_count = threads
                stream.codec_context.colorspace = Colorspace.ITU709
                stream.codec_context.color_range = ColorRange.MPEG
                stream.codec_context.color_primaries = ColorPrimaries.BT709
                stream.codec_context.color_trc = ColorTrc.IEC61966_2_1
                strip = None
                for number in range(len(film) + 1):
                    frame = None
                    if number < len(film):
                        frame = to_yuv(VideoFrame.from_ndarray(_even(film.store.array[number])))
                        frame.pts, frame.time_base = number, 1 / rate
                    with usual_priority():
                        packets = stream.encode(frame)
                    if self.stripped:
                        strip = strip or BitStreamFilterContext(self.stripped, stream)
                        packets = [kept for packet in packets for kept in strip.filter(packet)]
                    container.mux(packets)
        except av.codec.codec.UnknownCodecError:
            raise ZooError(f"this build of FFmpeg has no encoder {self.encoder}") from None
        except av.error.FFmpegError as error:
            raise ZooError(f"{self.encoder} refuses {film.name} at {self.size}: {error}") from error
        return written.getvalue()

    def decode(self, stream: bytes) -> Iterator[Frame]:
        """Decode the elementary stream; crop the padding that made the sides even."""
        to_rgb: Callable[[VideoFrame], VideoFrame] | None = None
        with av.open(io.BytesIO(stream), "r", format=self.suffix) as container:
            decoder = container.streams.video[0].codec_context
            decoder.thread_count = torch.get_num_threads()
            # The stream may be untrusted, from a shared run: refuse to decode larger frames.
            decoder.options = {"max_pixels": str((self.size.width + 16) * (self.size.height + 16))}
            for frame in container.decode(video=0):
                size = FrameSize(frame.width, frame.height)
                to_rgb = to_rgb or _converter(size, "yuv420p", "rgb24")
                pixels = np.asarray(to_rgb(frame).to_ndarray(), dtype=np.uint8)
                yield pixels[: self.size.height, : self.size.width]


class X264(VideoCodec):
    """H.264 by x264."""

    name = "x264"
    summary = "H.264 by x264, preset slow, the whole film at the models' bytes"
    suffix = "h264"
    encoder = "libx264"
    coarsest, first, grid = 51.0, 40.0, 0.05
    # Removes x264's list of its settings: 700 bytes, a third of a short clip's budget.
    stripped = "filter_units=remove_types=6"

    def settings(self, quality: float, threads: int) -> dict[str, str]:
        """Preset slow; key frames only at scene changes."""
        return {"preset": "slow", "crf": f"{quality:g}", "x264-params": "keyint=infinite"}


class X265(VideoCodec):
    """H.265 by x265."""

    name = "x265"
    summary = "H.265 by x265, preset slow, the whole film at the models' bytes"
    suffix = "hevc"
    encoder = "libx265"
    coarsest, first, grid = 51.0, 40.0, 0.05

    def settings(self, quality: float, threads: int) -> dict[str, str]:
        """Preset slow; key frames only at scene changes; no info text in the stream."""
        params = f"keyint=-1:info=0:log-level=none:pools=none:frame-threads={min(threads, 16)}"
        return {"preset": "slow", "crf": f"{quality:g}", "x265-params": params}


class SvtAv1(VideoCodec):
    """AV1 by SVT-AV1."""

    name = "svtav1"
    summary = "AV1 by SVT-AV1, preset 4, the whole film at the models' bytes"
    suffix = "obu"
    encoder = "libsvtav1"
    finest, coarsest, first, grid = 1.0, 70.0, 60.0, 0.25

    def settings(self, quality: float, threads: int) -> dict[str, str]:
        """Preset 4; one key frame. The library accepts quarter steps, FFmpeg's option does not."""
        return {"preset": "4", "svtav1-params": f"crf={quality:g}:keyint=-1:lp={min(threads, 6)}"}


def _apart(length: float, target: float) -> float:
    """How far a length is from the target, as a share of the target."""
    return abs(length / target - 1)


def _even(frame: Frame) -> Frame:
    """Repeat the last row or column of a frame (H, W, 3) whose sides are odd."""
    height, width, _ = frame.shape
    if height % 2 or width % 2:
        return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(frame)


def _converter(size: FrameSize, before: str, after: str) -> Callable[[VideoFrame], VideoFrame]:
    """Convert between rgb24 (full range) and yuv420p (BT.709, limited range) at one size."""
    graph = Graph()
    known = "gbr:range=pc" if before == "rgb24" else "bt709:range=tv"
    source = graph.add(
        "buffer",
        f"video_size={size}:pix_fmt={before}:time_base=1/1:pixel_aspect=1/1:colorspace={known}",
    )
    matrix = "out_color_matrix=bt709:out_range=limited"
    if before == "yuv420p":
        matrix = "in_color_matrix=bt709:in_range=limited"
    scale = graph.add("scale", f"{matrix}:flags={ROUNDED_WELL}")
    wanted = graph.add("format", f"pix_fmts={after}")
    sink = graph.add("buffersink")
    source.link_to(scale)
    scale.link_to(wanted)
    wanted.link_to(sink)
    graph.configure()

    def convert(frame: VideoFrame, graph: Graph = graph) -> VideoFrame:
        # Refers to the graph here, because its filters do not keep it alive.
        if before == "rgb24":
            frame.colorspace, frame.color_range = NO_MATRIX, ColorRange.JPEG
        source.push(frame)
        converted = sink.pull()
        assert isinstance(converted, VideoFrame)
        return converted

    return convert


@hookimpl
def zoo_references() -> Sequence[type[FilmCodec]]:
    """Offer the three codecs."""
    return [X264, X265, SvtAv1]
