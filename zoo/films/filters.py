"""A chain of libavfilter filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import av.error
from av.filter import Graph
from av.video.frame import VideoFrame

Step: TypeAlias = tuple[str, dict[str, str]]
"""A filter's name and its options."""
UNSTATED = 2
"""The code of H.273 for an unstated matrix, transfer function or primaries."""


class FilterGraph:
    """A chain of filters, in one thread, for frames of one size and pixel format.

    The time base is 1: a frame's `pts` is its number. The constructor, `push` and
    `pull` raise av.error.FFmpegError or ValueError if libavfilter cannot apply the steps.
    """

    def __init__(
        self, size: tuple[int, int], pixel_format: str, full_range: bool, steps: Sequence[Step]
    ) -> None:
        graph = Graph()
        graph.threads = 1
        options = {
            "video_size": f"{size[0]}x{size[1]}",
            "pix_fmt": pixel_format,
            "time_base": "1/1",
            "pixel_aspect": "1/1",
            "colorspace": str(UNSTATED),
            "range": "2" if full_range else "1",
        }
        nodes = [
            graph.add(name, **given)
            for name, given in [("buffer", options), *steps, ("buffersink", {})]
        ]
        graph.link_nodes(*nodes)
        graph.configure()
        self._graph = graph
        self._source, self._sink = nodes[0], nodes[-1]

    def push(self, frame: VideoFrame | None) -> None:
        """Put a frame in; None after the last one."""
        self._source.push(frame)

    def pull(self) -> VideoFrame | None:
        """Take a finished frame out; None if there is none yet."""
        try:
            frame = self._sink.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return None
        assert isinstance(frame, VideoFrame)
        return frame
