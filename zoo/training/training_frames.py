"""A film's training frames and nothing else: for `prepare` and `fit`, and in prefetched batches."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo.api.autoencoder import Batch
from zoo.api.samples_and_latents import STILLS, Indices, Sampling
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.prefetch import prefetch
from zoo.films.ingested_film import Film

Pixels = npt.NDArray[np.uint8]

LARGEST_SHARE_OF_MEMORY = 0.5
"""A film is kept on the device if it takes no more than this share of the free memory."""
PREFETCHED_BATCHES = 4

Read = Callable[[int], tuple[Tensor, ...]]
"""Reads the batch of a step into tensors on the host."""


class TrainingFrames:
    """The training frames of a film, in order; held-out frames cannot be reached from here.

    `frames[3]` is uint8 (H, W, 3), RGB, full range; `frames[10:20]`, `frames[[1, 5, 7]]` and
    `frames[mask]` are uint8 (n, H, W, 3), copies that can be written to.
    """

    def __init__(self, film: Film, taken: int | None = None) -> None:
        """Take the first `taken` training frames of a film, or all."""
        self.film: str = film.name
        """The name of the film."""
        self.size: FrameSize = film.size
        """The size of every frame."""
        self.fps: float = film.fps
        """Frames per second, the mean if the rate varies."""
        self.index: npt.NDArray[np.int64] = film.split.seen[:taken].copy()
        """Frame numbers in the film, ascending, (N,)."""
        self.seconds: npt.NDArray[np.float64] = film.frame_seconds[self.index]
        """Frame times, in seconds from the start of the source, (N,)."""
        self.runs: list[range] = runs_within_shots(film, self.index)
        """Runs of positions whose frames follow one another in one shot of the film."""
        self._read = functools.partial(_pixels, film.store.array, self.index)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, which: Any) -> Pixels:
        return self._read(which)

    def batches(
        self,
        count: int,
        device: torch.device | str = "cpu",
        start: int = 0,
        stop: int | None = None,
    ) -> Iterator[Tensor]:
        """Yield frames `[start, stop)` in batches of `count`: float (n, 3, H, W) in [0, 1].

        They are on the device, channels last; all frames by default.
        """
        last = len(self) if stop is None else min(stop, len(self))
        for at in range(start, last, count):
            yield as_floats(torch.from_numpy(self[at : min(at + count, last)]).to(device))


def runs_within_shots(film: Film, index: Indices) -> list[range]:
    """Return runs of positions in `index` (ascending) whose frames are consecutive in a shot."""
    shot = np.searchsorted([shot.start for shot in film.shots], index, side="right")
    new = (np.diff(index) != 1) | (np.diff(shot) != 0)
    edges = [0, *(np.flatnonzero(new) + 1).tolist(), len(index)]
    return [range(a, b) for a, b in itertools.pairwise(edges) if a < b]


def as_floats(pixels: Tensor) -> Tensor:
    """Convert uint8 (N, H, W, 3) to float (N, 3, H, W) in [0, 1].

    Pixels are stored channels last, so the result is channels last without moving them.
    """
    return pixels.permute(0, 3, 1, 2) / 255


def _pixels(array: Pixels, index: npt.NDArray[np.int64], which: Any) -> Pixels:
    return np.array(array[index[which]])


class BatchLoader:
    """Loads a film's training samples, shuffled by the seed, each once per epoch.

    Batches are cut from the endless sequence of shuffled epochs, so all are full, and the batch of
    a step depends on the seed and the step number alone: nothing has to be saved to resume. Each
    rank gets its slice of every batch. Only the first `taken` training frames are used, if given.
    """

    def __init__(
        self,
        film: Film,
        batch: int,
        seed: int,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
        taken: int | None = None,
        sampling: Sampling = STILLS,
    ) -> None:
        """`batch` counts the frames reconstructed in a step, by all ranks together.

        Raises BadInput if the samples of a batch cannot be divided equally among the ranks.
        """
        self.frames = TrainingFrames(film, taken)
        self.sampling = sampling
        runs = self.frames.runs
        if sampling.stills:
            self.samples = np.arange(len(self.frames), dtype=np.int64)[:, None]
        else:
            self.samples = sampling.to_train_on(runs)
        """The positions of each sample's frames among the training frames, (M, K)."""
        self.count = sampling.samples_in(batch)
        """Samples in a batch, of all ranks together."""
        if self.count % world_size:
            raise BadInput(
                f"a batch of {self.count} samples cannot be shared equally by {world_size} "
                "processes"
            )
        self.seed = seed
        self.device = device
        self.slice = slice(rank * self.count // world_size, (rank + 1) * self.count // world_size)
        self._order: tuple[int, Indices] = (-1, self.frames.index)
        self._seconds = self.frames.seconds.astype(np.float32)
        self._resident = self._place_on_device()

    @property
    def resident(self) -> bool:
        """Whether all training frames are kept on the GPU."""
        return self._resident is not None

    def _place_on_device(self) -> Tensor | None:
        """The training frames on the GPU if they fit there, else None."""
        if self.device.type != "cuda":
            return None
        # Blocks that earlier work left in torch's cache would count as taken.
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(self.device)
        width, height = self.frames.size
        shape = len(self.frames), height, width, 3
        if np.prod(shape) > free * LARGEST_SHARE_OF_MEMORY:
            return None
        resident = torch.empty(shape, dtype=torch.uint8, device=self.device)
        for start in range(0, len(self.frames), 1024):
            chunk = self.frames[start : start + 1024]
            resident[start : start + len(chunk)] = torch.from_numpy(chunk)
        return resident

    def positions(self, step: int) -> Indices:
        """Return this rank's slice of a batch as positions among the training frames: (B, K)."""
        count = len(self.samples)
        at, stop = step * self.count + self.slice.start, step * self.count + self.slice.stop
        parts = []
        while at < stop:
            epoch, begin = divmod(at, count)
            parts.append(self._shuffled(epoch)[begin : begin + stop - at])
            at += len(parts[-1])
        return self.samples[np.concatenate(parts)]

    def _shuffled(self, epoch: int) -> Indices:
        if self._order[0] != epoch:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.samples))
            self._order = (epoch, order)
        return self._order[1]

    @contextmanager
    def from_step(self, first: int) -> Iterator[Callable[[int], Batch]]:
        """Yield a function that returns a step's batch; call it for steps in order from `first`.

        Batches are on the device, channels last.
        """
        resident = self._resident
        read = self._without_pixels if resident is not None else self.read
        with prefetch_pinned(read, first, self.device) as parts_of:

            def batch_at(step: int) -> Batch:
                positions, index, seconds, *pixels = (
                    part.to(self.device, non_blocking=True) for part in parts_of(step)
                )
                held = pixels[0] if resident is None else resident[positions]
                return Batch(self.sampling.shaped(as_floats(held)), index, seconds)

            yield batch_at

    def _without_pixels(self, step: int) -> tuple[Tensor, ...]:
        """Positions (B * K,), frame numbers (B,) or (B, T) and their seconds, on the host."""
        positions = self.positions(step)
        reconstructed = positions
        if self.sampling.window == 1:
            reconstructed = positions[:, self.sampling.before]
        index, seconds = self.frames.index[reconstructed], self._seconds[reconstructed]
        arrays = positions.reshape(-1), index, seconds
        return tuple(torch.from_numpy(array) for array in arrays)

    def read(self, step: int) -> tuple[Tensor, ...]:
        """Return the batch of `step` on the host: what `_without_pixels` returns, then pixels.

        Pixels are as on disk, uint8 (B * K, H, W, 3).
        """
        parts = self._without_pixels(step)
        return *parts, torch.from_numpy(self.frames[parts[0].numpy()])


@contextmanager
def prefetch_pinned(read: Read, first: int, device: torch.device) -> Iterator[Read]:
    """Yield a function like `read` that reads ahead into pinned memory, from step `first` on.

    Call it for steps in order. On a CPU there is nothing to overlap with, so it yields `read`
    itself.
    """
    if device.type != "cuda":
        yield read
        return
    steps = itertools.count(first)
    batches = prefetch(
        ((step, tuple(part.pin_memory() for part in read(step))) for step in steps),
        group=1,
        ahead=PREFETCHED_BATCHES,
    )

    def next_batch(step: int) -> tuple[Tensor, ...]:
        at, batch = next(batches)
        assert at == step, f"batch {step} was asked for where {at} is next"
        return batch

    with closing(batches):
        yield next_batch
