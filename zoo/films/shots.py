"""Shots: libavfilter says, while a film is ingested, where it cuts and where it is black."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from zoo.films.filters import FilterGraph

THRESHOLD = 10.0
"""Scene score, 0 to 100, from which a frame begins a new shot: libavfilter's own default."""
SHORTEST_SECONDS = 0.25
"""A shot is at least this long: a flash of light is no cut."""
# A frame is black if all but this share of its samples are no brighter than this, of 255: far
# below the usual threshold, which takes night scenes for black.
_BRIGHT_SHARE, _BLACK_LEVEL = 0.002, 8
# Every so many rows are looked at before all are.
_ROWS = 16
DETECTOR = f"libavfilter scdet at {THRESHOLD:g}, and black frames"


@dataclass(frozen=True)
class SceneScore:
    """How a frame differs from the one before, 0 to 100, and whether it is black."""

    score: float
    black: bool


class SceneDetector:
    """Judges each frame in turn: libavfilter's scdet scores it, and black is black.

    All frames are rgb24 of one size, whatever file of the film they come from, so that a cut
    between two files is scored like any other.
    """

    def __init__(self, width: int, height: int) -> None:
        self._line = FilterGraph((width, height), "rgb24", True, [("scdet", {"threshold": "100"})])
        self._frames = 0

    def score(self, frame: VideoFrame, pixels: npt.NDArray[np.uint8]) -> SceneScore:
        """Score the next frame, of which `pixels` is uint8 (H, W, 3); the first scores 0."""
        frame.pts, frame.time_base = self._frames, Fraction(1)
        self._frames += 1
        self._line.push(frame)
        scored = self._line.pull()
        assert scored is not None
        return SceneScore(_number(scored.metadata["lavfi.scd.score"]), _is_black(pixels))


def _number(text: str) -> float:
    """Read a number of libavfilter's, which writes it with the decimal sign of the C locale."""
    return float(text.replace(",", "."))


def _is_black(pixels: npt.NDArray[np.uint8]) -> bool:
    most = _BRIGHT_SHARE * pixels.size
    # Some rows show that nearly every frame is not black.
    return all(np.count_nonzero(some > _BLACK_LEVEL) <= most for some in (pixels[::_ROWS], pixels))


def find_shots(
    scores: npt.NDArray[np.float32], black: npt.NDArray[np.bool_], fps: float
) -> list[tuple[int, int]]:
    """Shots `[start, stop)`, in order and covering every frame.

    `scores` (N,) are from 0 to 100, `black` (N,) says which frames are black, `fps` is frames a
    second. A shot begins at a frame of a high score, and where a picture comes out of black, as
    between a fade out and a fade in; the black belongs to the shot before. A cut less than a
    quarter of a second after the one before, or before the end, is no cut.
    """
    frames = len(scores)
    shortest = max(1, round(SHORTEST_SECONDS * fps))
    out_of_black = np.zeros(frames, dtype=bool)
    out_of_black[1:] = black[:-1] & ~black[1:]
    # Black at the very beginning is no shot of its own.
    pictures = np.flatnonzero(~black)
    opening = int(pictures[0]) if len(pictures) else frames
    cuts = [0]
    for frame in np.flatnonzero((scores >= THRESHOLD) | out_of_black).tolist():
        if frame > opening and frame - cuts[-1] >= shortest and frames - frame >= shortest:
            cuts.append(frame)
    return list(zip(cuts, [*cuts[1:], frames], strict=True))
