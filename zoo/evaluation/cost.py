"""What a model costs to run, in frames per second.

Each figure is the median of repeated timings after a warm-up, with the device synchronised
around the timed region and not inside it, at one batch size for all models.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from zoo.autoencoder import Autoencoder, Step
from zoo.records import Cost, Throughput
from zoo.training.players import Players

WARM_UP = 3
REPEATS = 9
CALLS_ON_A_GPU = 10
"""Calls in one timed region on a GPU, where a single one would time its launch."""


def measure_cost(
    model: Autoencoder, trained: Autoencoder | None, frames: Tensor, precision: str
) -> Cost:
    """Time encoding and decoding of `model`, and training of `trained` where there is one.

    `frames` is one batch, float (B, 3, H, W) in [0, 1]; `trained` is an instance of its own,
    which the timing moves. Encoding and decoding run in 32 bits, as evaluation does; training
    runs at `precision`, one of Fabric's names.
    """
    model.eval()
    with torch.inference_mode():
        latent = model.encode(frames)
        encode = _throughput(lambda: model.encode(frames), frames)
        decode = _throughput(lambda: model.decode(latent), frames)
    train = _throughput(_training_step(trained, frames, precision), frames) if trained else None
    return Cost(batch=len(frames), train=train, encode=encode, decode=decode)


def _training_step(model: Autoencoder, frames: Tensor, precision: str) -> Callable[[], object]:
    fabric = Fabric(accelerator=frames.device.type, devices=1, precision=precision)  # type: ignore[arg-type]
    players = Players(model.train())
    generator = torch.Generator(frames.device).manual_seed(0)
    step = Step(torch.tensor(0.5, device=frames.device), generator)

    def take_step() -> None:
        with fabric.autocast():
            losses = model.losses(frames, step)
        players.step(losses, 0.5)

    return take_step


def _throughput(call: Callable[[], object], frames: Tensor) -> Throughput:
    on_gpu = frames.device.type == "cuda"
    calls = CALLS_ON_A_GPU if on_gpu else 1
    for _ in range(WARM_UP):
        call()
    rates = []
    for _ in range(REPEATS):
        if on_gpu:
            torch.cuda.synchronize(frames.device)
        start = time.perf_counter()
        for _ in range(calls):
            call()
        if on_gpu:
            torch.cuda.synchronize(frames.device)
        rates.append(calls * len(frames) / (time.perf_counter() - start))
    lower, median, upper = np.percentile(rates, [25, 50, 75])
    return Throughput(
        median=float(median),
        lower_quartile=float(lower),
        upper_quartile=float(upper),
        repeats=REPEATS,
    )
