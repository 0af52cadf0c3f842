"""One training step: its memory, its randomness, and the batch that fits."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.step_profile import StopAfter
from tests.training.tiny_runs import CPU, SIZE, config_of
from zoo.api.autoencoder import Autoencoder, Batch, Loss, Losses, Optimizer, Options, Step
from zoo.base.errors import BrokenContract
from zoo.base.interrupts import Interrupted
from zoo.conformance.fixtures import Subject, scene, take_step
from zoo.films.ingested_film import Film
from zoo.plugins.registry import registry
from zoo.training.distributed import launch
from zoo.training.engine import train
from zoo.training.optimizers import Players
from zoo.training.run_folder import RunFolder, TrainingConfig, read_log
from zoo.training.step import TrainingStep
from zoo.training.throughput_and_memory import batch_that_fits, gpu_memory_used, operations_of

FAST = "ae", "clip_ae", "vaegan"
MODELS = [
    pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
    for name in sorted(registry().models)
]


class Noisy(Autoencoder):
    """Uses every random generator: dropout, `torch.rand` and the step's noise."""

    name, summary = "noisy", "for this test"

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
    """The number of tensors that Python objects hold."""
    gc.collect()
    return sum(issubclass(type(each), Tensor) for each in gc.get_objects())


@pytest.mark.parametrize("name", MODELS)
def test_a_step_keeps_no_activations_in_memory(name: str) -> None:
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

    # Activations for the backward pass are held by the graph, which Python cannot see.
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor):
        step(batch, 0.1)
    assert len(saved) > 5
    assert not [one for one in saved if one() is not None]
    # Python objects hold one row of losses per step, until they are averaged.
    step(batch, 0.2)
    before = live_tensors()
    step(batch, 0.3)
    assert live_tensors() <= before + 1


def test_tensors_that_a_model_keeps_are_counted() -> None:
    class Remembers(Noisy):
        def losses(self, batch: Batch, step: Step) -> Losses:
            self.__dict__.setdefault("past", []).append(batch.frames + 0)
            return super().losses(batch, step)

    step = step_of(Remembers(SIZE, Options(latent=4)))
    batch = Batch.numbered(scene(4, SIZE))
    step(batch, 0.1)
    before = live_tensors()
    step(batch, 0.2)
    assert live_tensors() == before + 2, "the row of losses, and what the model keeps"


class HostCopies(TorchDispatchMode):
    """Counts tensors made from numbers on the host: on a GPU each is a copy that waits."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._overloadpacket is torch.ops.aten.lift_fresh:
            self.made.append(str(args[0].shape))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", MODELS)
def test_a_step_copies_no_number_from_the_host(name: str) -> None:
    subject = Subject(registry().models[name])
    step, batch = step_of(subject.to_train()), subject.batch(4)
    step(batch, 0.1)
    with HostCopies() as copies:
        step(batch, 0.2)
    assert not copies.made
    with HostCopies() as copies:
        torch.tensor(0.5)
    assert copies.made, "the counter counts nothing"


READS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select"}
"""Operations whose result the host needs: on a GPU each waits for all that was begun."""


def reads(work: Callable[[], object]) -> list[str]:
    """Those of some work. By the profiler: under a dispatch mode torch takes other ways."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        work()
    return [event.key for event in found.key_averages() if event.key in READS]


@pytest.mark.parametrize("name", MODELS)
def test_a_backward_pass_reads_no_number_from_the_device(name: str) -> None:
    subject = Subject(registry().models[name])
    model = subject.to_train()
    players = Players(model)
    losses = take_step(model, subject.batch(4))
    assert not reads(lambda: players.gradients(losses))


def test_a_number_that_is_read_in_a_backward_pass_is_seen() -> None:
    product = torch.ones(5, 4, requires_grad=True).prod(dim=0).sum()
    # It looks whether a factor is 0.
    assert reads(product.backward) == ["aten::_local_scalar_dense"]


def outcome(step: TrainingStep, frames: Tensor, steps: int) -> dict[str, Tensor]:
    for number in range(steps):
        step(Batch.numbered(frames), number / steps)
    return {name: t.clone() for name, t in step.model.state_dict().items()}


def test_randomness_depends_on_seed_and_step_alone() -> None:
    def fresh() -> Noisy:
        torch.manual_seed(0)
        return Noisy(SIZE, Options(latent=4))

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


