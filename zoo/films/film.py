"""A film: a named, ordered set of frames with shots, time codes and a split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoo.base.frame_size import FrameSize
from zoo.base.records import FilmInfo
from zoo.films.split import Split
from zoo.films.store import FrameStore
from zoo.films.time_code import FrameTimes, format_time_code


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
    """None where no licence is stated: pictures of such a film are not for publishing."""
    source: str
    """Names of the files it came from, for people."""
    size: FrameSize
    fps: float
    """Frames a second, the mean where the rate varies; `time_codes` has each frame's time."""
    shots: tuple[Shot, ...]
    """In order, covering every frame."""
    split: Split
    fingerprint: str
    """Hash of what the files hold and how they were ingested: the same on every machine."""
    store: FrameStore

    def __len__(self) -> int:
        return self.store.manifest.frames

    @property
    def frames(self) -> npt.NDArray[np.uint8]:
        """All frames as a read-only view, uint8 (N, 3, H, W); nothing is read until indexed."""
        return self.store.array.transpose(0, 3, 1, 2)

    @property
    def time_codes(self) -> npt.NDArray[np.float64]:
        """When each frame is shown, in seconds from the start of the source: (N,), ascending."""
        return self.store.times

    @property
    def times(self) -> FrameTimes:
        """Frame numbers to seconds and back."""
        return FrameTimes.of(self.time_codes)

    def seconds(self, start: int, stop: int) -> float:
        """How long the frames from `start` up to and without `stop` are shown, in seconds."""
        if not self.store.manifest.variable_rate:
            # Times are rounded; equal numbers of frames last equally long.
            return (stop - start) / self.fps
        times = self.times
        return float(times.at(stop) - times.at(start))

    def time_code(self, frame: int) -> str:
        """When a frame is shown in the source, as `00:01:02.480`."""
        return format_time_code(float(self.store.times[frame]))

    def info(self) -> FilmInfo:
        """The film as a record names it."""
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
            begins=float(self.time_codes[0]),
        )
