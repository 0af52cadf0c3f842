"""16-bit training: scaled losses change no update, and an overflow costs one step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.training.test_optimizers import TwoPlayers, two_players, weights
from tests.training.test_step import Noisy, step_of
from tests.training.tiny_runs import CPU, SIZE
from zoo.api.autoencoder import Batch, Loss, Losses, Optimizer, Options, Step
from zoo.api.recipe_and_events import Recipe
from zoo.base.errors import BadInput
from zoo.conformance.fixtures import scene
from zoo.training import optimizers
from zoo.training.checkpoint import CheckpointWriter, Progress, load_checkpoint
from zoo.training.optimizers import FIRST_SCALE, LossScale, Players
from zoo.training.step import TrainingStep


class Overflowing(Noisy):
    """Its gradients are infinite in some steps."""

    name = "overflowing"
    at: tuple[int, ...] = ()

    def losses(self, batch: Batch, step: Step) -> Losses:
        (loss,) = super().losses(batch, step).values()
        factor = 1e36 if step.number in self.at else 1.0
        return {"autoencoder": Loss({"pixel": factor * loss.total})}


def training(scaled: bool, at: tuple[int, ...] = (), accumulate: int = 1) -> TrainingStep:
    torch.manual_seed(0)
    model = Overflowing(SIZE, Options(latent=4))
    model.at = at
    step = step_of(model, recipe=Recipe(accumulate=accumulate))
    if scaled:
        # A processor has no 16-bit training; scaling works the same in 32 bits.
        step.players.loss_scale = LossScale(CPU)
    return step


def batch() -> Batch:
    return Batch.numbered(scene(4, SIZE))


def state(step: TrainingStep) -> dict[str, Tensor]:
    return weights(step.model)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_scale_changes_no_bit_of_the_weights(accumulate: int) -> None:
    plain, scaled = training(False, accumulate=accumulate), training(True, accumulate=accumulate)
    for number in range(4):
        for step in (plain, scaled):
            step(batch(), number / 4)
    moved = state(plain)
    assert all(torch.equal(tensor, moved[name]) for name, tensor in state(scaled).items())
    assert plain.loss_averager.means() == scaled.loss_averager.means()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_that_overflows_is_skipped_and_halves_the_scale(accumulate: int) -> None:
    step = training(True, at=(2,), accumulate=accumulate)
    (player,) = step.players.players
    for _ in range(2):
        step(batch(), 0.5)
    before = state(step)
    moments = [s["exp_avg"].clone() for s in player.optimizer.state.values()]
    counts = [float(s["step"]) for s in player.optimizer.state.values()]
    step(batch(), 0.5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(step).items())
    after = player.optimizer.state.values()
    assert all(torch.equal(m, s["exp_avg"]) for m, s in zip(moments, after, strict=True))
    assert [float(s["step"]) for s in after] == counts
    assert step.players.loss_scale is not None
    assert float(step.players.loss_scale.value) == FIRST_SCALE / 2
    step(batch(), 0.5)
    assert not all(torch.equal(tensor, before[name]) for name, tensor in state(step).items())
    assert all(tensor.isfinite().all() for tensor in state(step).values())


def test_a_player_that_overflows_leaves_the_others_moving() -> None:
    model = two_players()
    players = Players(model, loss_scale=LossScale(CPU))
    before = weights(model)
    losses = model.losses(Batch.numbered(scene(2, model.size)), Step(torch.tensor(0.5), 0, None))
    first, second = losses
    losses = {first: Loss({"all": losses[first].total * 1e38}), second: losses[second]}
    players.step(losses, 0.5)
    moved = {
        name for name, tensor in weights(model).items() if not torch.equal(tensor, before[name])
    }
    of_second = {id(p) for p in players.players[1].parameters}
    assert moved == {name for name, p in model.named_parameters() if id(p) in of_second}


def test_the_scale_doubles_after_many_steps_without_an_overflow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(optimizers, "STEPS_TO_GROW", 3)
    scale, good, bad = LossScale(CPU), torch.tensor(True), torch.tensor(False)
    values = []
    for finite in [[good], [good, good], [good, bad], *[[good]] * 6]:
        scale.update(finite)
        values.append(float(scale.value) / FIRST_SCALE)
    assert values == [1, 1, 0.5, 0.5, 0.5, 1, 1, 1, 2]


def test_the_scale_is_in_the_checkpoint(tmp_path: Path) -> None:
    step, path = training(True, at=(1,)), tmp_path / "checkpoint.safetensors"
    for _ in range(3):
        step(batch(), 0.5)
    writer = CheckpointWriter(path)
    writer.begin(Progress(step=3), step)
    writer.wait()
    writer.close()
    resumed = training(True, at=(1,))
    load_checkpoint(path, resumed)
    assert resumed.players.loss_scale is not None
    assert float(resumed.players.loss_scale.value) == FIRST_SCALE / 2
    assert int(resumed.players.loss_scale.steps) == 1


def test_an_optimiser_that_cannot_skip_steps_is_refused() -> None:
    class Plain(TwoPlayers):
        name = "plain"

        def optimizer(self, player: str) -> Optimizer:
            return Optimizer("sgd", betas=None)

    torch.manual_seed(0)
    model = Plain(SIZE, Options(latent=4))
    with pytest.raises(BadInput, match=r"plain: .*skips steps, .*: use --precision 32 or bf16"):
        Players(model, loss_scale=LossScale(CPU))
