"""Shot detection: libavfilter scores every frame while a film is decoded, cuts follow from it."""

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
"""A shot is at least this long, so that a flash of light is not a cut."""
# A frame is black if all but this share of its samples are at most this bright, of 255: far below
# the usual threshold, which takes night scenes for black.
_BRIGHT_SHARE, _BLACK_LEVEL = 0.002, 8
# Every 16th row is checked before all are.
_ROWS = 16
DETECTOR = f"libavfilter scdet at {THRESHOLD:g}, and black frames"


@dataclass(frozen=True)
class SceneScore:
    """How much a frame differs from the one before, 0 to 100, and whether it is black."""

    score: float
    black: bool


class SceneDetector:
    """Scores frames in order with libavfilter's scdet, and finds black ones.

    All frames are rgb24 of one size, whichever file of the film they come from, so that a cut
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
    """Read a number that libavfilter wrote with the decimal sign of the C locale."""
    return float(text.replace(",", "."))


def _is_black(pixels: npt.NDArray[np.uint8]) -> bool:
    most = _BRIGHT_SHARE * pixels.size
    # A few rows suffice for nearly every frame that is not black.
    return all(np.count_nonzero(some > _BLACK_LEVEL) <= most for some in (pixels[::_ROWS], pixels))


def find_shots(
    scores: npt.NDArray[np.float32], black: npt.NDArray[np.bool_], fps: float
) -> list[tuple[int, int]]:
    """Return the shots `[start, stop)`, in order, which cover every frame.

    `scores` (N,) are from 0 to 100, `black` (N,) marks black frames, `fps` is the frame rate. A
    shot begins at a frame with a high score, and at the first frame after black, as between a
    fade-out and a fade-in; the black belongs to the shot before. A cut less than a quarter of a
    second after the last one, or before the end, does not count.
    """
    frames = len(scores)
    shortest = max(1, round(SHORTEST_SECONDS * fps))
    out_of_black = np.zeros(frames, dtype=bool)
    out_of_black[1:] = black[:-1] & ~black[1:]
    # Black at the very beginning is not a shot of its own.
    pictures = np.flatnonzero(~black)
    opening = int(pictures[0]) if len(pictures) else frames
    cuts = [0]
    for frame in np.flatnonzero((scores >= THRESHOLD) | out_of_black).tolist():
        if frame > opening and frame - cuts[-1] >= shortest and frames - frame >= shortest:
            cuts.append(frame)
    return list(zip(cuts, [*cuts[1:], frames], strict=True))