def test_every_step_has_its_own_noise() -> None:
    draws: list[Tensor] = []

    class Noted(Noisy):
        def losses(self, batch: Batch, step: Step) -> Losses:
            frames = batch.frames
            draws.append(torch.cat([step.randn_like(frames).flatten(), torch.rand(5)]))
            return super().losses(batch, step)

    step = step_of(Noted(SIZE, Options(latent=4)), seed=3)
    for number in range(20):
        step(Batch.numbered(scene(2, SIZE)), number / 20)
    assert len({float(noise[0]) for noise in draws}) == 20
    assert len({float(noise[-1]) for noise in draws}) == 20


def test_a_model_with_dropout_resumes_to_the_bit(
    film: Film, tmp_path: Path, register: Callable
) -> None:
    register(Noisy)
    config = config_of("noisy", film, options={"latent": 4})
    check_resumes_to_the_bit(config, film, tmp_path)


def check_resumes_to_the_bit(config: TrainingConfig, film: Film, folder: Path) -> None:
    whole, parts = RunFolder(folder / "whole"), RunFolder(folder / "parts")
    train(whole, config, film, CPU)

    with pytest.raises(Interrupted):
        train(parts, config, film, CPU, stop=StopAfter(7))
    torch.rand(1234)
    train(parts, config, film, CPU)
    assert whole.weights.read_bytes() == parts.weights.read_bytes()


@pytest.mark.parametrize("optimizer", ["lamb", "lookahead_adamw", "adan"])
def test_an_optimiser_that_counts_steps_itself_resumes_to_the_bit(
    optimizer: str, film: Film, tmp_path: Path, register: Callable
) -> None:
    class Counting(Noisy):
        name = "counting"

        def optimizer(self, player: str) -> Optimizer:
            return Optimizer(optimizer, betas=None if optimizer == "adan" else (0.9, 0.99))

    register(Counting)
    config = config_of("counting", film, options={"latent": 4})
    check_resumes_to_the_bit(config, film, tmp_path)


def test_an_optimiser_that_no_checkpoint_holds_is_refused_at_the_first_step() -> None:
    class Keeps(Noisy):
        def optimizer(self, player: str) -> Optimizer:
            return Optimizer("sgd")

    step = step_of(Keeps(SIZE, Options(latent=4)))
    inner = step.players.players[0].optimizer
    inner.state[step.players.players[0].parameters[0]]["Q"] = [torch.zeros(1)]
    with pytest.raises(BrokenContract, match=r"noisy: the optimiser .* keeps a list \(Q\)"):
        step(Batch.numbered(scene(4, SIZE)), 0.0)


@pytest.mark.parametrize(
    ("optimizer", "said"), [("adahessian", "needs second derivatives"), ("adan", "timm refuses")]
)
def test_an_optimiser_that_cannot_be_used_is_named(optimizer: str, said: str) -> None:
    class Wrong(Noisy):
        def optimizer(self, player: str) -> Optimizer:
            return Optimizer(optimizer)

    with pytest.raises(BrokenContract, match=f"{optimizer}.*{said}"):
        step_of(Wrong(SIZE, Options(latent=4)))


def test_a_loss_that_is_missing_is_named_wherever_gradients_are_taken() -> None:
    class Lacks(Noisy):
        def losses(self, batch: Batch, step: Step) -> Losses:
            return {"another": super().losses(batch, step)["autoencoder"]}

    with pytest.raises(BrokenContract, match="losses are for another; the players are autoencoder"):
        operations_of(Lacks(SIZE, Options(latent=4)), scene(4, SIZE))


@pytest.mark.parametrize("taken", [2.5, None, "all"])
def test_a_number_of_training_frames_is_whole(
    taken: object, film: Film, register: Callable[..., None], tmp_path: Path
) -> None:
    class Some(Noisy):
        name = "some"

        def frames_taken(self, seen: int) -> int:
            return taken

    register(Some)
    config = config_of("some", film, options={"latent": 4})
    with pytest.raises(BrokenContract, match=r"some: frames_taken gave .* whole number"):
        train(RunFolder(tmp_path / "run"), config, film, CPU)


