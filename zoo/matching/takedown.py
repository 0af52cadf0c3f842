"""The takedown score: would a content-matching system know a film by its reconstruction?

Thresholds and rules are those published with PDQ and vPDQ (facebook/ThreatExchange, `pdq` and
`vpdq`): distance at most 31 of 256, both qualities at least 50, and a video matches where 80 % of
its comparable frames do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zoo.matching.film_hashes import HashedFilm
from zoo.matching.pdq import (
    FARTHEST,
    MATCHES_WITHIN,
    Hashes,
    distances,
    nearest_distances,
    pairwise_distances,
)

FILM_MATCHES_FROM = 0.8
"""Share of comparable frames from which a video as a whole matches: the published threshold."""
MOMENT_SECONDS = 0.5
"""Frames this close in time are the same moment."""
# Containers round times to the millisecond.
_ROUNDED = 0.001


@dataclass(frozen=True)
class Takedown:
    """How well a film is known by its reconstruction; shares are from 0 to 1, None of nothing."""

    comparable: int
    """Frames of the original of quality 50 or more: what `matched`, `retrieved` and `found` are
    shares of."""
    drawn_comparable: int
    """Reconstructed frames of quality 50 or more: what `precision` and `false_matches` are of."""
    matched: float | None
    """Frames whose reconstruction is comparable too and within distance 31 of them."""
    retrieved: float | None
    """Frames whose reconstruction is within 31 of its own moment of its own film, with no frame of
    any film in the catalogue nearer."""
    found: float | None
    """Frames that some reconstructed frame matches, whichever: the measure of vPDQ."""
    precision: float | None
    """Of all matches of a reconstructed frame with a film, those with its own. None where there is
    no other film, or no match."""
    false_matches: dict[str, float]
    """For each other film, the share of reconstructed frames that match some frame of it."""

    @property
    def film_matches(self) -> bool:
        """Whether the film as a whole would match, at the published 80 %."""
        return self.found is not None and self.found >= FILM_MATCHES_FROM


@torch.inference_mode()
def takedown(original: HashedFilm, drawn: Hashes, catalogue: Sequence[HashedFilm]) -> Takedown:
    """Score a reconstruction against its original among the films of a catalogue.

    `drawn` holds a hash for each of the original's frames, in order, on the same device as all
    others. Films are told apart by name; the original is searched whether or not it is in the
    catalogue. Raises ValueError where frames are missing.
    """
    if len(drawn) != len(original):
        raise ValueError(f"{len(drawn)} reconstructions of {len(original)} frames")
    known = original.hashes.comparable
    judged = known & drawn.comparable
    apart = distances(original.hashes.bits, drawn.bits)

    queries = torch.nonzero(drawn.comparable).flatten()
    asked = drawn.bits[queries]
    own = _search_own(original, queries, asked)
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
    retrieved = known[queries] & (own.at_home <= MATCHES_WITHIN) & (own.at_home <= nearest)
    frames = int(known.sum())
    return Takedown(
        comparable=frames,
        drawn_comparable=len(queries),
        matched=_share((judged & (apart <= MATCHES_WITHIN)).sum(), frames),
        retrieved=_share(retrieved.sum(), frames),
        found=_share(own.found.sum(), frames),
        precision=_share(hits.sum(), matches) if false_matches else None,
        false_matches=false_matches,
    )


def own_moments(film: HashedFilm) -> tuple[Tensor, Tensor]:
    """First and last frame of the moment that each frame belongs to: int64 (N,) each.

    A moment is half a second to either side, and further as long as every frame matches this one:
    in a static shot the matching itself cannot tell one frame from the next.
    """
    times = film.times
    near = MOMENT_SECONDS + _ROUNDED
    first = np.searchsorted(times, times - near, side="left")
    last = np.searchsorted(times, times + near, side="right") - 1
    bits, device = film.hashes.bits, film.hashes.bits.device
    ahead = _alike_for(bits)
    behind = _alike_for(bits.flip(0)).flip(0)
    place = torch.arange(len(film), device=device)
    return (
        torch.minimum(torch.from_numpy(first).to(device), place - behind),
        torch.maximum(torch.from_numpy(last).to(device), place + ahead),
    )


def _alike_for(bits: Tensor) -> Tensor:
    """How many frames after each match it, without a break: int64 (N,)."""
    frames = len(bits)
    reach = torch.zeros(frames, dtype=torch.int64, device=bits.device)
    alive = torch.arange(frames, device=bits.device)
    step = 0
    while len(alive):
        step += 1
        alive = alive[alive + step < frames]
        alive = alive[distances(bits[alive], bits[alive + step]) <= MATCHES_WITHIN]
        reach[alive] = step
    return reach


@dataclass(frozen=True)
class _Own:
    """What a search of the original's own film found."""

    nearest: Tensor
    """Distance of each query (Q,) from the nearest frame."""
    at_home: Tensor
    """Distance of each query (Q,) from the nearest frame of its own moment."""
    found: Tensor
    """Which frames of the original (N,) some query matches."""


def _search_own(original: HashedFilm, queries: Tensor, asked: Tensor) -> _Own:
    device = asked.device
    places = torch.nonzero(original.hashes.comparable).flatten()
    first, last = (edge[queries, None] for edge in own_moments(original))
    nearest = torch.full((len(queries),), FARTHEST, device=device)
    at_home = nearest.clone()
    found = torch.zeros(len(original), dtype=torch.bool, device=device)
    for block in pairwise_distances(asked, original.hashes.bits[places]):
        rows, here = block.rows, places[block.columns]
        apart = block.distances.float()
        nearest[rows] = torch.minimum(nearest[rows], apart.amin(dim=1))
        found[here] |= block.close.any(dim=0)
        elsewhere = (here < first[rows]) | (here > last[rows])
        at_home[rows] = torch.minimum(
            at_home[rows], apart.masked_fill_(elsewhere, FARTHEST).amin(dim=1)
        )
    return _Own(nearest, at_home, found)


def _share(count: Tensor, whole: int) -> float | None:
    return int(count) / whole if whole else None
