"""A film's frames on disk at one size: a flat file of frames, their times, and a manifest.

A store is a folder, written under a temporary name and renamed when it is complete:

    frames.rgb      uint8 (N, H, W, 3)
    times.npy       float64 (N,), seconds from the start of the source
    scores.npy      float32 (N,), how much each frame differs from the one before, 0 to 100
    manifest.json   everything else, see `Manifest`
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from zoo.api.film_entry import Fit
from zoo.base.atomic_files import best_effort, remove_folder, write_json
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.locks import SUFFIX, FileLock, LockHeld, exclusive_lock, try_exclusive, try_shared
from zoo.base.records import Number
from zoo.base.untrusted_files import OtherSchema, read_array, read_json

FRAMES, TIMES, SCORES, MANIFEST = "frames.rgb", "times.npy", "scores.npy", "manifest.json"


INGEST_VERSION = 3
"""Part of every store's key; incremented whenever the same file would give different frames."""


@dataclass(frozen=True)
class IngestSettings:
    """The settings that, together with the files, determine the frames of a store."""

    size: FrameSize
    fit: Fit
    crop: str
    start: float | None
    stop: float | None
    fps: Fraction | None

    def fingerprint(self, contents: list[str]) -> str:
        """Hash these settings and the files' contents, as hex: the fingerprint of a store."""
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


class _ManifestModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)


class Bars(_ManifestModel):
    """Black bars: rows and columns at the edges of the coded picture, in pixels."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


class Join(_ManifestModel):
    """A jump of a file's clock that was removed, in seconds on the file's own clock."""

    before: float
    """The time of the last frame before the jump."""
    after: float
    """The time of the first frame after it."""
    shift: float
    """Seconds to add to the file's own times after the jump to get film times."""


def film_seconds(own: float, starts: float, joins: Sequence[Join]) -> float:
    """Convert seconds on a file's own clock to seconds on the film's time line.

    `starts` is the film time at which the file begins. Where the clock jumps ahead, as between
    parts of a transport stream that were recorded separately, frames follow without a gap. If the
    clock restarts, a time occurs twice; the first occurrence is meant.
    """
    shift = starts
    for join in joins:
        if join.after <= join.before or own - join.before <= join.after - own:
            break
        shift = join.shift
    return own + shift


class Part(_ManifestModel):
    """One file of a film: its properties, and the result of decoding it."""

    file: str
    codec: str
    width: int
    height: int
    pixel_format: str
    pixel_aspect: str
    rate: Number
    duration: Number
    matrix: str
    range: str
    transfer: str
    primaries: str
    rotation: int
    """Degrees clockwise by which the picture was rotated upright."""
    mirrored: bool = False
    """Whether the picture was mirrored, left for right, before it was rotated."""
    interlaced: bool
    bars: Bars
    cropping: Bars = Bars()
    """What the header cuts off, in pixels of the coded picture; the rest is `width` x `height`."""
    notes: list[str] = []
    """Properties that the file states and that were not followed, or not exactly."""
    starts: float
    """Seconds on the film's time line at which this file begins."""
    frames: int
    joins: list[Join] = []
    """Jumps of its clock that were removed, in the file's order."""


class Damage(_ManifestModel):
    """What was wrong with the files and could be worked around."""

    packets: int = 0
    """Packets that could not be decoded."""
    frames: int = 0
    """Frames that the decoder reported as corrupt, which are left out."""
    times: int = 0
    """Frames whose time was missing or out of order, and was derived from the frame rate."""
    notes: list[str] = []

    @property
    def summary(self) -> str:
        """The damage in words; empty if there was none."""
        counts = (
            (self.packets, "packets could not be decoded"),
            (self.frames, "corrupt frames left out"),
            (self.times, "missing or disordered times repaired"),
        )
        return "; ".join([f"{count:,} {what}" for count, what in counts if count] + self.notes)


class Resampled(_ManifestModel):
    """What resampling to another frame rate did, in frames."""

    dropped: int
    repeated: int


class SplitRecord(_ManifestModel):
    """Held-out runs `[start, stop)` and the gap around them, in frames."""

    runs: list[tuple[int, int]]
    gap: int


class SourceFile(_ManifestModel):
    """The identity of one file of a film when it was decoded."""

    changed: int
    """Modification time: nanoseconds since 1970."""
    sha256: str


class Manifest(_ManifestModel):
    """The contents of `manifest.json`: everything about a store except its frames and times."""

    format_version: Literal[1] = 1
    fingerprint: str
    size: str
    fit: Literal["crop", "pad"]
    frames: int = pydantic.Field(ge=1)
    fps: float
    """The mean if the rate varies."""
    variable_rate: bool
    parts: list[Part]
    damage: Damage
    resampled: Resampled | None
    detector: str
    shots: list[tuple[int, int]]
    splits: dict[str, SplitRecord]
    """Splits by the held-out share, written as text."""
    pyav: str
    ffmpeg: str
    files: list[SourceFile] = []
    """The film's files in order; empty in stores of film-zoo 0.1.0."""

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Manifest:
        starts = [0, *(stop for _, stop in self.shots)]
        ends = [start for start, _ in self.shots] + [self.frames]
        if starts != ends or any(start >= stop for start, stop in self.shots):
            raise ValueError("its shots do not cover its frames")
        runs = [run for split in self.splits.values() for run in split.runs]
        if any(not 0 <= start < stop <= self.frames for start, stop in runs):
            raise ValueError("it holds out frames that it does not have")
        if self.fps <= 0:
            raise ValueError("its frame rate must be more than 0")
        return self