@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan")])
def test_gradients_are_not_cut_to_nothing(clip: float) -> None:
    class Cut(Noisy):
        def optimizer(self, player: str) -> Optimizer:
            return Optimizer(clip=clip)

    with pytest.raises(BrokenContract, match=r"noisy: optimizer.* has clip="):
        step_of(Cut(SIZE, Options(latent=4)))


class TermsOf(Noisy):
    """Its terms are those of a function of the step's number."""

    def __init__(self, terms: Callable[[int], list[str]]) -> None:
        super().__init__(SIZE, Options(latent=4))
        self.terms_of = terms

    def losses(self, batch: Batch, step: Step) -> Losses:
        (loss,) = super().losses(batch, step).values()
        names = self.terms_of(step.number)
        terms = {name: (number + 1) * loss.total for number, name in enumerate(sorted(names))}
        return {"autoencoder": Loss({name: terms[name] for name in names})}


def test_a_loss_without_terms_is_refused_by_name() -> None:
    class Nothing(Noisy):
        def losses(self, batch: Batch, step: Step) -> Losses:
            return {"autoencoder": Loss({})}

    with pytest.raises(BrokenContract, match="noisy: the loss of 'autoencoder' has no terms"):
        step_of(Nothing(SIZE, Options(latent=4)))(Batch.numbered(scene(4, SIZE)), 0.0)


def test_a_loss_term_that_comes_later_is_refused_by_name() -> None:
    step = step_of(TermsOf(lambda number: ["pixel"] if number < 2 else ["pixel", "late"]))
    batch = Batch.numbered(scene(4, SIZE))
    step(batch, 0.0)
    step(batch, 0.1)
    with pytest.raises(BrokenContract, match=r"step 2 than before \(autoencoder.late is new\)"):
        step(batch, 0.2)


def test_a_logged_value_that_is_no_number_does_not_end_the_training(
    film: Film, tmp_path: Path, register: Callable
) -> None:
    class Logs(Noisy):
        name = "logs"

        def losses(self, batch: Batch, step: Step) -> Losses:
            (loss,) = super().losses(batch, step).values()
            odd = torch.tensor(torch.nan if step.number == 5 else 1.0)
            return {"autoencoder": Loss(loss.terms, logged={"odd": odd, "even": torch.ones(())})}

    register(Logs)
    folder = RunFolder(tmp_path / "run")
    train(folder, config_of("logs", film, options={"latent": 4}), film, CPU)
    entries = read_log(folder.log)
    assert all(entry.logged["autoencoder"]["even"] == 1 for entry in entries)
    assert sum("odd" not in entry.logged["autoencoder"] for entry in entries) == 1


def test_loss_terms_may_come_in_any_order() -> None:
    step = step_of(TermsOf(lambda number: ["a", "b"] if number % 2 else ["b", "a"]))
    batch = Batch.numbered(scene(4, SIZE))
    for number in range(4):
        step(batch, number / 4)
    means = step.loss_averager.means().losses["autoencoder"]
    assert means["b"] == pytest.approx(2 * means["a"])


def test_the_batch_that_fits_is_searched_in_the_training_precision() -> None:
    types: list[tuple[int, torch.dtype]] = []

    class Hungry(Noisy):
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


def test_calibration_is_in_the_final_weights(
    film: Film, tmp_path: Path, register: Callable
) -> None:
    class Calibrated(Noisy):
        name = "calibrated"

        def __init__(self, size, options) -> None:
            super().__init__(size, options)
            self.register_buffer("frames", torch.zeros(()))

        def calibrate(self, batches) -> None:
            self.frames.fill_(sum(len(batch) for batch in batches))

    register(Calibrated)
    folder = RunFolder(tmp_path)
    train(folder, config_of("calibrated", film, options={"latent": 4}), film, CPU)
    assert float(load_file(folder.weights)["frames"]) == 16 * 4


def test_gpu_memory_is_said_with_whether_a_larger_batch_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = [2e9]
    whole = type("Properties", (), {"total_memory": 80e9})
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: used[0])
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: whole)
    gpu = torch.device("cuda", 0)
    said = "GPU memory: 2.0 of 80.0 GB at most, with --batch 32; a larger one fits"
    assert gpu_memory_used(gpu, 32) == said
    used[0] = 30e9
    assert gpu_memory_used(gpu, 32) == "GPU memory: 30.0 of 80.0 GB at most"
    assert gpu_memory_used(CPU, 32) is None
