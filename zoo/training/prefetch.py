"""Reading batches ahead, so that the device never waits for the disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

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
