"""PDQ, a perceptual hash of 256 bits: hashes of frames and films, and distances between hashes.

From "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm", Facebook, 2019.
Luminance is filtered twice with a box, reduced to 64x64 and transformed; the lowest 16x16
frequencies without the constant ones remain. Each bit states whether one is above their median.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

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

BITS = 256
MATCHES_WITHIN = 31
"""Hashes that differ in at most this many of 256 bits match: the published threshold."""
LEAST_QUALITY = 50
"""Hashes of lower quality are not compared: the published threshold."""
FARTHEST = float(BITS + 1)
"""A number larger than any distance."""
ROWS, COLUMNS = 1024, 4096
"""Size of a block of distances: 16 MB in floats."""
_SIDE = 64
"""Side of the reduced picture that is transformed."""
_FREQUENCIES = 16
_PASSES = 2
"""Passes of the box filter; two of them make a tent filter."""
_RED, _GREEN, _BLUE = 299, 587, 114
"""Luma weights in thousandths: integers, so that sums of 8-bit values are exact anywhere."""


@dataclass(frozen=True)
class Hashes:
    """The hashes of frames in order, on one device."""

    bits: Tensor
    """bool (N, 256)."""
    quality: Tensor
    """uint8 (N,), from 0 to 100."""

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, chosen: slice | Tensor) -> Hashes:
        return Hashes(self.bits[chosen], self.quality[chosen])

    @property
    def comparable(self) -> Tensor:
        """Which frames have enough quality to be compared: bool (N,)."""
        return self.quality >= LEAST_QUALITY

    def to(self, device: torch.device) -> Hashes:
        """Return the same hashes on another device."""
        return Hashes(self.bits.to(device), self.quality.to(device))

    def packed(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Return the bits as uint8 (N, 32) and the quality as uint8 (N,), for storage."""
        return np.packbits(self.bits.cpu().numpy(), axis=1), self.quality.cpu().numpy()

    @classmethod
    def unpacked(cls, bits: npt.NDArray[np.uint8], quality: npt.NDArray[np.uint8]) -> Hashes:
        """Make hashes from the arrays that `packed` returned."""
        unpacked = np.unpackbits(bits, axis=1).astype(bool)
        return cls(torch.from_numpy(unpacked), torch.from_numpy(quality.copy()))


