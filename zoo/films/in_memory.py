"""A film made of frames at hand, without a file: for conformance checks and for experiments."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zoo.base.frame_size import FrameSize
from zoo.films.film import Film, Shot
from zoo.films.split import split_by_shot
from zoo.films.store import Damage, FrameStore, Manifest


@dataclass(frozen=True)
class MemoryStore(FrameStore):
    """A store whose frames, uint8 (N, H, W, 3), were never on disk."""

    held: npt.NDArray[np.uint8]

    @functools.cached_property
    def array(self) -> Any:
        """The frames, uint8 (N, H, W, 3), RGB, read-only."""
        view = self.held.view()
        view.flags.writeable = False
        return view

    @functools.cached_property
    def times(self) -> npt.NDArray[np.float64]:
        """When each frame is shown: seconds, (N,)."""
        return np.arange(len(self.held)) / self.manifest.fps


def film_of(
    frames: npt.NDArray[np.uint8],
    *,
    name: str = "frames",
    fps: float = 25.0,
    cuts: Sequence[int] = (),
    holdout: float = 0.1,
) -> Film:
    """A film of frames, uint8 (N, H, W, 3), RGB; `cuts` are the first frames of later shots."""
    count, height, width, _ = frames.shape
    edges = [0, *cuts, count]
    shots = list(itertools.pairwise(edges))
    size = FrameSize(width, height)
    digest = hashlib.sha256(np.ascontiguousarray(frames).tobytes()).hexdigest()
    manifest = Manifest(
        fingerprint=digest,
        size=str(size),
        fit="crop",
        frames=count,
        fps=fps,
        variable_rate=False,
        parts=[],
        damage=Damage(),
        resampled=None,
        detector="given",
        shots=shots,
        splits={},
        pyav="",
        ffmpeg="",
    )
    return Film(
        name=name,
        title=name,
        licence=None,
        source="frames in memory",
        size=size,
        fps=fps,
        shots=tuple(Shot(*shot) for shot in shots),
        split=split_by_shot(shots, count, fps, holdout),
        fingerprint=digest,
        store=MemoryStore(Path(), manifest, frames),
    )
