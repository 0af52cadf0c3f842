"""One training step: what it leaves behind, where its chance comes from, and who takes it."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.small import SIZE, config_of
from zoo.api.autoencoder import Autoencoder, Batch, Loss, Losses, Options, Step
from zoo.base.interrupts import StopRequest
from zoo.conformance.fixtures import Subject, scene
from zoo.films.film import Film
from zoo.plugins.registry import registry
from zoo.training.callbacks import Interrupted
from zoo.training.distributed import launch
from zoo.training.engine import train
from zoo.training.memory import batch_that_fits
from zoo.training.run_folder import RunFolder
from zoo.training.step import TrainingStep

CPU = torch.device("cpu")


class Chancy(Autoencoder):
    """Draws on every source of chance that torch has: dropout, `torch.rand` and the step's."""

    name, summary = "chancy", "for this test"

    def __init__(self, size, options) -> None:
        super().__init__(size, options)
        self.inward = torch.nn.Linear(size.pixels * 3, options.latent)
        self.outward = torch.nn.Linear(options.latent, size.pixels * 3)
        self.dropout = torch.nn.Dropout(0.3)

    def encode(self, frames: Tensor) -> Tensor:
        return self.inward(frames.flatten(1))

    def decode(self, latent: Tensor) -> Tensor:
        shape = (-1, 3, self.size.height, self.size.width)
        return self.outward(self.dropout(latent)).sigmoid().reshape(shape)

    def losses(self, batch: Batch, step: Step) -> Losses:
        frames = batch.frames
        latent = self.encode(frames)
        latent = latent + 0.1 * step.randn_like(latent) + 0.1 * torch.rand_like(latent)
        return {"autoencoder": Loss({"pixel": (self.decode(latent) - frames).square().mean()})}


def step_of(model: Autoencoder, precision: str = "32-true", **settings: Any) -> TrainingStep:
    return TrainingStep(model.train(), launch(CPU, precision, 4), **settings)


def live_tensors() -> int:
    """Tensors that Python code holds: as attributes, in lists, in what a module remembers."""
    gc.collect()
    return sum(issubclass(type(each), Tensor) for each in gc.get_objects())


@pytest.mark.parametrize("name", sorted(registry().models))
def test_a_step_leaves_nothing_of_itself_in_memory(name: str) -> None:
    subject = Subject(registry().models[name])
    step, batch = step_of(subject.to_train()), subject.batch(4)
    saved: list[weakref.ref[Any]] = []

    class Held:
        def __init__(self, tensor: Tensor) -> None:
            # Detached: an output that holds its own graph would never be freed.
            self.tensor = tensor.detach()

    def pack(tensor: Tensor) -> Held:
        held = Held(tensor)
        saved.append(weakref.ref(held))
        return held

    # What the backward pass needs is held by the graph, which Python code does not see.
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor):
        step(batch, 0.1)
    assert len(saved) > 5
    assert not [one for one in saved if one() is not None]
    # What Python code holds: one row of losses a step, until they are read.
    step(batch, 0.2)
    before = live_tensors()
    step(batch, 0.3)
    assert live_tensors() <= before + 1


def test_what_a_model_remembers_of_a_step_is_counted() -> None:
    class Remembers(Chancy):
        def losses(self, batch: Batch, step: Step) -> Losses:
            self.__dict__.setdefault("past", []).append(batch.frames + 0)
            return super().losses(batch, step)

    step = step_of(Remembers(SIZE, Options(latent=4)))
    batch = Batch.numbered(scene(4, SIZE))
    step(batch, 0.1)
    before = live_tensors()
    step(batch, 0.2)
    assert live_tensors() == before + 2, "the row of losses, and what the model keeps"


