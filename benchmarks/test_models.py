"""One training step, one encoding and one decoding of every model, at the quick preset.

Times are of one batch; frames per second are in `extra_info`. Compare rows of one run only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder, Batch, Step
from zoo.base.presets_and_budgets import preset_named
from zoo.plugins.model_building import build_to_train, placed
from zoo.plugins.registry import registry
from zoo.training.optimizers import Players

QUICK = preset_named("quick")


@pytest.fixture
def frames(device: torch.device) -> Tensor:
    """One batch of noise, float (B, 3, H, W), channels last."""
    shape = (QUICK.batch, QUICK.size.height, QUICK.size.width, 3)
    generator = torch.Generator().manual_seed(0)
    return torch.rand(shape, generator=generator).to(device).permute(0, 3, 1, 2)


def build(name: str, device: torch.device) -> Autoencoder:
    """A model at the quick preset, with what only training needs."""
    architecture = registry().architecture(name)
    settings = {**architecture.presets.get("quick", {}), "latent": QUICK.latent}
    model = build_to_train(architecture, QUICK.size, settings)
    return placed(model, device)


def timed(benchmark: Any, call: Callable[[], object], device: torch.device, frames: int) -> None:
    """Time a call, waiting for the device after it, and note frames per second."""

    def whole() -> None:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    benchmark.pedantic(whole, rounds=15, warmup_rounds=3)
    benchmark.extra_info["frames_per_second"] = frames / benchmark.stats.stats.median


@pytest.mark.parametrize("name", registry().models)
@pytest.mark.benchmark(group="training step")
def test_training_step(benchmark: Any, name: str, device: torch.device, frames: Tensor) -> None:
    model = build(name, device).train()
    players = Players(model)
    generator = torch.Generator(device).manual_seed(0)
    step = Step(torch.tensor(0.5, device=device), 0, generator)
    batch = Batch.numbered(frames, model.window)
    timed(benchmark, lambda: players.step(model.losses(batch, step), 0.5), device, len(frames))


@pytest.mark.parametrize("name", registry().models)
@pytest.mark.benchmark(group="encode")
def test_encode(benchmark: Any, name: str, device: torch.device, frames: Tensor) -> None:
    model = build(name, device).eval()
    with torch.inference_mode():
        timed(benchmark, lambda: model.encode(frames), device, len(frames))


@pytest.mark.parametrize("name", registry().models)
@pytest.mark.benchmark(group="decode")
def test_decode(benchmark: Any, name: str, device: torch.device, frames: Tensor) -> None:
    model = build(name, device).eval()
    with torch.inference_mode():
        latent = model.encode(frames)
        timed(benchmark, lambda: model.decode(latent), device, len(frames))
