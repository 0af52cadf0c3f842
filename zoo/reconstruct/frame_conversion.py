"""Scale RGB frames, and convert them to the colour format of video codecs."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc

from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize

Pixels = npt.NDArray[np.uint8]
"""A frame, uint8 (H, W, 3), RGB, full range."""

FILTERS = {
    "nearest": "neighbor",
    "bilinear": "bilinear",
    "bicubic": "bicubic",
    "lanczos": "lanczos",
    "spline": "spline",
    "area": "area",
}
"""libswscale's names of scaling filters, by our names."""

_ACCURATE = "accurate_rnd+full_chroma_int+full_chroma_inp"
"""Without these flags, conversion to yuv420p and back loses 6 dB before any encoding."""
_NO_MATRIX = 0
"""ITU-T H.273's matrix code for RGB."""


def libswscale_name(name: str) -> str:
    """Return libswscale's name of a filter; raises BadInput, listing filters, if unknown."""
    if name not in FILTERS:
        raise BadInput(f"no filter is called {name!r}; there are: {', '.join(FILTERS)}")
    return FILTERS[name]


class _Graph:
    """A libavfilter graph with one input, rgb24 of one size, and one output."""

    def __init__(self, size: FrameSize, filters: list[tuple[str, dict[str, str]]]) -> None:
        # Referenced here because the filter contexts do not keep the graph alive.
        self._graph = Graph()
        self._graph.threads = 1
        source = self._graph.add(
            "buffer",
            video_size=str(size),
            pix_fmt="rgb24",
            time_base="1/1",
            pixel_aspect="1/1",
            colorspace="gbr",
            range="pc",
        )
        middle = [self._graph.add(name, **arguments) for name, arguments in filters]
        sink = self._graph.add("buffersink")
        self._graph.link_nodes(source, *middle, sink)
        self._graph.configure()
        self._ends: tuple[FilterContext, FilterContext] = source, sink

    def __call__(self, pixels: Pixels) -> VideoFrame:
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.colorspace, frame.color_range = _NO_MATRIX, ColorRange.JPEG
        self._ends[0].push(frame)
        filtered = self._ends[1].pull()
        assert isinstance(filtered, VideoFrame)
        return filtered


class Scaler:
    """Scales frames of one size to another by a named filter, one of `FILTERS`.

    The aspect ratio is kept: if the new size has a different one, the frame is centred on black.
    Raises BadInput on an unknown filter.
    """

    def __init__(self, before: FrameSize, after: FrameSize, by: str = "lanczos") -> None:
        method = libswscale_name(by)
        self.before, self.after = before, after
        scale = min(after.width / before.width, after.height / before.height)
        width, height = (max(1, round(side * scale)) for side in before)
        self._left, self._top = (after.width - width) // 2, (after.height - height) // 2
        self._scaled = FrameSize(width, height)
        flags = f"{method}+{_ACCURATE}"
        steps: list[tuple[str, dict[str, str]]] = [
            # Through planar RGB, which libswscale rounds correctly.
            ("scale", {"w": str(width), "h": str(height), "flags": flags}),
            ("format", {"pix_fmts": "gbrp"}),
            ("scale", {"flags": flags}),
            ("format", {"pix_fmts": "rgb24"}),
        ]
        self._graph = None if self._scaled == before else _Graph(before, steps)

    def __call__(self, pixels: Pixels) -> Pixels:
        """Scale one frame, uint8 (H, W, 3)."""
        scaled = pixels if self._graph is None else rgb_of(self._graph(pixels))
        if self._scaled == self.after:
            return scaled
        canvas = np.zeros((self.after.height, self.after.width, 3), dtype=np.uint8)
        rows = slice(self._top, self._top + self._scaled.height)
        canvas[rows, self._left : self._left + self._scaled.width] = scaled
        return canvas


class ToYuv:
    """Converts frames of one size to yuv420p, BT.709, limited range, and tags them as such.

    Odd sizes are made even by repeating the last row or column.
    """

    def __init__(self, size: FrameSize) -> None:
        self.size = size
        self.even = FrameSize(*(side + side % 2 for side in size))
        matrix = {"out_color_matrix": "bt709", "out_range": "limited"}
        self._graph = _Graph(
            self.even,
            [
                ("scale", {"flags": f"bicubic+{_ACCURATE}", **matrix}),
                ("format", {"pix_fmts": "yuv420p"}),
            ],
        )

    def __call__(self, pixels: Pixels) -> VideoFrame:
        """Convert one frame, uint8 (H, W, 3)."""
        if self.even != self.size:
            right, below = self.even.width - self.size.width, self.even.height - self.size.height
            pixels = np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge")
        frame = self._graph(pixels)
        frame.color_primaries, frame.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        return frame


def rgb_of(frame: VideoFrame) -> npt.NDArray[Any]:
    """The samples of an rgb24 frame, uint8 (H, W, 3)."""
    return np.asarray(frame.to_ndarray(), dtype=np.uint8)


def parse_scale(text: str, size: FrameSize) -> FrameSize:
    """Parse `1280x720`, or `2x` as a multiple of `size`, rounded to even sides.

    Raises BadInput on anything else and on a size out of range.
    """
    times = re.fullmatch(r"(\d{1,2}(?:\.\d{1,3})?)[x×]", text.strip())
    if times:
        width, height = (2 * round(side * float(times[1]) / 2) for side in size)
        text = f"{width}x{height}"
    try:
        return FrameSize.parse(text)
    except BadInput as error:
        raise BadInput(f"--scale must be 2x, or a size: {error}") from None
