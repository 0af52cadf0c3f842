"""Find the scenes of one film in another, and where they are.

Frames are compared as in vPDQ (facebook/ThreatExchange, `vpdq`), regardless of order; the position
of a scene follows from the times of its matches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo.matching.pdq_hashes import (
    MATCHES_WITHIN,
    HashedFilm,
    nearest_distances,
    pairwise_distances,
)
from zoo.matching.takedown import FILM_MATCHES_FROM

Seconds = npt.NDArray[np.float64]
_Indices = npt.NDArray[np.int64]
Verdict = Literal["whole", "excerpt", "scenes", "none", "too little"]

FEWEST = 10
"""Frames of each film that a verdict needs."""
SCENE_FOUND_FROM = 0.5
"""Share of a scene's frames that have to match in one place. It is lower than for a film, because
with fast motion, frames that a copy at another frame rate leaves out have no match."""
STRAY_SECONDS, STRAY_SHARE = 0.5, 0.05
"""How far a match may be from the position of its scene: in seconds, plus a share of the scene's
length, for copies that run at a slightly different speed."""
_BIN_SECONDS = 0.02


@dataclass(frozen=True)
class SceneMatch:
    """A scene of the original and its matches in the suspect; times are in seconds."""

    start: float
    stop: float
    asked: int
    """Number of frames looked up: those of quality 50 or more, or every n-th of them."""
    matched: float | None
    """The share of these that match any frame of the suspect; None without frames."""
    in_place: float | None
    """The largest share of these that match frames in one section of the suspect."""
    suspect_start: float | None
    """Time of the first match in that section; None without matches."""
    suspect_stop: float | None
    """Time of the last match in that section; None without matches."""

    @property
    def found(self) -> bool:
        """Whether the scene was found: half of its frames match in one place."""
        return self.in_place is not None and self.in_place >= SCENE_FOUND_FROM


@dataclass(frozen=True)
class FilmMatch:
    """How much of an original a suspect contains; shares from 0 to 1, None without frames."""

    verdict: Verdict
    asked: int
    """Frames of the original with a quality of 50 or more, or every n-th of them."""
    suspect_asked: int
    matched: float | None
    """The share of the original's frames that match any frame of the suspect."""
    suspect_matched: float | None
    """The share of the suspect's frames that match any frame of the original."""
    scenes: tuple[SceneMatch, ...]

    @property
    def matches(self) -> bool:
        """Whether the films match as a whole, by vPDQ's rule."""
        return self.verdict in ("whole", "excerpt")


@torch.inference_mode()
def search(original: HashedFilm, suspect: HashedFilm, every: int = 1) -> FilmMatch:
    """Search the suspect for every scene of the original; both must be on one device.

    Every `every`-th comparable frame of each film is looked up among all frames of the other. If
    both were thinned out, a copy's remaining frames could fall between those of the original.

    The verdict is `whole` if 80 % of the original's frames match, else `excerpt` if 80 % of the
    suspect's do, else `scenes` if some scene is found, else `none`; `too little` if fewer than ten
    frames of either film are looked up.
    """
    searched = _SearchedFilm.of(suspect)
    usable = original.hashes.comparable
    scenes, hits = [], []
    for start, stop in original.scenes:
        shown = (original.times >= start) & (original.times < stop) & usable.cpu().numpy()
        asked = np.flatnonzero(shown)[::every]
        chosen = torch.from_numpy(asked).to(searched.bits.device)
        one = _Scene(original.hashes.bits[chosen], original.times[asked])
        hits.append(one.match_frames(searched))
        place = one.match_times(searched)
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
    back = nearest_distances(searched.bits[::every], original.hashes.bits[usable]).cpu().numpy()
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
    """The comparable frames of the suspect, which is searched."""

    bits: Tensor
    times: Seconds

    @classmethod
    def of(cls, film: HashedFilm) -> _SearchedFilm:
        known = film.hashes.comparable
        return cls(film.hashes.bits[known], film.times[known.cpu().numpy()])

    def hits(self, queries: Tensor, start: int, stop: int) -> Iterator[tuple[_Indices, _Indices]]:
        """Yield matching pairs of a query and a frame in `[start, stop)`, block by block.

        Blocks bound the memory even for a long still scene, in which all pairs match.
        """
        for block in pairwise_distances(queries, self.bits[start:stop]):
            rows, columns = torch.nonzero(block.close, as_tuple=True)
            yield (
                rows.cpu().numpy() + block.rows.start,
                columns.cpu().numpy() + (start + block.columns.start),
            )