class HashBuffer:
    """Collects the hashes of batches, in 33 bytes of main memory per frame.

    A list of small, long-lived tensors among large ones would fragment the heap: a process that
    hashed 14,000 frames of 256x144 then took between 0.7 and 2.2 GB at random instead of 0.7 GB.
    """

    def __init__(self) -> None:
        self._bits = bytearray()
        self._quality = bytearray()

    def add(self, hashes: Hashes) -> None:
        """Append the hashes of the next frames."""
        bits, quality = hashes.packed()
        self._bits += bits.tobytes()
        self._quality += quality.tobytes()

    def hashes(self, device: torch.device) -> Hashes:
        """Return all hashes so far, on a device."""
        bits = np.frombuffer(self._bits, np.uint8).reshape(-1, BITS // 8)
        return Hashes.unpacked(bits, np.frombuffer(self._quality, np.uint8)).to(device)


@dataclass(frozen=True)
class DistanceBlock:
    """A block of distances (n, m) between some rows and some columns, as floats."""

    rows: slice
    columns: slice
    distances: Tensor

    @property
    def close(self) -> Tensor:
        """Which pairs match: bool (n, m)."""
        return self.distances <= MATCHES_WITHIN


def pairwise_distances(rows: Tensor, columns: Tensor) -> Iterator[DistanceBlock]:
    """Yield the Hamming distances between bits (N, 256) and bits (M, 256), block by block.

    The product of vectors of +1 and -1 is the number of equal bits minus that of unequal ones. This
    is exact even in half precision. At most `ROWS` x `COLUMNS` distances are in memory at once.
    """
    kind = torch.float16 if rows.device.type == "cuda" else torch.float32
    for down in _spans(len(rows), ROWS):
        left = _signs(rows[down], kind)
        for across in _spans(len(columns), COLUMNS):
            products = left @ _signs(columns[across], kind).T
            yield DistanceBlock(down, across, products.mul_(-0.5).add_(BITS / 2))


def nearest_distances(rows: Tensor, columns: Tensor) -> Tensor:
    """Return the distance of each row (N, 256) to the nearest column (M, 256): floats (N,).

    It is `FARTHEST` if there are no columns.
    """
    nearest = torch.full((len(rows),), FARTHEST, device=rows.device)
    for block in pairwise_distances(rows, columns):
        apart = block.distances.float().amin(dim=1)
        nearest[block.rows] = torch.minimum(nearest[block.rows], apart)
    return nearest


def distances(one: Tensor, other: Tensor) -> Tensor:
    """Return the Hamming distances between bits (N, 256) and bits (N, 256), row by row: (N,)."""
    return (one != other).sum(dim=1)


def _signs(bits: Tensor, kind: torch.dtype) -> Tensor:
    return bits.to(kind).mul_(2).sub_(1)


def _spans(length: int, step: int) -> Iterator[slice]:
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


@torch.inference_mode()
def pdq(frames: Tensor) -> Hashes:
    """Hash frames (B, 3, H, W), uint8 or float in [0, 1], which are rounded to 8 bits first.

    Frames are full-range RGB with sides of at least 5 pixels. Two matrix products compute the
    reduced picture, so the cost is about that of reading the frames.
    """
    levels = frames if frames.dtype == torch.uint8 else (frames.float() * 255).round()
    red, green, blue = (levels[:, channel].float() for channel in range(3))
    luma = (_RED * red + _GREEN * green + _BLUE * blue) / 1000
    height, width = luma.shape[-2:]
    small = _shrinking(height, luma.device) @ luma @ _shrinking(width, luma.device).T
    return Hashes(_bits(_coefficients(small)), _quality(small))


def _coefficients(small: Tensor) -> Tensor:
    """Return the lowest frequencies (B, 16, 16) of pictures (B, 64, 64), vertical ones first."""
    transform = _cosines(small.device)
    return transform @ small @ transform.T


def _bits(values: Tensor) -> Tensor:
    """Return which of 256 coefficients are above their lower median: bool (B, 256).

    Bits are in the order of the published text form, the highest frequency first.
    """
    flat = values.flatten(1)
    return (flat > flat.median(dim=1, keepdim=True).values).flip(1)


def _quality(small: Tensor) -> Tensor:
    """Return the PDQ quality, a measure of detail, from 0 to 100: uint8 (B,).

    It is the sum of differences between neighbours, each in whole percent of full range.
    """
    down = (small[:, :-1] - small[:, 1:]) * 100 / 255
    across = (small[:, :, :-1] - small[:, :, 1:]) * 100 / 255
    total = sum(steps.trunc().abs().flatten(1).sum(dim=1) for steps in (down, across))
    return torch.as_tensor(total).div(90, rounding_mode="floor").clamp(max=100).to(torch.uint8)


@functools.lru_cache(maxsize=32)
def _shrinking(length: int, device: torch.device) -> Tensor:
    """The matrix that filters and decimates a line of `length` pixels: float32 (64, length)."""
    window = math.ceil(length / (2 * _SIDE))
    ahead = (window + 2) // 2
    place = torch.arange(length)
    offset = place[None, :] - place[:, None]
    # Shorter at both ends, where the mean is over the existing pixels only.
    box = ((offset < ahead) & (offset >= ahead - window)).double()
    box /= box.sum(dim=1, keepdim=True)
    kept = ((torch.arange(_SIDE) + 0.5) * length / _SIDE).long()
    return torch.linalg.matrix_power(box, _PASSES)[kept].float().to(device)


@functools.lru_cache(maxsize=8)
def _cosines(device: torch.device) -> Tensor:
    """The matrix of the discrete cosine transform to frequencies 1 to 16: float32 (16, 64)."""
    frequency = torch.arange(1, _FREQUENCIES + 1).double()[:, None]
    middle = 2 * torch.arange(_SIDE).double()[None, :] + 1
    angles = math.pi / (2 * _SIDE) * frequency * middle
    return (math.sqrt(2 / _SIDE) * angles.cos()).float().to(device)


BATCH = 64
"""Frames that are hashed at once."""
_PIXELS = 256 * 144
"""Approximate pixels of decoded frames that are hashed; they keep the picture's shape."""
HASHES_FILE = "pdq.npz"
"""The file in a film's store with `bits`, uint8 (N, 32), and `quality`, uint8 (N,)."""


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

    Damaged hashes are computed again. If hashes cannot be stored, a line reports it.
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
    """Read the stored hashes; None if they are missing or damaged."""
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

    Uses `from`, `to`, `crop` and `fps` of the entry. Only one batch of frames is in memory,
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
