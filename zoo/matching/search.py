"""Finding one film in another: which scenes, and where.

Frames are compared as vPDQ compares them (facebook/ThreatExchange, `vpdq`), whatever their order;
where a scene lies is then read from the times of its matches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo.matching.film_hashes import HashedFilm
from zoo.matching.pdq import MATCHES_WITHIN, nearest_distances, pairwise_distances
from zoo.matching.takedown import FILM_MATCHES_FROM

Seconds = npt.NDArray[np.float64]
_Places = npt.NDArray[np.int64]
Verdict = Literal["whole", "excerpt", "scenes", "none", "too little"]

FEWEST = 10
"""Frames of either side that a verdict needs."""
SCENE_FOUND_FROM = 0.5
"""Share of a scene's frames that has to match in one place. Less than for a film, since
frames that a copy of another frame rate leaves out have no match where much moves."""
STRAY_SECONDS, STRAY_SHARE = 0.5, 0.05
"""How far a match may lie from where its scene's others say: in seconds, and as a share of the
scene's length, for copies that run a little faster."""
_BIN_SECONDS = 0.02


@dataclass(frozen=True)
class SceneMatch:
    """One scene of the original and what there is of it in the suspect; times in seconds."""

    start: float
    stop: float
    asked: int
    """Its frames of quality 50 or more, or every n-th of them."""
    matched: float | None
    """The share of these that match some frame of the suspect; None of nothing."""
    in_place: float | None
    """The share that match a frame within one stretch of the suspect, the best."""
    suspect_start: float | None
    """Where that stretch begins, its first match; None without matches."""
    suspect_stop: float | None
    """Its last match."""

    @property
    def found(self) -> bool:
        """Whether the scene is there: half of its frames, in one place."""
        return self.in_place is not None and self.in_place >= SCENE_FOUND_FROM


@dataclass(frozen=True)
class FilmMatch:
    """What a suspect has of an original; shares are from 0 to 1, None of nothing."""

    verdict: Verdict
    asked: int
    """Frames of the original of quality 50 or more, or every n-th of them."""
    suspect_asked: int
    matched: float | None
    """The share of the original's frames that match some frame of the suspect."""
    suspect_matched: float | None
    """The share of the suspect's that match some frame of the original."""
    scenes: tuple[SceneMatch, ...]

    @property
    def matches(self) -> bool:
        """Whether the films match as wholes, as vPDQ has it."""
        return self.verdict in ("whole", "excerpt")


@torch.inference_mode()
def search(original: HashedFilm, suspect: HashedFilm, every: int = 1) -> FilmMatch:
    """Look for every scene of the original in the suspect. Both on one device.

    Of either film every `every`-th comparable frame is asked for, among all frames of the other:
    were both thinned, the frames of a copy would fall between those of its original.

    The verdict is `whole` where 80 % of the original's frames match, or else `excerpt` where 80 %
    of the suspect's do, or else `scenes` where some scene is found, or else `none`; `too little`
    where of either side fewer than ten frames are asked for.
    """
    there = _SearchedFilm.of(suspect)
    usable = original.hashes.comparable
    scenes, hits = [], []
    for start, stop in original.scenes:
        shown = (original.times >= start) & (original.times < stop) & usable.cpu().numpy()
        asked = np.flatnonzero(shown)[::every]
        chosen = torch.from_numpy(asked).to(there.bits.device)
        one = _Scene(original.hashes.bits[chosen], original.times[asked])
        hits.append(one.look_in(there))
        place = one.place_in(there)
        found = np.isfinite(place)
        scenes.append(
            SceneMatch(
                start,
                stop,
                asked=len(asked),
                matched=_share(hits[-1]),
                in_place=_share(found),
                suspect_start=float(place[found].min()) if found.any() else None,
                suspect_stop=float(place[found].max()) if found.any() else None,
            )
        )
    hit = np.concatenate(hits)
    back = nearest_distances(there.bits[::every], original.hashes.bits[usable]).cpu().numpy()
    shares = _share(hit), _share(back <= MATCHES_WITHIN)
    return FilmMatch(
        _verdict(len(hit), len(back), *shares, scenes),
        asked=len(hit),
        suspect_asked=len(back),
        matched=shares[0],
        suspect_matched=shares[1],
        scenes=tuple(scenes),
    )


def _share(which: npt.NDArray[np.bool_]) -> float | None:
    return float(which.mean()) if len(which) else None


def _verdict(
    asked: int,
    suspect_asked: int,
    share: float | None,
    suspect_share: float | None,
    scenes: Sequence[SceneMatch],
) -> Verdict:
    if share is None or suspect_share is None or min(asked, suspect_asked) < FEWEST:
        return "too little"
    if share >= FILM_MATCHES_FROM:
        return "whole"
    if suspect_share >= FILM_MATCHES_FROM:
        return "excerpt"
    return "scenes" if any(scene.found for scene in scenes) else "none"


