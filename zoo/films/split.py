"""Which frames of a film are trained on and which are held out: by shot, never by random frame.

Neighbouring frames are near-duplicates, so a frame held out between two seen ones measures
nothing. Whole shots are held out, spread over the film, with a gap of frames around each that
belongs to neither side. A shot far longer than what is to be held out (a film of one shot is
the extreme) gives a block from its middle instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from zoo.errors import BadInput

GAP_SECONDS = 0.5
MOST_RUNS = 24
LARGEST_HOLDOUT = 0.5

# A shot up to this many times longer than the share wanted of it is still held out whole.
_WHOLE_UP_TO = 3.0

Run = tuple[int, int]


@dataclass(frozen=True)
class Split:
    """A film's frames in three parts: seen, held out, and the gaps between, in neither."""

    frames: int
    held_out_runs: list[Run]
    """Runs of held-out frames, `[start, stop)`, in order."""
    gap: int
    """Frames on either side of each held-out run that are not trained on."""
    seen: npt.NDArray[np.int64] = field(init=False, compare=False, repr=False)
    """Indices of the frames trained on, ascending."""
    held_out: npt.NDArray[np.int64] = field(init=False, compare=False, repr=False)
    """Indices of the held-out frames, ascending."""

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
        raise BadInput(f"the share of frames to hold out is from 0 to 0.5; not {holdout:g}")
    return holdout


def split_by_shot(shots: Sequence[Run], frames: int, fps: float, holdout: float) -> Split:
    """Hold out about `holdout` (0 to 0.5) of the frames, the same ones every time.

    `shots` are `[start, stop)` and cover all `frames`. The film is cut into as many stretches
    of equal length as shots are to be held out, and each stretch gives the shot that brings the
    sum closest to the share. Raises BadInput if the film is too short to hold anything out.
    """
    check_holdout(holdout)
    if holdout == 0:
        return Split(frames, [], 0)
    # In a short film half a second would cost more frames than it protects.
    gap = min(round(GAP_SECONDS * fps), max(1, frames // 20))
    wanted = max(1, round(holdout * frames))
    if frames < wanted + 2 * gap + 1:
        raise BadInput(
            f"{frames} frames are too few to hold any out; use a longer film or --holdout 0"
        )
    stretches = max(1, min(round(holdout * len(shots)), MOST_RUNS))
    runs: list[Run] = []
    held = 0
    for stretch in range(stretches):
        share = (wanted - held) / (stretches - stretch)
        if share < 1:
            continue
        low, high = stretch * frames / stretches, (stretch + 1) * frames / stretches
        inside = [s for s in shots if low <= (s[0] + s[1]) / 2 < high and not _touches(s, runs)]
        if not inside:
            continue
        run = _part_of(_closest(inside, share, (low + high) / 2), share)
        runs.append(run)
        held += run[1] - run[0]
    return Split(frames, runs, gap)


def _closest(shots: Sequence[Run], share: float, centre: float) -> Run:
    """The shot whose length is closest to the share; of equal ones the most central."""
    return min(
        shots,
        key=lambda s: (abs(s[1] - s[0] - share), abs((s[0] + s[1]) / 2 - centre), s[0]),
    )


def _part_of(shot: Run, share: float) -> Run:
    """The whole shot, or a block of the wanted length from the middle of a far longer one."""
    start, stop = shot
    if stop - start <= _WHOLE_UP_TO * share:
        return shot
    length = round(share)
    middle = start + (stop - start - length) // 2
    return middle, middle + length


def _touches(shot: Run, runs: Sequence[Run]) -> bool:
    return any(shot[0] <= stop and start <= shot[1] for start, stop in runs)