class _Scene:
    """The comparable frames of one scene, and the votes of their matches for a position."""

    def __init__(self, bits: Tensor, times: Seconds) -> None:
        self.bits = bits
        self.times = times
        length = float(times[-1] - times[0]) if len(times) else 0.0
        self.stray = STRAY_SECONDS + STRAY_SHARE * length
        self.votes = np.zeros(0, dtype=np.int64)
        """Votes by offset from a frame to its match in seconds, in bins from `lowest` on."""
        self.lowest = 0.0

    def match_frames(self, searched: _SearchedFilm) -> npt.NDArray[np.bool_]:
        """Return which frames match any frame of the searched film, (N,)."""
        hit = np.zeros(len(self.times), dtype=bool)
        if not len(self.times) or not len(searched.times):
            return hit
        self.lowest = float(searched.times[0] - self.times[-1])
        highest = float(searched.times[-1] - self.times[0])
        bins = int((highest - self.lowest) / _BIN_SECONDS) + 1
        self.votes = np.zeros(bins, dtype=np.int64)
        for rows, columns in searched.hits(self.bits, 0, len(searched.times)):
            hit[rows] = True
            ahead = searched.times[columns] - self.times[rows] - self.lowest
            cast = (ahead / _BIN_SECONDS).astype(np.int64).clip(0, bins - 1)
            # A frame has one vote per position, however many similar frames are there.
            chosen, count = np.unique(np.unique(rows * bins + cast) % bins, return_counts=True)
            self.votes[chosen] += count
        return hit

    def match_times(self, searched: _SearchedFilm) -> Seconds:
        """Return the times of matches in the section with most votes, (N,); NaN without one."""
        place = np.full(len(self.times), np.nan)
        if not self.votes.any():
            return place
        middle, preferred = self._offsets()
        start = int(np.searchsorted(searched.times, self.times[0] + middle - self.stray, "left"))
        stop = int(np.searchsorted(searched.times, self.times[-1] + middle + self.stray, "right"))
        nearest = np.full(len(self.times), np.inf)
        for rows, columns in searched.hits(self.bits, start, stop):
            ahead = searched.times[columns] - self.times[rows]
            gaps = np.abs(ahead - preferred)
            inside = np.abs(ahead - middle) <= self.stray
            near = np.flatnonzero(inside & (gaps < nearest[rows]))
            # Farthest first, so that the nearest match of a frame is written last and remains.
            order = near[np.argsort(-gaps[near], kind="stable")]
            nearest[rows[order]] = gaps[order]
            place[rows[order]] = searched.times[columns[order]]
        return place

    def _offsets(self) -> tuple[float, float]:
        """Return two offsets, in seconds: the middle of the best section, and the best single bin.

        A section extends `stray` to both sides; the best one has the most votes.
        """
        width = max(1, round(2 * self.stray / _BIN_SECONDS))
        padded = np.concatenate([[0] * width, self.votes, [0] * width])
        sums = np.cumsum(padded)
        windows = sums[width:] - sums[:-width]
        best = np.flatnonzero(windows == windows.max())
        # Many overlapping windows contain a narrow peak: take the middle one of them.
        first_run = best[: int(np.argmax(np.diff(best, append=best[-1] + 2) > 1)) + 1]
        window = (int(first_run[0]) + int(first_run[-1])) // 2 + 1
        mode = int(np.argmax(padded[window : window + width])) + window
        centres = np.array([window + (width - 1) / 2, mode]) - width + 0.5
        middle, preferred = self.lowest + centres * _BIN_SECONDS
        return float(middle), float(preferred)
