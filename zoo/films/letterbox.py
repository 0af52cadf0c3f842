"""Finding bars: rows and columns at the edges that stay dark through the whole film.

One dark scene says nothing about bars, so rows and columns are judged over frames from the
whole film, and only frames that show something are counted.
"""

from __future__ import annotations

import av.error
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from zoo.films.colour import Colour
from zoo.films.source import Source
from zoo.films.store import Bars

# A row is lit in a frame if this share of it is brighter than black by this much of 255:
# subtitles that stand in a bar cover less, noise is weaker.
_LIT_SHARE, _LIT_LEVEL = 0.3, 10
# A row is picture if it is lit in more than this share of the frames that show anything.
_PICTURE_SHARE = 0.01
# What is left of the picture must be at least this large for bars to be believed.
_SMALLEST = 32
# Fewer frames than this that show anything tell nothing.
_FEWEST = 3
_POINTS = 96
# At most this many places are looked at beforehand, and no closer than this, in seconds.
_SEEKS, _SEEK_SECONDS = 120, 5.0


class BarFinder:
    """Gathers evidence, frame by frame, of which rows and columns hold picture.

    All frames have one size; those of another size, after a change in mid-file, are passed over.
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
        luma = _luma(frame)
        some_columns = luma[:, _spread(self.width)]
        some_rows = luma[_spread(self.height)].T
        rows, columns = _lit(some_columns), _lit(some_rows)
        if not rows.any() or not columns.any():
            return
        self.shown += 1
        self._rows += rows
        self._columns += columns
        self._row_light += some_columns.mean(axis=1)
        self._column_light += some_rows.mean(axis=1)

    def bars(self) -> Bars:
        """The bars that all frames so far agree on; none where too little was seen."""
        if self.shown < _FEWEST:
            return Bars()
        needed = max(1.0, _PICTURE_SHARE * self.shown)
        top, bottom = _edges(self._rows > needed, self._row_light)
        left, right = _edges(self._columns > needed, self._column_light)
        if self.width - left - right < _SMALLEST or self.height - top - bottom < _SMALLEST:
            return Bars()
        return Bars(left=left, top=top, right=right, bottom=bottom)


def look_for_bars(source: Source, finder: BarFinder, start: float, stop: float) -> None:
    """Show the finder key frames spread from `start` to `stop`, seconds of the file's own time.

    A first look: the ingest goes on gathering evidence, from every second of the film.
    """
    stream, base = source.stream, source.stream.time_base
    if base is None:
        return
    seen: set[int | None] = set()
    seeks = max(1, min(_SEEKS, round((stop - start) / _SEEK_SECONDS)))
    for seek in range(seeks):
        time = start + (stop - start) * (seek + 0.5) / seeks + source.clock_start
        try:
            source.container.seek(round(time / base), stream=stream, backward=True)
            packet = next(source.container.demux(stream))
            if packet.pts in seen:
                continue
            seen.add(packet.pts)
            source.container.seek(round(time / base), stream=stream, backward=True)
            frame = next(source.container.decode(stream))
        except (av.error.FFmpegError, StopIteration):
            # A place that cannot be reached or decoded tells nothing; the ingest counts damage.
            continue
        if isinstance(frame, VideoFrame):
            finder.add(frame)


def _luma(frame: VideoFrame) -> npt.NDArray[np.uint8]:
    """The frame's brightness, uint8 (H, W), full range: black is 0."""
    full = Colour.of(frame).range_name(frame.format.name) == "full"
    grey = frame.reformat(
        format="gray", src_color_range="JPEG" if full else "MPEG", dst_color_range="JPEG"
    )
    return np.asarray(grey.to_ndarray(), dtype=np.uint8)


def _spread(length: int) -> npt.NDArray[np.int64]:
    """Up to 96 positions spread evenly over a length, without its outermost parts."""
    points = min(_POINTS, length)
    return ((np.arange(points) + 0.5) * length / points).astype(np.int64)


def _lit(lines: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which of the lines (L, P) have enough bright points."""
    rank = int(lines.shape[1] * (1 - _LIT_SHARE))
    return np.partition(lines, rank, axis=1)[:, rank] > _LIT_LEVEL


def _edges(picture: npt.NDArray[np.bool_], light: npt.NDArray[np.float64]) -> tuple[int, int]:
    """How many lines at either end are no picture, rounded up to even."""
    lines = np.flatnonzero(picture)
    if not len(lines):
        return 0, 0
    first, last = int(lines[0]), int(lines[-1])
    # Scaling and compression leave a line that is half bar, half picture: it goes with the bar.
    if first and light[first] < 0.6 * light[first + 1 : first + 5].mean():
        first += 1
    if last < len(picture) - 1 and light[last] < 0.6 * light[last - 4 : last].mean():
        last -= 1
    low, high = first, len(picture) - 1 - last
    return low + low % 2, high + high % 2
