"""The cost of a training step: outside its network, and against a step written by hand."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from benchmarks.handwritten_vaegan import WAYS, ByHand
from benchmarks.ratios import report
from benchmarks.step_profile import SETTINGS, Setting, profile, share_outside
from zoo.api.autoencoder import Batch, Step
from zoo.base.errors import BadInput
from zoo.conformance.fixtures import Subject, scene, take_step
from zoo.plugins.model_building import build_to_train
from zoo.plugins.registry import registry
from zoo.training.optimizers import Players
from zoo.training.settings import choose_compile_mode
from zoo.training.step import compile_modules
from zoo.training.throughput_and_memory import keep_freed_memory

ROUNDS = 9


@pytest.mark.parametrize("setting", ["quick", "mid"])
@pytest.mark.parametrize("model", ["ae", "vae", "vaegan"])
@pytest.mark.benchmark(group="a step beside its network")
def test_share_of_a_step_outside_the_network(
    benchmark: Any,
    model: str,
    setting: str,
    device: torch.device,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found: list[dict[str, float]] = []
    benchmark.pedantic(
        lambda: found.append(profile(model, SETTINGS[setting], device)), rounds=3, iterations=1
    )
    shares = [share_outside(parts) for parts in found]
    benchmark.extra_info |= {"share_outside_the_network": shares, "milliseconds": found}
    with capsys.disabled():
        print(  # noqa: T201 - what `make bench` is run for
            f"\n{model}, {setting}: {statistics.median(shares):.1%} of a step is outside forward, "
            f"backward and optimiser ({min(shares):.1%} to {max(shares):.1%}), "
            f"{torch.get_num_threads()} threads"
        )


@pytest.mark.parametrize("way", WAYS)
def test_a_step_by_hand_has_the_same_gradients(way: str) -> None:
    model: Any = Subject(registry().models["vaegan"]).to_train().double()
    # In training mode its spectral norm is estimated anew in each pass, and some ways pass twice.
    model.discriminator.eval()
    frames = scene(4, model.size).double()
    expected = Players(model).gradients(take_step(model, frames))
    progress = torch.tensor(0.5, dtype=torch.float64)
    found = WAYS[way](model, frames, Step(progress, 0, torch.Generator().manual_seed(0)))
    for player, gradients in expected.items():
        for mine, theirs in zip(found[player], gradients, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-10)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of the work, waiting for the device to finish."""
    begin = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def to_step(model: str, at: Setting, device: torch.device) -> tuple[Any, torch.Tensor, Step]:
    """A model to train, one batch of random frames for it, and the step that takes it."""
    torch.manual_seed(0)
    options = {"latent": at.latent, "width": at.width}
    network: Any = build_to_train(registry().models[model], at.size, options)
    network = network.to(device, memory_format=torch.channels_last).train()
    frames = torch.rand(at.batch, at.size.height, at.size.width, 3, device=device)
    step = Step(torch.tensor(0.5, device=device), 0, torch.Generator(device).manual_seed(0))
    return network, frames.permute(0, 3, 1, 2), step


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("setting", ["quick", "mid"])
@pytest.mark.benchmark(group="a VAE-GAN's step against one by hand")
def test_step_against_one_by_hand(
    benchmark: Any,
    setting: str,
    way: str,
    device: torch.device,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if device.type == "cpu":
        keep_freed_memory()
    mine, frames, step = to_step("vaegan", SETTINGS[setting], device)
    batch = Batch.numbered(frames)
    players, by_hand = Players(mine), ByHand(copy.deepcopy(mine), way)
    steps = 5 if setting == "quick" else 1

    def ours() -> None:
        for _ in range(steps):
            players.step(mine.losses(batch, step), 0.5)

    def hand() -> None:
        for _ in range(steps):
            by_hand.step(frames, step)

    ratios: list[float] = []

    def both() -> None:
        by, our = timed(hand, device), timed(ours, device)
        ratios.append(by / our)

    benchmark.pedantic(both, rounds=ROUNDS, warmup_rounds=1, iterations=1)
    report(
        benchmark,
        capsys,
        ratios[1:],
        lambda ratio: (
            f"vaegan, {setting}, by hand ({way}): a step of ours is {ratio} times as fast"
        ),
    )


@pytest.mark.parametrize("model", ["vae", "vaegan"])
@pytest.mark.benchmark(group="a compiled step against a plain one")
def test_compiled_step_against_a_plain_one(
    benchmark: Any, model: str, device: torch.device, capsys: pytest.CaptureFixture[str]
) -> None:
    if device.type == "cpu":
        keep_freed_memory()
    try:
        mode = choose_compile_mode(True, device)
    except BadInput as error:
        pytest.skip(str(error))
    plain, frames, step = to_step(model, SETTINGS["quick"], device)
    twin, batch = copy.deepcopy(plain), Batch.numbered(frames)
    compile_modules(twin, mode)
    players, compiled_players = Players(plain), Players(twin)
    compiling = timed(lambda: compiled_players.step(twin.losses(batch, step), 0.5), device)

    ratios: list[float] = []

    def plain_steps() -> None:
        for _ in range(5):
            players.step(plain.losses(batch, step), 0.5)

    def compiled_steps() -> None:
        for _ in range(5):
            compiled_players.step(twin.losses(batch, step), 0.5)

    def both() -> None:
        without, compiled = timed(plain_steps, device), timed(compiled_steps, device)
        ratios.append(without / compiled)

    benchmark.pedantic(both, rounds=ROUNDS, warmup_rounds=1, iterations=1)
    report(
        benchmark,
        capsys,
        ratios[1:],
        lambda ratio: (
            f"{model}, quick: a compiled step is {ratio} times as fast; the first took "
            f"{compiling:.0f} s"
        ),
    )
