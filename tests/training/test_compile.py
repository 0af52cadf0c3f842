"""Compiled training steps: the same up to rounding, refused early if impossible, recorded."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.training.tiny_runs import CPU, config_of
from zoo.api.autoencoder import Autoencoder, Batch, Loss, Losses, Options, Step
from zoo.api.samples_and_latents import Sampling, noise
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.interrupts import Interrupted, StopRequest
from zoo.conformance.fixtures import take_step
from zoo.films.ingested_film import Film
from zoo.plugins.model_building import build_to_train
from zoo.plugins.registry import registry
from zoo.training.engine import train
from zoo.training.optimizers import Players
from zoo.training.run_folder import RunFolder, TrainingConfig
from zoo.training.settings import Settings, choose_compile_mode
from zoo.training.step import CACHE_TAG, compile_modules


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A compiler with an empty cache; torch's settings are restored afterwards."""
    import torch._functorch.config as functorch
    import torch.compiler.config as compiler_config

    try:
        choose_compile_mode(True, CPU)
    except BadInput as error:
        pytest.skip(str(error))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    donated, tag = functorch.donated_buffer, compiler_config.cache_key_tag
    yield
    functorch.donated_buffer, compiler_config.cache_key_tag = donated, tag
    torch._dynamo.reset()


class Exp(nn.Module):
    """e to the power of its input."""

    def forward(self, values: Tensor) -> Tensor:
        return torch.exp(values)


class Rivals(Autoencoder):
    """Two players whose gradients run through one forward pass with noise in it."""

    name = "rivals"
    summary = "for this test"

    def __init__(self, size: FrameSize, options: Options) -> None:
        super().__init__(size, options)
        # Values between layers are saved for the backward pass, which may overwrite them.
        self.first = nn.Sequential(nn.Linear(48, 32), nn.Tanh(), Exp())
        self.second = nn.Sequential(nn.Linear(32, 48), nn.Tanh(), Exp())

    def players(self):
        return {"first": self.first.parameters(), "second": self.second.parameters()}

    def losses(self, batch: Batch, step: Step) -> Losses:
        frames = batch.frames
        values = frames.flatten(1)
        latent = self.first(values) + step.randn_like(values[:, :32])
        output = self.second(torch.sin(latent))
        error = (output - values).square().mean()
        return {
            "first": Loss({"error": error, "size": latent.square().mean()}),
            "second": Loss({"error": error * step.progress, "other": torch.cos(output).mean()}),
        }


def assert_same_step(model: Autoencoder, frames: Tensor, rounding: float = 1e-9) -> None:
    """Compare losses and gradients, compiled and not, over two steps with different noise.

    In double precision: in single precision rounding may move a value across the kink of a leaky
    ReLU.
    """
    model, frames = model.double(), frames.double()
    twin = copy.deepcopy(model)
    compile_modules(twin, "default")
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for seed in (1, 2):
        expected, found = take_step(model, frames, seed), take_step(twin, frames, seed)
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > graphs
        for player, loss in expected.items():
            torch.testing.assert_close(
                dict(found[player].terms), dict(loss.terms), rtol=rounding, atol=1e-12
            )
        plain, compiled = Players(model).gradients(expected), Players(twin).gradients(found)
        for player, gradients in plain.items():
            for ours, theirs in zip(compiled[player], gradients, strict=True):
                # Gradients that are zero up to rounding are rounded differently.
                assert (ours - theirs).norm() <= rounding * theirs.norm() + 1e-12, player


@pytest.mark.slow
def test_a_compiled_step_has_the_same_losses_and_gradients(compiler: None) -> None:
    torch.manual_seed(0)
    assert_same_step(Rivals(FrameSize(4, 4), Options()).train(), torch.rand(64, 3, 4, 4))


@pytest.mark.slow
def test_cached_code_of_other_programs_is_not_used(compiler: None) -> None:
    # In other programs compiled backward passes overwrite what they have read. Their code is in
    # torch's cache, and only the tag keeps it apart from ours.
    torch.manual_seed(0)
    model = Rivals(FrameSize(4, 4), Options()).double().train()
    frames = torch.rand(64, 3, 4, 4).double()
    other = copy.deepcopy(model)
    for module in other.children():
        module.compile(dynamic=False)
    loss = take_step(other, frames, 0)["first"]
    torch.autograd.grad(loss.total, list(other.first.parameters()))
    torch._dynamo.reset()
    assert_same_step(model, frames)
    assert CACHE_TAG in torch.compiler.config.cache_key_tag


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(registry().models))
def test_a_compiled_step_of_each_built_in_model(name: str, compiler: None) -> None:
    torch.manual_seed(0)
    architecture = registry().models[name]
    options = {**architecture.presets.get("quick", {}), "latent": 4}
    model = build_to_train(architecture, FrameSize(32, 32), options)
    model = model.to(memory_format=torch.channels_last).train()
    # The library behind `fsq` keeps constants in single precision.
    rounding = 1e-7 if name == "fsq" else 1e-9
    assert_same_step(model, noise(4, Sampling.of(model), 32, 32, CPU), rounding)


def test_module_lists_are_compiled_and_copies_are_not() -> None:
    model = Rivals(FrameSize(4, 4), Options())
    model.second = nn.ModuleList([nn.Linear(2, 2)])
    compile_modules(model, "default")
    assert model.first._compiled_call_impl and model.second[0]._compiled_call_impl
    assert not copy.deepcopy(model).first._compiled_call_impl


@pytest.mark.slow
def test_compiled_training_resumes_to_the_bit(film: Film, tmp_path: Path, compiler: None) -> None:
    config = config_of("vae", film, compile="default", budget="8steps")
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    train(whole, config, film, CPU)

    stop = StopRequest()
    with pytest.raises(Interrupted):
        train(parts, config, film, CPU, stop=stop, callback=lambda _: setattr(stop, "asked", True))
    train(parts, config, film, CPU)

    assert parts.weights.read_bytes() == whole.weights.read_bytes()
    description = whole.read()
    assert description is not None
    assert description.environment.compile == "default"


def test_a_missing_compiler_is_reported_before_anything_starts(
    zoo: Callable, workspace: Path
) -> None:
    import torch._inductor.config

    words = ("train", "ae", "--film", "carphone", "--preset", "quick", "--device", "cpu")
    with torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}):
        result = zoo(*words, "--compile")
    assert result.code == 2
    assert result.err.strip() == "zoo: --compile needs a C++ compiler, and none was found"
    assert not list(workspace.iterdir())


def test_compiling_changes_the_run_id_of_models_that_take_steps(
    film: Film, config: TrainingConfig, compiler: None
) -> None:
    compiled = config.model_copy(update={"compile": "default"})
    assert compiled.id != config.id
    before = TrainingConfig.model_validate(config.model_dump(exclude={"compile"}))
    assert (before, before.id) == (config, config.id)

    chosen = Settings.choose("quick", size="32x32", device="cpu", compiled=True)
    assert chosen.config(registry().architecture("vae"), film).compile == "default"
    assert chosen.config(registry().architecture("pca"), film).compile == "none"
    assert Settings.choose("quick", device="cpu").compile == "none"
