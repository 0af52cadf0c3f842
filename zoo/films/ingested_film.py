"""A film after ingest: a named, ordered set of frames with shots, time codes and a split."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from zoo.base.frame_size import FrameSize
from zoo.base.records import FilmInfo
from zoo.base.time_code import FrameTimes, format_time_code
from zoo.films.frame_store import Damage, FrameStore, InMemoryFrameStore, Manifest
from zoo.films.shots_and_split import Split, split_by_shot


@dataclass(frozen=True)
class Shot:
    """A run of frames between two cuts: `[start, stop)`."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Film:
    """An ingested film at one size. Frames are RGB, full range, display values, 8 bits."""

    name: str
    title: str
    licence: str | None
    """None if no licence is stated: frames of such a film should not be published."""
    source: str
    """Names of the files it came from, to be shown."""
    size: FrameSize
    fps: float
    """Frames per second, the mean if the rate varies; `frame_seconds` has each frame's time."""
    shots: tuple[Shot, ...]
    """In order, covering every frame."""
    split: Split
    fingerprint: str
    """Hash of the files' contents and the ingest settings: the same on every machine."""
    store: FrameStore

    def __len__(self) -> int:
        return self.store.manifest.frames

    @property
    def frames(self) -> npt.NDArray[np.uint8]:
        """All frames as a read-only view, uint8 (N, 3, H, W); nothing is read until indexed."""
        return self.store.array.transpose(0, 3, 1, 2)

    @property
    def frame_seconds(self) -> npt.NDArray[np.float64]:
        """The time of each frame, in seconds from the start of the source: (N,), ascending."""
        return self.store.times

    @property
    def times(self) -> FrameTimes:
        """Frame numbers to seconds and back."""
        return FrameTimes.of(self.frame_seconds)

    def seconds(self, start: int, stop: int) -> float:
        """Return the duration of the frames `[start, stop)`, in seconds."""
        if not self.store.manifest.variable_rate:
            # Times are rounded, but equal numbers of frames last equally long.
            return (stop - start) / self.fps
        times = self.times
        return float(times.at(stop) - times.at(start))

    def time_code(self, frame: int) -> str:
        """Return the time of a frame in the source, as `00:01:02.480`."""
        return format_time_code(float(self.store.times[frame]))

    def info(self) -> FilmInfo:
        """Return the description of the film that records hold."""
        return FilmInfo(
            name=self.name,
            title=self.title,
            licence=self.licence,
            source=self.source,
            fingerprint=self.fingerprint,
            size=str(self.size),
            frames=len(self),
            fps=self.fps,
            shots=len(self.shots),
            seen_frames=len(self.split.seen),
            held_out_frames=len(self.split.held_out),
            held_out=[(start, stop) for start, stop in self.split.held_out_runs],
            shot_starts=[shot.start for shot in self.shots],
            begins=float(self.frame_seconds[0]),
        )


def film_from_frames(
    frames: npt.NDArray[np.uint8],
    *,
    name: str = "frames",
    fps: float = 25.0,
    cuts: Sequence[int] = (),
    holdout: float = 0.1,
) -> Film:
    """Make a film of frames, uint8 (N, H, W, 3), RGB, for tests and experiments.

    `cuts` are the first frames of all shots but the first."""
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
        store=InMemoryFrameStore(Path(), manifest, frames),
    )
