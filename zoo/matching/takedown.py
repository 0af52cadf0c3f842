"""The takedown score: whether content matching would recognise a film by its reconstruction.

Thresholds and rules are those published with PDQ and vPDQ (facebook/ThreatExchange, `pdq` and
`vpdq`): frames match if their distance is at most 31 of 256 and both qualities are at least 50. A
video matches if 80 % of its comparable frames do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zoo.matching.pdq_hashes import (
    FARTHEST,
    MATCHES_WITHIN,
    HashedFilm,
    Hashes,
    distances,
    nearest_distances,
    pairwise_distances,
)

FILM_MATCHES_FROM = 0.8
"""Minimum share of comparable frames for a whole video to match: the published threshold."""
MOMENT_SECONDS = 0.5
"""Frames within this many seconds belong to the same moment."""
# Containers round times to the millisecond.
_ROUNDED = 0.001


@dataclass(frozen=True)
class Takedown:
    """How well a film is recognised by its reconstruction; shares in [0, 1], None if undefined."""

    comparable: int
    """Frames of the original with a quality of 50 or more; `matched`, `retrieved` and `found` are
    shares of these."""
    reconstruction_comparable: int
    """Reconstructed frames with a quality of 50 or more; `false_matches` are shares of these."""
    matched: float | None
    """Share of frames whose reconstruction is comparable too and within distance 31."""
    retrieved: float | None
    """Share of frames whose reconstruction is within distance 31 of their own moment, with no other
    frame of any film in the catalogue nearer."""
    found: float | None
    """Share of frames that any reconstructed frame matches: the measure of vPDQ."""
    precision: float | None
    """Share of matches with the own film in all matches of reconstructed frames with films. None if
    there is no other film, or no match."""
    false_matches: dict[str, float]
    """For each other film, the share of reconstructed frames that match any of its frames."""

    @property
    def film_matches(self) -> bool:
        """Whether the film as a whole would match, by the published threshold of 80 %."""
        return self.found is not None and self.found >= FILM_MATCHES_FROM


@torch.inference_mode()
def takedown(
    original: HashedFilm, reconstruction: Hashes, catalogue: Sequence[HashedFilm]
) -> Takedown:
    """Score a reconstruction against its original among the films of a catalogue.

    `reconstruction` has a hash for each of the original's frames, in order, on the same device.
    Films are identified by name; the original is searched whether or not it is in the catalogue.
    Raises ValueError if frames are missing.
    """
    if len(reconstruction) != len(original):
        raise ValueError(f"{len(reconstruction)} reconstructions of {len(original)} frames")
    known = original.hashes.comparable
    both_comparable = known & reconstruction.comparable
    distance = distances(original.hashes.bits, reconstruction.bits)

    queries = torch.nonzero(reconstruction.comparable).flatten()
    asked = reconstruction.bits[queries]
    own = _search_own_film(original, queries, asked)
    hits = own.nearest <= MATCHES_WITHIN
    nearest, matches = own.nearest, int(hits.sum())
    false_matches = {}
    for film in catalogue:
        if film.name == original.name:
            continue
        theirs = nearest_distances(asked, film.hashes.bits[film.hashes.comparable])
        nearest = torch.minimum(nearest, theirs)
        wrong = int((theirs <= MATCHES_WITHIN).sum())
        matches += wrong
        if len(queries):
            false_matches[film.name] = wrong / len(queries)
    retrieved = (
        known[queries]
        & (own.nearest_in_moment <= MATCHES_WITHIN)
        & (own.nearest_in_moment <= nearest)
    )
    frames = int(known.sum())
    return Takedown(
        comparable=frames,
        reconstruction_comparable=len(queries),
        matched=_share((both_comparable & (distance <= MATCHES_WITHIN)).sum(), frames),
        retrieved=_share(retrieved.sum(), frames),
        found=_share(own.found.sum(), frames),
        precision=_share(hits.sum(), matches) if false_matches else None,
        false_matches=false_matches,
    )


def own_moments(film: HashedFilm) -> tuple[Tensor, Tensor]:
    """Return the first and last frame of each frame's moment: int64 (N,) each.

    A moment extends half a second to both sides, and further while all frames match this one,
    because hashes cannot distinguish the frames of a static shot.
    """
    times = film.times
    near = MOMENT_SECONDS + _ROUNDED
    first = np.searchsorted(times, times - near, side="left")
    last = np.searchsorted(times, times + near, side="right") - 1
    bits, device = film.hashes.bits, film.hashes.bits.device
    ahead = _consecutive_matches(bits)
    behind = _consecutive_matches(bits.flip(0)).flip(0)
    place = torch.arange(len(film), device=device)
    return (
        torch.minimum(torch.from_numpy(first).to(device), place - behind),
        torch.maximum(torch.from_numpy(last).to(device), place + ahead),
    )


def _consecutive_matches(bits: Tensor) -> Tensor:
    """Return how many consecutive frames after each one match it: int64 (N,)."""
    frames = len(bits)
    reach = torch.zeros(frames, dtype=torch.int64, device=bits.device)
    matching = torch.arange(frames, device=bits.device)
    step = 0
    while len(matching):
        step += 1
        matching = matching[matching + step < frames]
        matching = matching[distances(bits[matching], bits[matching + step]) <= MATCHES_WITHIN]
        reach[matching] = step
    return reach


@dataclass(frozen=True)
class _OwnFilmMatches:
    """The result of searching the reconstruction's own film."""

    nearest: Tensor
    """Distance of each query (Q,) from the nearest frame."""
    nearest_in_moment: Tensor
    """Distance of each query (Q,) from the nearest frame of its own moment."""
    found: Tensor
    """Which frames of the original (N,) any query matches."""


def _search_own_film(original: HashedFilm, queries: Tensor, asked: Tensor) -> _OwnFilmMatches:
    device = asked.device
    places = torch.nonzero(original.hashes.comparable).flatten()
    first, last = (edge[queries, None] for edge in own_moments(original))
    nearest = torch.full((len(queries),), FARTHEST, device=device)
    nearest_in_moment = nearest.clone()
    found = torch.zeros(len(original), dtype=torch.bool, device=device)
    for block in pairwise_distances(asked, original.hashes.bits[places]):
        rows, here = block.rows, places[block.columns]
        distance = block.distances.float()
        nearest[rows] = torch.minimum(nearest[rows], distance.amin(dim=1))
        found[here] |= block.close.any(dim=0)
        outside = (here < first[rows]) | (here > last[rows])
        nearest_in_moment[rows] = torch.minimum(
            nearest_in_moment[rows], distance.masked_fill_(outside, FARTHEST).amin(dim=1)
        )
    return _OwnFilmMatches(nearest, nearest_in_moment, found)


def _share(count: Tensor, whole: int) -> float | None:
    return int(count) / whole if whole else None
