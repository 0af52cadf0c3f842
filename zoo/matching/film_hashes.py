"""Hashes of whole films: of ingested ones, kept beside their frames, and of video files."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from zoo.api.film_entry import FilmEntry
from zoo.base.atomic_files import atomic_write, best_effort
from zoo.base.errors import BadInput
from zoo.base.frame_size import LARGEST, SMALLEST, FrameSize
from zoo.base.untrusted_files import read_arrays
from zoo.films.frame_store import MANIFEST, IngestSettings
from zoo.films.ingested_film import Film
from zoo.films.pipeline import (
    FramePipeline,
    Pixels,
    Progress,
    ProgressReporter,
    probe_film,
    repeat_if_bars_change,
)
from zoo.films.probe import FileProbe
from zoo.films.shots_and_split import find_shots
from zoo.matching.pdq import HashBuffer, Hashes, pdq

BATCH = 64
"""Frames that are hashed at once."""
_PIXELS = 256 * 144
"""Of the frames of a video file that are hashed, about; their shape is the picture's own."""
HASHES_FILE = "pdq.npz"
"""In a film's store: `bits`, uint8 (N, 32), and `quality`, uint8 (N,)."""


@dataclass(frozen=True)
class HashedFilm:
    """The hashes of a film's frames, and their times."""

    name: str
    hashes: Hashes
    times: npt.NDArray[np.float64]
    """Seconds, (N,), ascending."""
    scenes: tuple[tuple[float, float], ...]
    """Shots `[start, stop)` in seconds, in order."""

    def __len__(self) -> int:
        return len(self.hashes)


def hash_film(film: Film, device: torch.device) -> HashedFilm:
    """Hash every frame of an ingested film, or read its stored hashes.

    Damaged hashes are computed again; if they cannot be stored, a line says so.
    """
    hashes = _read(film)
    if hashes is None:
        buffer = HashBuffer()
        for start in range(0, len(film), BATCH):
            frames = torch.from_numpy(np.array(film.store.array[start : start + BATCH]))
            buffer.add(pdq(frames.to(device).permute(0, 3, 1, 2)))
        hashes = buffer.hashes(device)
        # A film in memory has no folder.
        if (film.store.folder / MANIFEST).exists():
            _write(film, hashes)
    return HashedFilm(
        film.name,
        hashes.to(device),
        film.frame_seconds,
        scene_times([(shot.start, shot.stop) for shot in film.shots], film.frame_seconds),
    )


def scene_times(
    shots: Iterable[tuple[int, int]], times: npt.NDArray[np.float64]
) -> tuple[tuple[float, float], ...]:
    """Convert shots from frames to seconds; the last frame lasts as long as the median."""
    median = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    begins = [float(times[start]) for start, _ in shots]
    return tuple(itertools.pairwise([*begins, float(times[-1]) + median]))


def _write(film: Film, hashes: Hashes) -> None:
    bits, quality = hashes.packed()
    with (
        best_effort(f"the hashes of {film.name}"),
        atomic_write(film.store.folder / HASHES_FILE) as temporary,
        temporary.open("wb") as file,
    ):
        np.savez(file, allow_pickle=False, bits=bits, quality=quality)


def _read(film: Film) -> Hashes | None:
    """Read the stored hashes; None if there are none, or if they are damaged."""
    try:
        stored = read_arrays(film.store.folder / HASHES_FILE, ("bits", "quality"))
        bits, quality = stored["bits"], stored["quality"]
    except (BadInput, KeyError, OSError):
        return None
    is_whole = bits.shape == (len(film), 32) and quality.shape == (len(film),)
    if not is_whole or bits.dtype != np.uint8 or quality.dtype != np.uint8:
        return None
    return Hashes.unpacked(bits, quality)


def hash_files(
    entry: FilmEntry, device: torch.device, progress: Progress | None = None
) -> HashedFilm:
    """Decode a film and hash every frame, without its black bars.

    `from`, `to`, `crop` and `fps` are the entry's. Memory holds a batch of frames,
    whatever the length. Raises BadInput if a file cannot be read or has fewer than two frames.
    """
    placeholder = FrameSize(256, 144)
    settings = IngestSettings(placeholder, "crop", entry.crop, entry.start, entry.stop, entry.fps)
    reporter = ProgressReporter(entry.name, progress)
    probes = probe_film(entry, settings, reporter)

    def hash_frames() -> HashedFilm:
        sized = dataclasses.replace(settings, size=_size_between_bars(probes[0]))
        pipeline = FramePipeline(entry, sized, probes, reporter)
        buffer = HashBuffer()
        with closing(pipeline.frames()) as frames:
            for batch in _batched(frames):
                pixels = torch.from_numpy(np.stack(batch)).to(device)
                buffer.add(pdq(pixels.permute(0, 3, 1, 2)))
        damage = pipeline.decoder.damage.summary
        if damage:
            reporter.message(f"{entry.name}: damaged: {damage}")
        times = np.array(pipeline.times)
        fps = float(1 / np.diff(times).mean())
        shots = find_shots(np.array(pipeline.scores, np.float32), np.array(pipeline.black), fps)
        return HashedFilm(entry.name, buffer.hashes(device), times, scene_times(shots, times))

    return repeat_if_bars_change(probes, reporter, hash_frames)


def _size_between_bars(probe: FileProbe) -> FrameSize:
    """Return a size of about `_PIXELS` in the shape of the picture between the bars."""
    part, bars = probe.part, probe.part.bars
    width = (part.width - bars.left - bars.right) * probe.pixel_aspect
    height = part.height - bars.top - bars.bottom
    shape = float(height / width) if part.rotation % 180 else float(width / height)
    across, down = math.sqrt(_PIXELS * shape), math.sqrt(_PIXELS / shape)
    return FrameSize(*(min(LARGEST, max(SMALLEST, 2 * round(side / 2))) for side in (across, down)))


def _batched(frames: Iterable[Pixels]) -> Iterator[list[Pixels]]:
    frames = iter(frames)
    while batch := list(itertools.islice(frames, BATCH)):
        yield batch