@dataclass(frozen=True)
class _SearchedFilm:
    """The comparable frames of the film that is searched."""

    bits: Tensor
    times: Seconds

    @classmethod
    def of(cls, film: HashedFilm) -> _SearchedFilm:
        known = film.hashes.comparable
        return cls(film.hashes.bits[known], film.times[known.cpu().numpy()])

    def hits(self, needles: Tensor, start: int, stop: int) -> Iterator[tuple[_Places, _Places]]:
        """Pairs that match, of a needle and a frame in `[start, stop)`, a block at a time.

        A scene that stands still for long, where all pairs match, so takes no more memory.
        """
        for block in pairwise_distances(needles, self.bits[start:stop]):
            rows, columns = torch.nonzero(block.close, as_tuple=True)
            yield (
                rows.cpu().numpy() + block.rows.start,
                columns.cpu().numpy() + (start + block.columns.start),
            )


class _Scene:
    """The comparable frames of one scene, and the votes of their matches for a place."""

    def __init__(self, bits: Tensor, times: Seconds) -> None:
        self.bits = bits
        self.times = times
        length = float(times[-1] - times[0]) if len(times) else 0.0
        self.stray = STRAY_SECONDS + STRAY_SHARE * length
        self.votes = np.zeros(0, dtype=np.int64)
        """By the seconds from a frame to its match, in bins from `lowest`."""
        self.lowest = 0.0

    def look_in(self, there: _SearchedFilm) -> npt.NDArray[np.bool_]:
        """Which frames match any frame there, (N,)."""
        hit = np.zeros(len(self.times), dtype=bool)
        if not len(self.times) or not len(there.times):
            return hit
        self.lowest = float(there.times[0] - self.times[-1])
        highest = float(there.times[-1] - self.times[0])
        bins = int((highest - self.lowest) / _BIN_SECONDS) + 1
        self.votes = np.zeros(bins, dtype=np.int64)
        for rows, columns in there.hits(self.bits, 0, len(there.times)):
            hit[rows] = True
            ahead = there.times[columns] - self.times[rows] - self.lowest
            cast = (ahead / _BIN_SECONDS).astype(np.int64).clip(0, bins - 1)
            # A frame has one vote for a place, however many frames look alike there.
            chosen, count = np.unique(np.unique(rows * bins + cast) % bins, return_counts=True)
            self.votes[chosen] += count
        return hit

    def place_in(self, there: _SearchedFilm) -> Seconds:
        """When each frame's match is shown in the stretch that most agree on, (N,); NaN of none."""
        place = np.full(len(self.times), np.nan)
        if not self.votes.any():
            return place
        middle, preferred = self._offsets()
        start = int(np.searchsorted(there.times, self.times[0] + middle - self.stray, "left"))
        stop = int(np.searchsorted(there.times, self.times[-1] + middle + self.stray, "right"))
        nearest = np.full(len(self.times), np.inf)
        for rows, columns in there.hits(self.bits, start, stop):
            ahead = there.times[columns] - self.times[rows]
            gaps = np.abs(ahead - preferred)
            inside = np.abs(ahead - middle) <= self.stray
            near = np.flatnonzero(inside & (gaps < nearest[rows]))
            # The farthest first: of several for one frame the last one written stays.
            order = near[np.argsort(-gaps[near], kind="stable")]
            nearest[rows[order]] = gaps[order]
            place[rows[order]] = there.times[columns[order]]
        return place

    def _offsets(self) -> tuple[float, float]:
        """Seconds from the scene's frames to their places: the middle, and what most say exactly.

        The middle is of the stretch, `stray` to either side, that has the most votes.
        """
        width = max(1, round(2 * self.stray / _BIN_SECONDS))
        padded = np.concatenate([[0] * width, self.votes, [0] * width])
        sums = np.cumsum(padded)
        windows = sums[width:] - sums[:-width]
        best = np.flatnonzero(windows == windows.max())
        # A narrow peak is in as many windows as one is wide: it is in the middle of them.
        first_run = best[: int(np.argmax(np.diff(best, append=best[-1] + 2) > 1)) + 1]
        window = (int(first_run[0]) + int(first_run[-1])) // 2 + 1
        mode = int(np.argmax(padded[window : window + width])) + window
        centres = np.array([window + (width - 1) / 2, mode]) - width + 0.5
        middle, preferred = self.lowest + centres * _BIN_SECONDS
        return float(middle), float(preferred)