@dataclass(frozen=True)
class FrameStore:
    """An open store on disk: random access to frames without decoding."""

    folder: Path
    manifest: Manifest
    in_use: FileLock | None = field(default=None, kw_only=True, repr=False, compare=False)
    """The lock that `find` takes, so that no process removes the frames."""

    @classmethod
    def open(cls, folder: Path) -> FrameStore:
        """Open a store; raises BadInput in one line if it is damaged or of another version."""
        store = cls(folder, read_json(folder / MANIFEST, Manifest))
        size = FrameSize.parse(store.manifest.size)
        try:
            held = (folder / FRAMES).stat().st_size
        except OSError:
            held = 0
        if held != store.manifest.frames * size.pixels * 3:
            raise BadInput(f"the frames in {folder} are damaged; delete that folder and try again")
        return store

    @classmethod
    def find(cls, folder: Path) -> FrameStore | None:
        """Open a store and lock it for the object's lifetime; None if there is no complete one.

        While it is locked, `remove_store` refuses to remove it. Raises OtherSchema if another
        version of film-zoo wrote it.
        """
        try:
            in_use = try_shared(folder / FRAMES)
        except OSError:
            return None
        if in_use is None:  # it is being removed
            return None
        try:
            store = cls.open(folder)
            _ = store.times, store.scores  # reading them checks them
        except BadInput as error:
            in_use.release()
            if isinstance(error, OtherSchema):
                raise
            return None
        return dataclasses.replace(store, in_use=in_use)

    @property
    def size(self) -> FrameSize:
        """The size of every frame."""
        return FrameSize.parse(self.manifest.size)

    @functools.cached_property
    def array(self) -> np.memmap[Any, np.dtype[np.uint8]]:
        """The frames, uint8 (N, H, W, 3), RGB, read-only; a memory map."""
        width, height = self.size
        shape = (self.manifest.frames, height, width, 3)
        return np.memmap(self.folder / FRAMES, dtype=np.uint8, mode="r", shape=shape)

    @functools.cached_property
    def times(self) -> npt.NDArray[np.float64]:
        """The time of each frame: seconds, (N,)."""
        return self._load(TIMES, np.float64)

    @functools.cached_property
    def scores(self) -> npt.NDArray[np.float32]:
        """How much each frame differs from the one before, 0 to 100: (N,)."""
        return self._load(SCORES, np.float32)

    def _load(self, name: str, kind: type[Any]) -> npt.NDArray[Any]:
        array: npt.NDArray[Any] | None = None
        with suppress(BadInput):  # raised below, with what to do
            array = read_array(self.folder / name)
        if array is None or array.shape != (self.manifest.frames,) or array.dtype != kind:
            raise BadInput(f"{name} in {self.folder} is damaged; delete that folder and try again")
        array.flags.writeable = False
        return array

    @property
    def bytes(self) -> int:
        """The size of the frames on disk."""
        return self.manifest.frames * self.size.pixels * 3

    def with_fields(self, **fields: Any) -> FrameStore:
        """Return the store with these manifest fields; write them to disk if possible."""
        manifest = self.manifest.model_copy(update=fields)
        with best_effort("changes to it"):
            write_json(self.folder / MANIFEST, manifest)
        return dataclasses.replace(self, manifest=manifest)

    def __getstate__(self) -> Mapping[str, Any]:
        # The receiving process maps the file itself; pickling a memory map would copy all frames.
        return {"folder": self.folder, "manifest": self.manifest}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)


def store_lock(folder: Path) -> Path:
    """Return the lock file of the store in a folder, held while making, changing or removing it.

    Film-zoo 0.1.0 made a store `KEY` in `.KEY.…`, under the same lock.
    """
    key = folder.name.removeprefix(".").partition(".")[0]
    return folder.with_name(key + SUFFIX)


@contextmanager
def exclusive_use(folder: Path) -> Iterator[None]:
    """Lock a store, complete or not, so that no process opens or makes it meanwhile.

    Raises LockHeld if a process uses or makes it.
    """
    what = f"the frame store of {folder.parent.name}"
    with exclusive_lock(store_lock(folder), what, waiting=None):
        frames = folder / FRAMES
        held = try_exclusive(frames) if frames.exists() else None
        if frames.exists() and held is None:
            raise LockHeld(f"{what} is in use by another process; wait for it, or stop it first")
        try:
            yield
        finally:
            if held:
                held.release()


def remove_store(folder: Path) -> None:
    """Delete a store, if it is there, and its lock. Raises LockHeld and CannotWrite."""
    with exclusive_use(folder):
        if folder.exists():
            remove_folder(folder)
        with suppress(OSError):
            # A process that waits for this lock sees that its file is gone, and makes another.
            store_lock(folder).unlink(missing_ok=True)


@dataclass(frozen=True)
class InMemoryFrameStore(FrameStore):
    """A frame store in memory: its frames, uint8 (N, H, W, 3), were never on disk."""

    frames: npt.NDArray[np.uint8]

    @functools.cached_property
    def array(self) -> Any:
        """The frames, uint8 (N, H, W, 3), RGB, read-only."""
        view = self.frames.view()
        view.flags.writeable = False
        return view

    @functools.cached_property
    def times(self) -> npt.NDArray[np.float64]:
        """The time of each frame: seconds, (N,)."""
        return np.arange(len(self.frames)) / self.manifest.fps