class Copies(TorchDispatchMode):
    """Counts tensors that are made from numbers on the host: on a GPU each is a copy that waits."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._overloadpacket is torch.ops.aten.lift_fresh:
            self.made.append(str(args[0].shape))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", sorted(registry().models))
def test_no_step_makes_a_tensor_from_numbers_of_the_host(name: str) -> None:
    subject = Subject(registry().models[name])
    step, batch = step_of(subject.to_train()), subject.batch(4)
    step(batch, 0.1)
    with Copies() as copies:
        step(batch, 0.2)
    assert not copies.made
    with Copies() as copies:
        torch.tensor(0.5)
    assert copies.made, "the counter counts nothing"


def outcome(step: TrainingStep, frames: Tensor, steps: int) -> dict[str, Tensor]:
    for number in range(steps):
        step(Batch.numbered(frames), number / steps)
    return {name: t.clone() for name, t in step.model.state_dict().items()}


def test_chance_follows_from_the_seed_and_the_step_alone() -> None:
    def fresh() -> Chancy:
        torch.manual_seed(0)
        return Chancy(SIZE, Options(latent=4))

    frames = scene(4, SIZE)
    expected = outcome(step_of(fresh(), seed=7), frames, 5)
    torch.manual_seed(99)
    torch.rand(1000)
    again = step_of(fresh(), seed=7)
    torch.rand(17)
    for name, tensor in outcome(again, frames, 5).items():
        assert torch.equal(tensor, expected[name]), name
    other = outcome(step_of(fresh(), seed=8), frames, 5)
    assert not torch.equal(other["inward.weight"], expected["inward.weight"])


def test_no_two_steps_have_the_same_noise() -> None:
    drawn: list[Tensor] = []

    class Noted(Chancy):
        def losses(self, batch: Batch, step: Step) -> Losses:
            frames = batch.frames
            drawn.append(torch.cat([step.randn_like(frames).flatten(), torch.rand(5)]))
            return super().losses(batch, step)

    step = step_of(Noted(SIZE, Options(latent=4)), seed=3)
    for number in range(20):
        step(Batch.numbered(scene(2, SIZE)), number / 20)
    assert len({float(noise[0]) for noise in drawn}) == 20
    assert len({float(noise[-1]) for noise in drawn}) == 20


def test_a_model_with_dropout_resumes_to_the_bit(
    film: Film, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry().models, "chancy", Chancy)
    monkeypatch.setitem(registry().origins, "chancy", "test 0")
    config = config_of("chancy", film, options={"latent": 4})
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    train(whole, config, film, CPU)

    class StopAt(StopRequest):
        looks = 0

        @property
        def asked(self) -> bool:  # type: ignore[override]
            self.looks += 1
            return self.looks > 7

        def __init__(self) -> None: ...

    with pytest.raises(Interrupted):
        train(parts, config, film, CPU, stop=StopAt())
    torch.rand(1234)
    train(parts, config, film, CPU)
    assert whole.weights.read_bytes() == parts.weights.read_bytes()


def test_the_batch_that_fits_is_searched_in_the_precision_of_the_training() -> None:
    types: list[tuple[int, torch.dtype]] = []

    class Hungry(Chancy):
        def losses(self, batch: Batch, step: Step) -> Losses:
            frames = batch.frames
            latent = self.encode(frames)
            types.append((len(frames), latent.dtype))
            if len(frames) > 3:
                raise torch.OutOfMemoryError("no memory")
            return super().losses(batch, step)

    step = step_of(Hungry(SIZE, Options(latent=4)), precision="bf16-mixed")
    assert batch_that_fits(step, Batch.numbered(scene(16, SIZE))) == 2
    assert types == [(8, torch.bfloat16), (4, torch.bfloat16), (2, torch.bfloat16)]


def test_what_a_model_settles_after_training_is_in_its_weights(
    film: Film, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Settled(Chancy):
        def __init__(self, size, options) -> None:
            super().__init__(size, options)
            self.register_buffer("settled", torch.zeros(()))

        def calibrate(self, batches) -> None:
            self.settled.fill_(sum(len(batch) for batch in batches))

    monkeypatch.setitem(registry().models, "settled", Settled)
    monkeypatch.setitem(registry().origins, "settled", "test 0")
    folder = RunFolder(tmp_path)
    train(folder, config_of("settled", film, options={"latent": 4}), film, CPU)
    assert float(load_file(folder.weights)["settled"]) == 16 * 4
