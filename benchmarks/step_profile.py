"""Where the time of a training step goes: a stopwatch around the very calls that the loop makes.

    python -m benchmarks.step_profile --models ae,vae,vaegan

trains each model for some steps by `zoo.training.engine.train` itself, at two sizes, and prints
a table: milliseconds per step by part, and the share of the step that is neither the network's
forward and backward pass nor its optimiser.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from zoo.base import devices
from zoo.base.frame_size import FrameSize
from zoo.base.interrupts import Interrupted, StopRequest
from zoo.conformance.fixtures import scene_as_film
from zoo.films.ingested_film import Film
from zoo.plugins.registry import registry
from zoo.training.engine import train
from zoo.training.optimizers import Player
from zoo.training.run_folder import RunFolder, RunLog, TrainingConfig
from zoo.training.run_writer import RunWriter
from zoo.training.step import LossAverager, WeightEMA
from zoo.training.training_frames import BatchLoader

NETWORK = ("forward", "backward", "clipping", "optimiser")
"""Clipping the gradient's norm is part of how an optimiser is declared (`Optimizer.clip`)."""
BUDGET_STEPS = 750
"""The number of steps of the quick preset, which determines how often the log is written."""
WARM_UP = 10


@dataclass(frozen=True)
class Setting:
    """A size to profile at."""

    name: str
    size: FrameSize
    width: int
    latent: int
    batch: int
    steps: int


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting("quick", FrameSize(96, 54), width=16, latent=16, batch=8, steps=250),
        Setting("mid", FrameSize(128, 72), width=32, latent=64, batch=16, steps=50),
        Setting("peers-narrow", FrameSize(64, 64), width=16, latent=64, batch=8, steps=250),
        Setting("peers-wide", FrameSize(64, 64), width=32, latent=64, batch=32, steps=50),
    )
}


