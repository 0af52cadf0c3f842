"""Batches of a film's training frames, prefetched: the same order for every model."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from zoo.api.autoencoder import Batch
from zoo.api.sampling import STILLS, Indices, Sampling
from zoo.base.errors import BadInput
from zoo.films.film import Film
from zoo.films.training_frames import TrainingFrames, as_floats

LARGEST_SHARE_OF_MEMORY = 0.5
"""A film is kept on the device if it takes no more than this share of the free memory."""
PREFETCHED_BATCHES = 4

Read = Callable[[int], tuple[Tensor, ...]]
"""Reads the batch of a step into tensors on the host."""


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
        """Positions among the training frames of each sample, (M, K)."""
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
        """Positions among the training frames of this rank's slice of a batch: (B, K)."""
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
        """Yield a function from a step to its batch; steps are asked for in order from `first`.

        Batches are on the device, channels last.
        """
        resident = self._resident
        read = self._without_pixels if resident is not None else self.read
        with prefetch(read, first, self.device) as parts_of:

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
        """The batch of `step` on the host: as `_without_pixels`, then pixels.

        Pixels are as on disk, uint8 (B * K, H, W, 3).
        """
        parts = self._without_pixels(step)
        return *parts, torch.from_numpy(self.frames[parts[0].numpy()])


class _Prefetcher:
    """A thread that reads the batches of consecutive steps into pinned memory."""

    def __init__(self, read: Read, first: int) -> None:
        self.read = read
        self.next = first
        self.ready: queue.Queue[tuple[Tensor, ...] | BaseException] = queue.Queue(
            PREFETCHED_BATCHES
        )
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(first,), daemon=True)
        self.thread.start()

    def _run(self, step: int) -> None:
        while not self.stopped.is_set():
            batch: tuple[Tensor, ...] | BaseException
            try:
                batch = tuple(part.pin_memory() for part in self.read(step))
            except Exception as error:  # raised when this batch is asked for
                batch = error
            while not self.stopped.is_set():
                try:
                    self.ready.put(batch, timeout=0.2)
                    break
                except queue.Full:
                    continue
            if isinstance(batch, BaseException):
                return
            step += 1

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        """The batch of `step`, which must follow the step asked for before."""
        assert step == self.next, f"batch {step} was asked for after {self.next - 1}"
        batch = self.ready.get()
        if isinstance(batch, BaseException):
            raise batch
        self.next += 1
        return batch


@contextmanager
def prefetch(read: Read, first: int, device: torch.device) -> Iterator[Read]:
    """Yield a function like `read` that prefetches from step `first` on, for a GPU.

    On a CPU there is nothing to overlap with: `read` itself is yielded.
    """
    if device.type != "cuda":
        yield read
        return
    prefetcher = _Prefetcher(read, first)
    try:
        yield prefetcher
    finally:
        prefetcher.stopped.set()
        prefetcher.thread.join()
