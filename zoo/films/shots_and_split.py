"""A film's shots, and its split into training and held-out frames: by shot, never by random frame.

libavfilter scores every frame while a film is decoded; cuts follow from that. Neighbouring frames
are near-duplicates, so a frame held out between two training frames measures nothing. Whole shots
are held out, spread over the film, with a gap of frames around each that belongs to neither side.
All gaps together take at most a tenth of the film. If a shot is far longer than the share to be
held out, as in a film of one shot, only a block from its middle is held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from zoo.base.errors import BadInput
from zoo.films.filters import FilterGraph

THRESHOLD = 10.0
"""A frame with at least this scene score, 0 to 100, begins a shot: libavfilter's default."""
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
        """Score the next frame, whose samples are `pixels`, uint8 (H, W, 3); the first scores 0."""
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


GAP_SECONDS = 0.5
MOST_RUNS = 24
"""If more shots than this are to be held out, each run has several shots."""
LARGEST_HOLDOUT = 0.5
LARGEST_GAPS = 0.1
"""Largest share of a film that all gaps together may take."""

# A shot up to this many times longer than the run wanted is still held out whole.
_WHOLE_UP_TO = 3.0

Run = tuple[int, int]


@dataclass(frozen=True)
class Split:
    """A film's frames in three parts: seen in training, held out, and the gaps in between."""

    frames: int
    held_out_runs: list[Run]
    """Runs of held-out frames, `[start, stop)`, in order."""
    gap: int
    """Frames on either side of each held-out run that are not trained on either."""
    seen: npt.NDArray[np.int64] = field(init=False, compare=False, repr=False)
    """Indices of the frames trained on, ascending."""
    held_out: npt.NDArray[np.int64] = field(init=False, compare=False, repr=False)
    """Indices of the held-out frames, ascending."""

    @property
    def in_gaps(self) -> int:
        """How many frames lie in the gaps."""
        return self.frames - len(self.seen) - len(self.held_out)

    def __post_init__(self) -> None:
        held = np.zeros(self.frames, dtype=bool)
        seen = np.ones(self.frames, dtype=bool)
        for start, stop in self.held_out_runs:
            held[start:stop] = True
            seen[max(0, start - self.gap) : stop + self.gap] = False
        object.__setattr__(self, "seen", np.flatnonzero(seen).astype(np.int64))
        object.__setattr__(self, "held_out", np.flatnonzero(held).astype(np.int64))


def check_holdout(holdout: float) -> float:
    """Return the share to hold out if it is from 0 to 0.5; raise BadInput if not."""
    if not 0 <= holdout <= LARGEST_HOLDOUT:
        raise BadInput(f"the share of frames to hold out must be from 0 to 0.5; not {holdout:g}")
    return holdout


def split_by_shot(shots: Sequence[Run], frames: int, fps: float, holdout: float) -> Split:
    """Hold out about `holdout` (0 to 0.5) of the frames; deterministic.

    `shots` are `[start, stop)` and cover all `frames`. The film is divided into as many sections of
    equal length as shots are to be held out, 24 at most. In each section, the shot that brings the
    sum closest to the share is held out, or several consecutive shots if one is too short.
    Raises BadInput, with the numbers, if nothing is left to train on or nothing is held out.
    """
    check_holdout(holdout)
    if holdout == 0:
        return Split(frames, [], 0)
    wanted = max(1, round(holdout * frames))
    sections = max(1, min(round(holdout * len(shots)), MOST_RUNS))
    of_several = round(holdout * len(shots)) > MOST_RUNS
    runs: list[Run] = []
    held = 0
    for section in range(sections):
        share = (wanted - held) / (sections - section)
        if share < 1:
            continue
        low, high = section * frames / sections, (section + 1) * frames / sections
        inside = [s for s in shots if low <= (s[0] + s[1]) / 2 < high and not _touches(s, runs)]
        if not inside:
            continue
        found = _joined(inside, share) if of_several else inside
        run = _closest(found, share, (low + high) / 2)
        length = run[1] - run[0]
        # At most half of the film, however few shots it has.
        if length > _WHOLE_UP_TO * share or held + length > LARGEST_HOLDOUT * frames:
            run = _middle_of(run, round(share))
        runs.append(run)
        held += run[1] - run[0]
    # In a short film, or one of short shots, half a second would cost more frames than it protects.
    room = int(LARGEST_GAPS * frames) // (2 * max(1, len(runs)))
    split = Split(frames, runs, min(round(GAP_SECONDS * fps), max(1, room)))
    seen, out = len(split.seen), len(split.held_out)
    if not out or not seen:
        in_shots = f"{len(shots):,} shots" if len(shots) > 1 else "one shot"
        raise BadInput(
            f"holding out {holdout:g} of {frames:,} frames in {in_shots} leaves {seen:,} to train "
            f"on ({out:,} held out, {frames - seen - out:,} in gaps beside them); use a smaller "
            "--holdout, --holdout 0 or a longer film"
        )
    return split


def _closest(shots: Sequence[Run], share: float, centre: float) -> Run:
    """Return the shot whose length is closest to the share; of equal ones the most central."""
    return min(
        shots,
        key=lambda s: (abs(s[1] - s[0] - share), abs((s[0] + s[1]) / 2 - centre), s[0]),
    )


def _joined(shots: Sequence[Run], share: float) -> list[Run]:
    """Join each shot with those after it: up to the share, and just beyond it."""
    joined: list[Run] = []
    last = 0
    for number, (start, _) in enumerate(shots):
        last = max(last, number)
        while last + 1 < len(shots) and shots[last][1] - start < share:
            last += 1
        joined += [(start, shots[each][1]) for each in range(max(number, last - 1), last + 1)]
    return joined


def _middle_of(run: Run, length: int) -> Run:
    """Return a block of this length from the middle of a longer run."""
    start, stop = run
    begin = start + (stop - start - length) // 2
    return begin, begin + length


def _touches(shot: Run, runs: Sequence[Run]) -> bool:
    return any(shot[0] <= stop and start <= shot[1] for start, stop in runs)
