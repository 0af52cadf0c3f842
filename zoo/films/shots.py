"""Shots from the scene scores that libavfilter gave while the film was ingested."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
from av.filter import Graph
from av.video.frame import VideoFrame

DETECTOR = "libavfilter scdet"
THRESHOLD = 10.0
"""Scene score, 0 to 100, from which a frame begins a new shot: libavfilter's own default."""
SHORTEST_SECONDS = 0.25
"""A shot is at least this long: a flash of light is no cut."""


def shots_from_scores(
    scores: npt.NDArray[np.float32], fps: float, threshold: float = THRESHOLD
) -> list[tuple[int, int]]:
    """Shots `[start, stop)`, in order and covering every frame.

    `scores` (N,) are from 0 to 100; `fps` is frames a second. A cut less than a quarter of a
    second after the one before, or before the end, is no cut.
    """
    frames = len(scores)
    shortest = max(1, round(SHORTEST_SECONDS * fps))
    cuts = [0]
    for frame in np.flatnonzero(scores >= threshold).tolist():
        if frame - cuts[-1] >= shortest and frames - frame >= shortest:
            cuts.append(frame)
    return list(zip(cuts, [*cuts[1:], frames], strict=True))


class ScoreKeeper:
    """Scores each frame by how much it differs from the one before, with libavfilter's scdet.

    All frames are rgb24 of one size, whatever file of the film they come from, so that a cut
    between two files is scored like any other.
    """

    def __init__(self, width: int, height: int) -> None:
        graph = Graph()
        self._source = graph.add(
            "buffer",
            video_size=f"{width}x{height}",
            pix_fmt="rgb24",
            time_base="1/1",
            pixel_aspect="1/1",
            colorspace="0",
            range="2",
        )
        detector = graph.add("scdet", threshold="100")
        self._sink = graph.add("buffersink")
        self._source.link_to(detector)
        detector.link_to(self._sink)
        graph.configure()
        self._graph = graph
        self._frames = 0

    def score(self, frame: VideoFrame) -> float:
        """The scene score of the next frame, 0 to 100; 0 for the first."""
        frame.pts, frame.time_base = self._frames, Fraction(1)
        self._frames += 1
        self._source.push(frame)
        return float(self._sink.pull().metadata["lavfi.scd.score"])
