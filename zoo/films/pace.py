"""Bringing frames to an even rate, and counting what that drops and repeats."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from zoo.films.shots import SceneScore


@dataclass(frozen=True)
class PacedFrame:
    """A finished frame, uint8 (H, W, 3), with its time in seconds and what was said of it."""

    time: float
    scored: SceneScore
    pixels: npt.NDArray[np.uint8]


class Pacer:
    """Resamples to `fps` frames a second.

    A frame's moment is the nearest one on an even grid that starts with the first frame. Of
    several frames for one moment the nearest is kept; a moment without a frame repeats the one
    before.
    """

    # Frames of twice the rate lie exactly halfway between two moments; times rounded to the
    # millisecond must not tip them to either side at random.
    _HALF = 0.5 - 1 / 17

    def __init__(self, fps: Fraction) -> None:
        self.fps = float(fps)
        self.dropped = 0
        self.repeated = 0
        self._first: float | None = None
        self._held: tuple[int, PacedFrame] | None = None
        self._carried = 0.0

    def feed(self, frame: PacedFrame) -> Iterator[PacedFrame]:
        """Take a frame; yield those whose moments are now known to be over."""
        if self._first is None:
            self._first = frame.time
        place = (frame.time - self._first) * self.fps
        moment = math.floor(place + self._HALF)
        if self._held is None:
            self._held = (moment, frame)
            return
        held_moment, held = self._held
        if moment <= held_moment:
            self.dropped += 1
            # A cut at a frame that is dropped is a cut at the next one that is not.
            distance = abs((held.time - self._first) * self.fps - held_moment)
            if abs(place - held_moment) < distance:
                self._held = (held_moment, _with_score(frame, held.scored.score))
            else:
                self._carried = max(self._carried, frame.scored.score)
            return
        yield from self._shown(held_moment, moment, held)
        self._held = (moment, _with_score(frame, self._carried))
        self._carried = 0.0

    def finish(self) -> Iterator[PacedFrame]:
        """Yield the last frame."""
        if self._held is not None:
            moment, held = self._held
            yield from self._shown(moment, moment + 1, held)
            self._held = None

    def _shown(self, start: int, stop: int, frame: PacedFrame) -> Iterator[PacedFrame]:
        assert self._first is not None
        self.repeated += stop - start - 1
        for moment in range(start, stop):
            scored = frame.scored if moment == start else SceneScore(0.0, frame.scored.black)
            yield PacedFrame(self._first + moment / self.fps, scored, frame.pixels)


def _with_score(frame: PacedFrame, score: float) -> PacedFrame:
    """The frame with at least this score."""
    scored = SceneScore(max(score, frame.scored.score), frame.scored.black)
    return PacedFrame(frame.time, scored, frame.pixels)
