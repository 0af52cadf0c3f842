"""The player rule, compared with separate forward passes in double precision."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from zoo.api.autoencoder import (
    Autoencoder,
    Batch,
    Loss,
    Losses,
    Optimizer,
    Options,
    PlayerParameters,
    Step,
)
from zoo.base.frame_size import FrameSize
from zoo.conformance.fixtures import Subject, scene, take_step
from zoo.plugins.registry import registry
from zoo.training.optimizers import Players


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("name", registry().models)
def test_each_gradient_is_of_the_players_own_loss_alone(name: str) -> None:
    model = Subject(registry().models[name]).to_train().double()
    frames = Subject(registry().models[name]).samples(4).double()
    twins = {player: copy.deepcopy(model) for player, _ in PlayerParameters.of(model)}

    found = Players(model).gradients(take_step(model, frames))

    for player, twin in twins.items():
        # A separate forward pass, and backward from this loss only.
        take_step(twin, frames)[player].total.backward()
        for ours, theirs in zip(
            found[player], dict(PlayerParameters.of(twin))[player], strict=True
        ):
            expected = torch.zeros_like(theirs) if theirs.grad is None else theirs.grad
            torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


class TwoPlayers(Autoencoder):
    """Two players whose losses depend on each other's weights."""

    name = "two"
    summary = "for this test"

    def __init__(self, size: FrameSize, options: Options) -> None:
        super().__init__(size, options)
        self.left = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.right = nn.Parameter(torch.tensor([3.0, 4.0]))
        self.right_active: Tensor | None = torch.tensor(True)

    def players(self):
        return {"left": [self.left], "right": [self.right]}

    def optimizer(self, player: str) -> Optimizer:
        return Optimizer(name="adamw", lr=0.1)

    def losses(self, batch: Batch, step: Step) -> Losses:
        product = (self.left * self.right).sum()
        return {
            "left": Loss({"down": product}),
            "right": Loss({"up": -product}, active=self.right_active),
        }


def two_players() -> TwoPlayers:
    return TwoPlayers(FrameSize(32, 32), Options())


def test_opposed_players_move_in_opposite_directions_from_the_same_point() -> None:
    model = two_players()
    players = Players(model)
    players.step(take_step(model, torch.zeros(1, 3, 32, 32)), progress=0.5)
    assert (model.left < torch.tensor([1.0, 2.0])).all()
    assert (model.right > torch.tensor([3.0, 4.0])).all()


def test_a_player_that_skips_a_step_keeps_weights_moments_and_step_count() -> None:
    model = two_players()
    players = Players(model)
    right = next(p for p in players.players if p.name == "right")
    frames = torch.zeros(1, 3, 32, 32)
    players.step(take_step(model, frames), progress=0.5)
    before = weights(model)
    state = {k: v.clone() for k, v in right.optimizer.state[model.right].items()}

    model.right_active = torch.tensor(False)
    players.step(take_step(model, frames), progress=0.5)

    assert torch.equal(model.right, before["right"])
    assert not torch.equal(model.left, before["left"])
    for key, value in right.optimizer.state[model.right].items():
        assert torch.equal(value, state[key]), key

    for active in (torch.tensor(True), None):
        before = weights(model)
        model.right_active = active
        players.step(take_step(model, frames), progress=0.5)
        assert not torch.equal(model.right, before["right"]), active
    assert int(right.optimizer.state[model.right]["step"]) == 3


def test_a_skipping_player_does_not_change_how_the_others_move() -> None:
    plain = registry().models["vaegan"]

    class Gated(plain):  # type: ignore[misc, valid-type]
        def losses(self, batch: Batch, step: Step) -> Losses:
            losses = dict(super().losses(batch, step))
            losses["discriminator"] = Loss(losses["discriminator"].terms, torch.tensor(False))
            return losses

    model = Subject(Gated).to_train().double()
    twin = Subject(plain).to_train().double()
    with torch.no_grad():
        for frozen in (p for p in model.parameters() if not p.requires_grad):
            frozen.normal_(std=0.1)  # a linear path of zeros would leave a layer without gradients
    twin.load_state_dict(model.state_dict())
    before = weights(model)
    frames = scene(4, model.size).double()
    for each in (model, twin):
        Players(each).step(take_step(each, frames), progress=0.5)
    after, ungated = weights(model), weights(twin)
    trained = {name for name, parameter in twin.named_parameters() if parameter.requires_grad}
    for name, tensor in after.items():
        skips = name.startswith("discriminator")
        assert torch.equal(tensor, before[name] if skips else ungated[name]), name
        moves = name in trained
        assert torch.equal(ungated[name], before[name]) is not moves, name


def test_a_gradient_in_another_memory_layout_moves_the_right_weights() -> None:
    # A convolution's gradient can come back channels last for weights that are not.
    torch.manual_seed(0)

    class Upwards(Autoencoder):
        name, summary = "upwards", "for this test"

        def __init__(self) -> None:
            super().__init__(FrameSize(32, 32), Options())
            self.up = nn.ConvTranspose2d(8, 4, 4, 2, padding=1)

        def losses(self, batch: Batch, step: Step) -> Losses:
            frames = batch.frames
            return {"autoencoder": Loss({"all": self.up(frames).square().mean()})}

    frames = torch.randn(2, 8, 6, 6).contiguous(memory_format=torch.channels_last)
    model = Upwards()
    twin = copy.deepcopy(model)
    Players(model).step(take_step(model, frames), progress=0.5)
    player = Players(twin).players[0]
    player.set_progress(0.5)
    take_step(twin, frames)["autoencoder"].total.backward()
    nn.utils.clip_grad_norm_(player.parameters, 1.0)
    player.optimizer.step()
    torch.testing.assert_close(model.up.weight, twin.up.weight, rtol=1e-5, atol=1e-7)


def test_players_that_share_a_parameter_or_leave_one_out_are_refused() -> None:
    class Shared(TwoPlayers):
        def players(self):
            return {"left": [self.left, self.right], "right": [self.right]}

    class Missing(TwoPlayers):
        def players(self):
            return {"left": [self.left]}

    with pytest.raises(ValueError, match=r"right belongs to 'left' and to 'right'"):
        Players(Shared(FrameSize(32, 32), Options()))
    with pytest.raises(ValueError, match=r"right belongs to no player"):
        Players(Missing(FrameSize(32, 32), Options()))


def test_losses_that_are_not_one_for_each_player_are_refused() -> None:
    model = two_players()
    players = Players(model)
    with pytest.raises(ValueError, match="players are left, right"):
        players.check({"left": Loss({"a": torch.tensor(1.0)})})
    with pytest.raises(ValueError, match="no dimensions"):
        players.check({"left": Loss({"a": torch.ones(2)}), "right": Loss({"b": torch.tensor(1.0)})})


def test_players_of_one_loss_share_its_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model = two_players()
    players = Players(model)
    calls = []
    grad = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: calls.append(1) or grad(*a, **k))
    for losses_given in (1, 2):
        product = (model.left * model.right).sum()
        left = Loss({"product": product})
        right = left if losses_given == 1 else Loss({"product": product})
        calls.clear()
        found = players.gradients({"left": left, "right": right})
        assert len(calls) == losses_given
        assert [g.tolist() for g in found["left"]] == [model.right.tolist()]
        assert [g.tolist() for g in found["right"]] == [model.left.tolist()]
