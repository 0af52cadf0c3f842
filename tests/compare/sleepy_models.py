"""Models of known cost: they sleep on a clock of their own, allocate, or fail."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder, Batch, Loss, Losses, Options, Step
from zoo.base.frame_size import FrameSize
from zoo.evaluation.cost import CostSubject

VALUES = 3 * 32 * 32
NAP = 0.003


class Clock:
    """A clock on which only `sleep` takes time, but for a nanosecond per reading."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 1e-9
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


CLOCK = Clock()


class Sleepy(Autoencoder):
    """Encodes in one nap, decodes in two, and loses in three; a call of either is one product."""

    name = "sleepy"
    summary = "for this test"

    def __init__(self, size: FrameSize, options: Options) -> None:
        super().__init__(size, options)
        self.down = torch.nn.Linear(VALUES, options.latent, bias=False)
        self.up = torch.nn.Linear(options.latent, VALUES, bias=False)

    def encode(self, frames: Tensor) -> Tensor:
        CLOCK.sleep(0 if frames.is_meta else NAP)
        return self.down(frames.flatten(1))

    def decode(self, latent: Tensor) -> Tensor:
        CLOCK.sleep(0 if latent.is_meta else 2 * NAP)
        return self.up(latent).unflatten(1, (3, 32, 32))

    def losses(self, batch: Batch, step: Step) -> Losses:
        frames = batch.frames
        error = (self.decode(self.encode(frames)) - frames).square().mean()
        return {"autoencoder": Loss({"pixel": error})}


class Forgetful(Sleepy):
    name = "forgetful"

    def losses(self, batch: Batch, step: Step) -> Losses:
        raise ArithmeticError("not | enough\nof it")


class Quits(Sleepy):
    name = "quits"

    def encode(self, frames: Tensor) -> Tensor:
        sys.exit("I have had enough")


class Large(Sleepy):
    """Two frames at a time are the most that it can take."""

    name = "large"

    def encode(self, frames: Tensor) -> Tensor:
        if len(frames) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")
        return super().encode(frames)


def subject(model: str = "sleepy", **changes: Any) -> CostSubject:
    settings = {
        "model": model,
        "origin": "a test 0",
        "options": {"latent": 4},
        "size": "32x32",
        "batch": 8,
        "precision": "32-true",
        **changes,
    }
    return CostSubject.model_validate(settings)
