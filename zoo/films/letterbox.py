"""Find black bars: rows and columns at the edges that stay dark through the whole film.

One dark scene proves nothing, so rows and columns are assessed over frames from the whole film, and
only frames that show something count. A dark background is not a bar either: bars lie on both
sides, and end in a straight line.
"""

from __future__ import annotations

import itertools
import math
from typing import TypeAlias

import av.error
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from zoo.films.colour import Colour, has_alpha, without_colour_tags
from zoo.films.frame_store import Bars
from zoo.films.geometry import ContainerGeometry
from zoo.films.video_file import VideoFile

_Light: TypeAlias = npt.NDArray[np.float32]
_Indices: TypeAlias = npt.NDArray[np.int64]

# A row is lit in a frame if this share of it is brighter than black by this much of 255:
# subtitles that stand in a bar cover less, noise is weaker.
_LIT_SHARE, _LIT_LEVEL = 0.3, 10
# A row is part of the picture if it is lit in over this share of the frames that show anything.
_PICTURE_SHARE = 0.01
# Bars are accepted only if the picture between them is at least this wide and high.
_SMALLEST = 32
# Bars lie on both sides and are about equal: one may be larger by this share of the other, or by
# this many lines. What is dark on one side alone is background, unless it is at most this share of
# the frame: tape and capture cards leave such edges.
_UNEVEN_SHARE, _UNEVEN_LINES, _EDGE_SHARE = 0.25, 4, 0.03
# The picture ends at once at a bar: the lines beyond have less than this share of the light of
# the lines within. A subject before a dark background fades line by line.
_STEP_SHARE = 0.3
# With fewer frames than this that show anything, no bars are found.
_FEWEST = 3
# With fewer key frames than the first number, frames after them are added, in steps of the second.
_FEW, _STEP = 8, 2
# Pixel formats whose first plane is brightness, and those of them that use the upper bits.
_LUMA_FIRST = ("yuv", "yuvj", "gray", "nv12", "nv21", "nv16", "nv24", "p01", "p21", "p41")
_HIGH_BITS = ("p01", "p21", "p41")
_POINTS = 96
# The probe samples at most this many places, and no closer than this, in seconds.
_SEEKS, _SEEK_SECONDS = 120, 1.0


