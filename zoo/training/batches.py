"""Batches of a film's training frames: the same frames in the same order for every model."""

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
"""A film lies on the device if it takes no more than this share of the memory that is free."""


class FrameFeed:
    """A film's training samples in an order fixed by the seed, each once a round.

    Batches are cut from the endless sequence of shuffled rounds, so that all are full and the
    batch of a step depends on nothing but the seed and the step's number: nothing has to be
    saved to resume. `rank` of `ranks` gets its slice of each batch. Of the training frames the
    first `taken` are used, if that is given.
    """

    def __init__(
        self,
        film: Film,
        batch: int,
        seed: int,
        device: torch.device,
        rank: int = 0,
        ranks: int = 1,
        taken: int | None = None,
        sampling: Sampling = STILLS,
    ) -> None:
        """`batch` counts frames that are drawn in a step, by all ranks together.

        Raises BadInput where the ranks cannot share the samples of a batch equally.
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
        if self.count % ranks:
            raise BadInput(
                f"a batch of {self.count} samples cannot be shared equally by {ranks} processes"
            )
        self.seed = seed
        self.device = device
        self.slice = slice(rank * self.count // ranks, (rank + 1) * self.count // ranks)
        self._order: tuple[int, Indices] = (-1, self.frames.index)
        self._seconds = self.frames.seconds.astype(np.float32)
        self._resident = self._place_on_device()

    @property
    def resident(self) -> bool:
        """Whether all training frames lie on the accelerator."""
        return self._resident is not None

    def _place_on_device(self) -> Tensor | None:
        """The training frames on an accelerator if they fit there, else None."""
        if self.device.type != "cuda":
            return None
        # What earlier work in this process left in torch's cache is free, too.
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
        """Positions among the training frames of this rank's part of a step's batch: (B, K)."""
        count = len(self.samples)
        at, stop = step * self.count + self.slice.start, step * self.count + self.slice.stop
        parts = []
        while at < stop:
            turn, begin = divmod(at, count)
            parts.append(self._shuffled(turn)[begin : begin + stop - at])
            at += len(parts[-1])
        return self.samples[np.concatenate(parts)]

    def _shuffled(self, turn: int) -> Indices:
        if self._order[0] != turn:
            order = np.random.default_rng((self.seed, turn)).permutation(len(self.samples))
            self._order = (turn, order)
        return self._order[1]

    @contextmanager
    def from_step(self, first: int) -> Iterator[Callable[[int], Batch]]:
        """Yield a function from a step to its batch, to be asked for `first` and then in order.

        It lies on the device, channels last.
        """
        resident = self._resident
        read = self._without_pixels if resident is not None else self.read
        with read_ahead(read, first, self.device) as parts_of:

            def batch_of(step: int) -> Batch:
                positions, index, seconds, *pixels = (
                    part.to(self.device, non_blocking=True) for part in parts_of(step)
                )
                held = pixels[0] if resident is None else resident[positions]
                return Batch(self.sampling.shaped(as_floats(held)), index, seconds)

            yield batch_of

    def _without_pixels(self, step: int) -> tuple[Tensor, ...]:
        """On the host: positions (B * K,), numbers (B,) or (B, T), and seconds like them."""
        positions = self.positions(step)
        told = positions
        if self.sampling.window == 1:
            told = positions[:, self.sampling.before]
        arrays = positions.reshape(-1), self.frames.index[told], self._seconds[told]
        return tuple(torch.from_numpy(array) for array in arrays)

    def read(self, step: int) -> tuple[Tensor, ...]:
        """The batch of `step` on the host: positions, numbers, seconds and pixels.

        The last are the frames as they lie on disk, uint8 (B * K, H, W, 3); the others are as in
        `_without_pixels`.
        """
        parts = self._without_pixels(step)
        return *parts, torch.from_numpy(self.frames[parts[0].numpy()])


AHEAD = 4
"""Batches that are read before they are asked for."""
Read = Callable[[int], tuple[Tensor, ...]]


class _Reader:
    """A thread that reads the batches of consecutive steps into pinned memory."""

    def __init__(self, read: Read, first: int) -> None:
        self.read = read
        self.next = first
        self.ready: queue.Queue[tuple[Tensor, ...] | BaseException] = queue.Queue(AHEAD)
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(first,), daemon=True)
        self.thread.start()

    def _run(self, step: int) -> None:
        while not self.stopped.is_set():
            found: tuple[Tensor, ...] | BaseException
            try:
                found = tuple(part.pin_memory() for part in self.read(step))
            except Exception as error:  # handed on to the step that wanted the batch
                found = error
            while not self.stopped.is_set():
                try:
                    self.ready.put(found, timeout=0.2)
                    break
                except queue.Full:
                    continue
            if isinstance(found, BaseException):
                return
            step += 1

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        """The batch of `step`, which has to be the one after the last that was asked for."""
        assert step == self.next, f"batch {step} was asked for after {self.next - 1}"
        found = self.ready.get()
        if isinstance(found, BaseException):
            raise found
        self.next += 1
        return found


@contextmanager
def read_ahead(read: Read, first: int, device: torch.device) -> Iterator[Read]:
    """Yield a function like `read` that has read ahead from step `first`, for a GPU.

    On a CPU there is nothing to overlap with, and `read` itself is yielded.
    """
    if device.type != "cuda":
        yield read
        return
    reader = _Reader(read, first)
    try:
        yield reader
    finally:
        reader.stopped.set()
        reader.thread.join()
