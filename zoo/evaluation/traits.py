"""Traits of a film's frames, by which it is asked where a model fails."""

from __future__ import annotations

from collections.abc import Container, Mapping

import numpy as np

from zoo.base.records import Slice
from zoo.evaluation.summary import Frames, Values, mean_of
from zoo.films.film import Film

SLICES = 5
CHUNK = 64
LUMA = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
"""Rec. ITU-R BT.709, on display values."""


def traits_of(film: Film) -> dict[str, Values]:
    """Traits of every frame, (N,) each.

    - brightness: mean luma, 0 to 255
    - contrast: standard deviation of luma over the frame, in levels
    - motion: root mean square change of luma from the frame before, in levels; NaN where a shot
      begins
    - shot length: seconds
    """
    frames = len(film)
    brightness, contrast, motion = np.empty((3, frames))
    before = None
    for start in range(0, frames, CHUNK):
        chunk = slice(start, min(start + CHUNK, frames))
        luma = np.asarray(film.store.array[chunk]).astype(np.float32) @ LUMA
        brightness[chunk] = luma.mean(axis=(1, 2))
        contrast[chunk] = luma.std(axis=(1, 2))
        change = np.diff(luma, axis=0, prepend=luma[:1] if before is None else before)
        motion[chunk] = np.sqrt(np.square(change).mean(axis=(1, 2)))
        before = luma[-1:]
    lengths = np.empty(frames)
    for shot in film.shots:
        motion[shot.start] = np.nan
        lengths[shot.start : shot.stop] = film.seconds(shot.start, shot.stop)
    return {
        "brightness": brightness,
        "contrast": contrast,
        "motion": motion,
        "shot length": lengths,
    }


def slices(
    traits: Mapping[str, Values],
    scores: Mapping[str, Values],
    frames: Frames,
    ratios: Container[str] = (),
) -> list[Slice]:
    """Scores of some frames by fifths of each trait; `ratios` are metrics with geometric means.

    The fifths are those of the whole film, so that seen and held-out frames are cut alike; a fifth
    that holds none of the frames is left out, as is a trait that is the same everywhere.
    """
    found = []
    for trait, values in traits.items():
        edges = np.unique(np.nanquantile(values, np.linspace(0, 1, SLICES + 1)))
        if len(edges) < 2:
            continue
        at = values[frames]
        known = np.isfinite(at)
        which = np.full(len(frames), -1)
        which[known] = np.searchsorted(edges[1:-1], at[known], side="right")
        for number in range(len(edges) - 1):
            inside = frames[which == number]
            if len(inside):
                found.append(
                    Slice(
                        by=trait,
                        lowest=float(values[inside].min()),
                        highest=float(values[inside].max()),
                        frames=len(inside),
                        scores={
                            name: mean_of(all_[inside], name in ratios)
                            for name, all_ in scores.items()
                        },
                    )
                )
    return found