@dataclass
class Stopwatch:
    """Seconds by part, step by step."""

    device: torch.device
    steps: list[dict[str, float]] = field(default_factory=list)
    walls: list[float] = field(default_factory=list)
    _now: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _began: float | None = None

    def around(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a call so that its time is added to `part`."""

        @functools.wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = self._clock()
            try:
                return call(*args, **kwargs)
            finally:
                self._now[part] += self._clock() - begin

        return timed

    def step_begins(self) -> None:
        """End the step before, if there was one."""
        now = self._clock()
        if self._began is not None:
            self.walls.append(now - self._began)
            self.steps.append(dict(self._now))
        self._now.clear()
        self._began = now

    def _clock(self) -> float:
        # On a GPU this waits for each part, or it could not be distinguished from the next; so the
        # sum is longer than a step of real training. On a CPU this only reads the clock.
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def milliseconds(self) -> dict[str, float]:
        """Milliseconds per step by part, after the warm-up.

        Parts of every step are given by their median, because other work on the machine disturbs
        some steps; parts of few steps (a line of the log) by their total over all steps.
        """
        steps, walls = self.steps[WARM_UP:], self.walls[WARM_UP:]
        found: dict[str, float] = {}
        for part in dict.fromkeys(part for step in steps for part in step):
            seconds = [step[part] for step in steps if part in step]
            every = len(seconds) == len(steps)
            found[part] = statistics.median(seconds) if every else sum(seconds) / len(steps)
        rests = [wall - sum(step.values()) for wall, step in zip(walls, steps, strict=True)]
        found["the rest of the loop"] = statistics.median(rests)
        return {part: 1e3 * seconds for part, seconds in found.items()}


@contextlib.contextmanager
def attached(watch: Stopwatch, architecture: type[Any]) -> Iterator[None]:
    """Time the calls of the training loop with the stopwatch."""
    load_from = BatchLoader.from_step

    @contextlib.contextmanager
    def load_timed(self: BatchLoader, first: int) -> Iterator[Callable[[int], torch.Tensor]]:
        with load_from(self, first) as batch_at:
            timed = watch.around("loading a batch", batch_at)

            def begin_and_load(step: int) -> torch.Tensor:
                watch.step_begins()
                return timed(step)

            yield begin_and_load

    parts: list[tuple[Any, str, str]] = [
        (architecture, "losses", "forward"),
        (torch.autograd, "grad", "backward"),
        (nn.utils, "clip_grad_norm_", "clipping"),
        (torch.optim.AdamW, "step", "optimiser"),
        (Player, "set_progress", "schedule"),
        (WeightEMA, "update", "averaging weights"),
        (LossAverager, "add", "loss averages"),
        (LossAverager, "means", "log and callbacks"),
        (RunWriter, "check_finite", "log and callbacks"),
        (RunLog, "add", "log and callbacks"),
    ]
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(BatchLoader, "from_step", load_timed))
        for owner, name, part in parts:
            timed = watch.around(part, getattr(owner, name))
            stack.enter_context(mock.patch.object(owner, name, timed))
        yield


class StopAfter(StopRequest):
    """Asks to stop once it was read for so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    @property
    def asked(self) -> bool:  # type: ignore[override]
        """Whether so many steps were taken."""
        self.left -= 1
        return self.left < 0


def config_of(model: str, setting: Setting, film: Film, precision: str) -> TrainingConfig:
    """Return the configuration of a training at a setting, with the quick preset's budget."""
    return TrainingConfig(
        model=model,
        origin=registry().origins[model],
        options={"latent": setting.latent, "width": setting.width},
        film=film.name,
        film_fingerprint=film.fingerprint,
        size=str(setting.size),
        budget=f"{BUDGET_STEPS}steps",
        batch=setting.batch,
        seed=0,
        precision=precision,
    )


def profile(model: str, setting: Setting, device: torch.device) -> dict[str, float]:
    """Return milliseconds per step by part, from some steps of a real training."""
    film = scene_as_film(setting.size, count=256)
    watch = Stopwatch(device)
    config = config_of(model, setting, film, devices.default_precision(device))
    with tempfile.TemporaryDirectory() as folder, attached(watch, registry().models[model]):
        stop = StopAfter(setting.steps + 1)
        with contextlib.suppress(Interrupted):
            train(RunFolder(Path(folder)), config, film, device, stop=stop)
    return watch.milliseconds()


def share_outside(parts: dict[str, float]) -> float:
    """The share of a step that is neither forward, backward nor optimiser."""
    return 1 - sum(parts.get(part, 0.0) for part in NETWORK) / sum(parts.values())


def repeated(model: str, setting: Setting, device: torch.device, rounds: int) -> dict[str, float]:
    """Repeat a profile; return the one with the median share outside the network."""
    found = [profile(model, setting, device) for _ in range(rounds)]
    middle = statistics.median_low([share_outside(parts) for parts in found])
    return next(parts for parts in found if share_outside(parts) == middle)


def table(columns: dict[str, dict[str, float]]) -> str:
    """Format profiles as a Markdown table: a row per part, a column per training."""
    parts = [*NETWORK, *dict.fromkeys(p for c in columns.values() for p in c if p not in NETWORK)]
    lines = ["| ms a step | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for part in parts:
        cells = [
            f"{c.get(part, 0.0):.3f} ({c.get(part, 0.0) / sum(c.values()):.1%})"
            for c in columns.values()
        ]
        lines.append(f"| {part} | " + " | ".join(cells) + " |")
    lines.append(
        "| **a whole step** | "
        + " | ".join(f"{sum(c.values()):.2f}" for c in columns.values())
        + " |"
    )
    lines.append(
        "| **outside the network** | "
        + " | ".join(f"**{share_outside(c):.1%}**" for c in columns.values())
        + " |"
    )
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="ae,vae,vaegan")
    parser.add_argument("--settings", default="quick,mid", help=", ".join(SETTINGS))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    device = devices.choose_device(asked.device)
    columns = {
        f"{model}, {name}": repeated(model, SETTINGS[name], device, asked.rounds)
        for name in asked.settings.split(",")
        for model in asked.models.split(",")
    }
    described = devices.describe(device, devices.default_precision(device))
    print(  # noqa: T201
        f"{described.device_name}, {described.threads} threads, torch {described.torch}, "
        f"{described.precision}, median of {asked.rounds} rounds\n\n{table(columns)}"
    )


if __name__ == "__main__":
    main()