class BarFinder:
    """Collects, frame by frame, which rows and columns hold picture.

    All frames have one size; those of another size, after a change in mid-file, are skipped.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.shown = 0
        """Frames that showed anything."""
        self._rows = np.zeros(height, dtype=np.int64)
        self._columns = np.zeros(width, dtype=np.int64)
        self._row_light = np.zeros(height)
        self._column_light = np.zeros(width)

    def add(self, frame: VideoFrame) -> None:
        """Count one frame."""
        if (frame.width, frame.height) != (self.width, self.height):
            return
        some_columns = _lightness(frame, slice(None), _spread(self.width))
        some_rows = _lightness(frame, _spread(self.height), slice(None)).T
        rows, columns = _lit(some_columns), _lit(some_rows)
        if not rows.any() or not columns.any():
            return
        self.shown += 1
        self._rows += rows
        self._columns += columns
        self._row_light += some_columns.mean(axis=1)
        self._column_light += some_rows.mean(axis=1)

    def bars(self) -> Bars:
        """Return the bars that all frames so far have; none if there are too few frames."""
        if self.shown < _FEWEST:
            return Bars()
        needed = max(1.0, _PICTURE_SHARE * self.shown)
        top, bottom = _edges(self._rows > needed, self._row_light)
        left, right = _edges(self._columns > needed, self._column_light)
        if self.width - left - right < _SMALLEST or self.height - top - bottom < _SMALLEST:
            return Bars()
        return Bars(left=left, top=top, right=right, bottom=bottom)


def search_bars(source: VideoFile, finder: BarFinder, start: float, stop: float) -> None:
    """Add frames spread from `start` to `stop`, seconds of the file's own time, to the finder.

    This is a first estimate from key frames and, if they are few, some frames after them. The
    ingest adds frames from the whole film.
    """
    stream = source.stream
    if stream.time_base is None:
        return
    geometry = ContainerGeometry(source)
    places: dict[int, None] = {}
    seeks = max(1, min(_SEEKS, round((stop - start) / _SEEK_SECONDS)))
    for seek in range(seeks):
        time = start + (stop - start) * (seek + 0.5) / seeks + source.clock_start
        try:
            source.seek(time)
            packet = next(source.container.demux(stream))
        except (av.error.FFmpegError, StopIteration):
            # A place that cannot be reached is skipped; the ingest counts damage.
            continue
        if packet.pts is not None:
            places[packet.pts] = None
    from_each = math.ceil(_FEW / max(1, len(places)))
    for place in places:
        try:
            source.container.seek(place, stream=stream, backward=True)
            frames = source.container.decode(stream)
            for frame in itertools.islice(frames, 0, (from_each - 1) * _STEP + 1, _STEP):
                finder.add(geometry.apply(frame))
        except av.error.FFmpegError:
            # As above.
            continue


def _lightness(frame: VideoFrame, rows: slice | _Indices, columns: slice | _Indices) -> _Light:
    """Return brightness at some rows and columns, black 0, white 255: float32 (rows, columns)."""
    name = frame.format.name
    if has_alpha(frame.format):
        # Transparent pixels are black.
        with without_colour_tags(frame):
            rgba = np.asarray(frame.reformat(format="rgba").to_ndarray())
        chosen = rgba[rows][:, columns].astype(np.float32)
        light: _Light = chosen[..., :3].mean(axis=-1) * chosen[..., 3] / np.float32(255)
        return light
    depth = frame.format.components[0].bits
    top = (1 << depth) - 1
    if name.startswith(_LUMA_FIRST) and not name.endswith("be"):
        plane = frame.planes[0]
        kind = np.dtype(np.uint8 if depth == 8 else np.uint16)
        memory = np.frombuffer(memoryview(plane), dtype=kind)
        lines = memory.reshape(-1, plane.line_size // kind.itemsize)
        chosen = lines[: frame.height, : frame.width][rows][:, columns].astype(np.float32)
        if name.startswith(_HIGH_BITS):
            chosen /= 1 << (16 - depth)
    else:
        with without_colour_tags(frame):
            grey = frame.reformat(format="gray", dst_color_range="JPEG").to_ndarray()
        return np.asarray(grey)[rows][:, columns].astype(np.float32)
    if Colour.of(frame).full_range(frame.format):
        return chosen * np.float32(255 / top)
    step = 1 << (depth - 8)
    return (chosen - 16 * step) * np.float32(255 / (219 * step))


def _spread(length: int) -> _Indices:
    """Return up to 96 positions spread evenly over a length, without its outermost parts."""
    points = min(_POINTS, length)
    return ((np.arange(points) + 0.5) * length / points).astype(np.int64)


def _lit(lines: _Light) -> npt.NDArray[np.bool_]:
    """Return which of the lines (L, P) have enough bright points."""
    needed = lines.shape[1] - int(lines.shape[1] * (1 - _LIT_SHARE))
    return np.count_nonzero(lines > _LIT_LEVEL, axis=1) >= needed


def _edges(picture: npt.NDArray[np.bool_], light: npt.NDArray[np.float64]) -> tuple[int, int]:
    """Return how many lines at either end are bars, rounded up to even."""
    lines = np.flatnonzero(picture)
    if not len(lines):
        return 0, 0
    first, last = int(lines[0]), int(lines[-1])
    # Scaling and compression leave a line that is half bar, half picture; it counts as bar.
    if first and light[first] < 0.6 * light[first + 1 : first + 5].mean():
        first += 1
    if last < len(picture) - 1 and light[last] < 0.6 * light[last - 4 : last].mean():
        last -= 1
    low, high = first, len(picture) - 1 - last
    if not _is_step(light[max(0, first - 5) : max(0, first - 1)], light[first : first + 4]):
        low = 0
    if not _is_step(light[last + 2 : last + 6], light[max(0, last - 3) : last + 1]):
        high = 0
    low, high = _even_pair(low, high, len(picture))
    return low + low % 2, high + high % 2


def _is_step(outside: npt.NDArray[np.float64], inside: npt.NDArray[np.float64]) -> bool:
    """Whether the lines beyond an edge have little light compared to those within."""
    return not len(outside) or bool(outside.mean() < _STEP_SHARE * inside.mean())


def _even_pair(low: int, high: int, length: int) -> tuple[int, int]:
    """Return two opposite bars, with the larger one reduced if it is much larger."""
    small, large = sorted((low, high))
    most = max(
        small + max(_UNEVEN_LINES * (small > 0), round(_UNEVEN_SHARE * small)),
        round(_EDGE_SHARE * length),
    )
    if large <= most:
        return low, high
    return small, small
