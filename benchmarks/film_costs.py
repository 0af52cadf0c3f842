"""What a step costs on a film: operations, the device's measured rate, and waiting for the film."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pydantic
import torch
from torch import Tensor

from zoo.architectures import build
from zoo.autoencoder import Autoencoder
from zoo.films.film import Film
from zoo.frame_size import FrameSize
from zoo.plugins import registry
from zoo.training.feed import FrameFeed
from zoo.training.heap import keep_freed_memory
from zoo.training.peak import SIDE, matmul_rate, number_type, operations_per_frame
from zoo.training.ranks import launch
from zoo.training.run_folder import TrainingConfig
from zoo.training.step import TrainingStep

ROUNDS = 9
SECONDS_A_BLOCK = 1.0


class Costs(pydantic.BaseModel):
    """Measured in one process, one thing after another."""

    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)

    matmul_tflops: float
    """Of a large product of square matrices in the precision of the training: the median."""
    matmul_side: int
    matmul_type: str
    operations_per_frame: float
    """Of a training step: additions and multiplications, forward and backward."""
    step_seconds_film: float
    step_seconds_resident: float
    """The same step on one batch that lies on the device."""
    data_stall: float
    """1 - resident / film: the median of pairs of blocks, taken in turn. Noise can make it < 0."""
    data_stalls: list[float]
    utilisation_steady: float
    """Of steps on the film, without checkpoints and previews."""
    device_memory_megabytes: float | None


def measure_costs(config: TrainingConfig, film: Film, device: torch.device) -> Costs:
    """Time steps on the film and on one batch in turn, then the product, then count."""
    if device.type == "cpu":
        keep_freed_memory()
    fabric = launch(device, config.precision, config.batch)
    torch.manual_seed(config.seed)
    model = _build(config, device)
    step = TrainingStep(model, fabric, compile_mode=config.compile, seed=config.seed)

    def one_step(frames: Tensor) -> None:
        step(frames, 0.5)

    with FrameFeed(film, config.batch, config.seed, device, 0, 1).from_step(0) as batch_of:
        fed = 0

        def from_film() -> None:
            nonlocal fed
            one_step(batch_of(fed))
            fed += 1

        from_film()
        resident = batch_of(fed)
        fed += 1
        warm = _block(from_film, 5, device) / 5
        count = max(2, round(SECONDS_A_BLOCK / warm))
        on_film, on_one = [], []
        for _ in range(ROUNDS):
            on_film.append(_block(from_film, count, device) / count)
            on_one.append(_block(lambda: one_step(resident), count, device) / count)
            step.tally.means()
    stalls = [1 - one / film_ for one, film_ in zip(on_one, on_film, strict=True)]
    memory = torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else None

    kind = number_type(config.precision)
    rate = matmul_rate(device, kind, SECONDS_A_BLOCK)
    operations = operations_per_frame(config, device)
    return Costs(
        matmul_tflops=rate / 1e12,
        matmul_side=SIDE[device.type],
        matmul_type=str(kind),
        operations_per_frame=operations,
        step_seconds_film=statistics.median(on_film),
        step_seconds_resident=statistics.median(on_one),
        data_stall=statistics.median(stalls),
        data_stalls=stalls,
        utilisation_steady=operations * config.batch / statistics.median(on_film) / rate,
        device_memory_megabytes=memory,
    )


def _build(config: TrainingConfig, device: torch.device) -> Autoencoder:
    model = build(registry().models[config.model], FrameSize.parse(config.size), config.options)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.train()


def _block(work: Callable[[], None], count: int, device: torch.device) -> float:
    """Seconds for `count` calls, the device waited for before and after them and not between."""
    _wait(device)
    begin = time.perf_counter()
    for _ in range(count):
        work()
    _wait(device)
    return time.perf_counter() - begin


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
