"""Which frames of a film are trained on and which are held out: by shot, never by random frame.

Neighbouring frames are near-duplicates, so a frame held out between two seen ones measures
nothing. Whole shots are held out, spread over the film, with a gap of frames around each that
belongs to neither side. The gaps take a tenth of the film together, at most. A shot far longer than
what is to be held out (a film of one shot is the extreme) gives a block from its middle instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from zoo.base.errors import BadInput

GAP_SECONDS = 0.5
MOST_RUNS = 24
"""In a film of more shots than that takes, each run is of several shots."""
LARGEST_HOLDOUT = 0.5
LARGEST_GAPS = 0.1
"""Share of a film that all gaps may take together."""

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
    of equal length as shots are to be held out, 24 at most, and each gives the shot that brings the
    sum closest to the share, or several shots in a row where one is too little. Raises BadInput,
    with the numbers, if that leaves nothing to train on or nothing is held out.
    """
    check_holdout(holdout)
    if holdout == 0:
        return Split(frames, [], 0)
    wanted = max(1, round(holdout * frames))
    stretches = max(1, min(round(holdout * len(shots)), MOST_RUNS))
    of_several = round(holdout * len(shots)) > MOST_RUNS
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
        found = _joined(inside, share) if of_several else inside
        run = _closest(found, share, (low + high) / 2)
        length = run[1] - run[0]
        # Never more than half of the film, however few shots it has.
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
    """The shot whose length is closest to the share; of equal ones the most central."""
    return min(
        shots,
        key=lambda s: (abs(s[1] - s[0] - share), abs((s[0] + s[1]) / 2 - centre), s[0]),
    )


def _joined(shots: Sequence[Run], share: float) -> list[Run]:
    """Of every shot in order: it with those that follow, up to the share and just beyond it."""
    joined: list[Run] = []
    last = 0
    for number, (start, _) in enumerate(shots):
        last = max(last, number)
        while last + 1 < len(shots) and shots[last][1] - start < share:
            last += 1
        joined += [(start, shots[each][1]) for each in range(max(number, last - 1), last + 1)]
    return joined


def _middle_of(run: Run, length: int) -> Run:
    """A block of that length from the middle of a longer run."""
    start, stop = run
    begin = start + (stop - start - length) // 2
    return begin, begin + length


def _touches(shot: Run, runs: Sequence[Run]) -> bool:
    return any(shot[0] <= stop and start <= shot[1] for start, stop in runs)
