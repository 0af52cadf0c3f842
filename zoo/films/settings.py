"""What decides how a film is ingested, and what is told of it on the way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from zoo.base.frame_size import FrameSize
from zoo.films.film_entry import Fit

INGEST_VERSION = 3
"""Part of every store's key: raised when the same file would give other frames than before."""


@dataclass(frozen=True)
class IngestProgress:
    """How far an ingest is. `expected` is an estimate from what the files state, 0 if nothing.

    `message`, where there is one, is a line to be shown and kept.
    """

    film: str
    frames: int
    expected: int
    message: str | None = None


Progress = Callable[[IngestProgress], None]


@dataclass(frozen=True)
class IngestSettings:
    """All that decides what the frames of a store are, beside the files."""

    size: FrameSize
    fit: Fit
    crop: str
    start: float | None
    stop: float | None
    fps: Fraction | None

    def hashed(self, contents: list[str]) -> str:
        """A hash of these settings and of what the files hold, as hex."""
        fields = {
            "version": INGEST_VERSION,
            "contents": contents,
            "size": str(self.size),
            "fit": self.fit,
            "crop": self.crop,
            "start": self.start,
            "stop": self.stop,
            "fps": None if self.fps is None else str(self.fps),
        }
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
