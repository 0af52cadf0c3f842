"""What a model may declare about its training: recipe, parameter groups, training modules."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pydantic
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import zoo
from tests.training.tiny_runs import CPU, SIZE, TINY, config_of
from zoo.base.errors import BadInput
from zoo.conformance.fixtures import scene
from zoo.films.ingested_film import Film
from zoo.plugins.registry import registry
from zoo.training.distributed import launch
from zoo.training.engine import train
from zoo.training.run_folder import RunFolder, TrainingConfig
from zoo.training.settings import Settings
from zoo.training.step import TrainingStep


class Line(zoo.Autoencoder):
    """A matrix down and one up, a frozen network to compare with, and a number to be logged."""

    name, summary = "line", "for this test"

    def __init__(self, size, options) -> None:
        super().__init__(size, options)
        self.down = nn.Linear(size.pixels * 3, options.latent)
        self.up = nn.Linear(options.latent, size.pixels * 3)

    def training_modules(self):
        return {"frozen": nn.Linear(3, 1).requires_grad_(False), "critic": nn.Linear(3, 1)}

    def players(self) -> zoo.Players:
        own = [zoo.Group(self.down.parameters(), lr=0.0), zoo.Group(self.up.parameters())]
        return {"autoencoder": own, "critic": self.critic.parameters()}

    def optimizer(self, player: str) -> zoo.Optimizer:
        return zoo.Optimizer("momentum", lr=0.1, clip=None)

    def encode(self, frames: Tensor) -> Tensor:
        return self.down(frames.flatten(1))

    def decode(self, latent: Tensor) -> Tensor:
        shape = (-1, 3, self.size.height, self.size.width)
        return self.up(latent).sigmoid().reshape(shape)

    def losses(self, batch: zoo.Batch, step: zoo.Step) -> zoo.Losses:
        noisy = self.encode(batch.frames + 0.1 * step.rand_like(batch.frames))
        error = (self.decode(noisy) - batch.frames).square().mean()
        cost = self.critic(self.frozen.weight * error.detach()).square().sum()
        number = torch.tensor(float(step.number))
        return {
            "autoencoder": zoo.Loss({"pixel": error}, logged={"number": number}),
            "critic": zoo.Loss({"cost": cost}),
        }


def build_line() -> Line:
    from zoo.plugins.model_building import add_training_modules

    torch.manual_seed(0)
    model = Line(SIZE, zoo.Options(latent=4))
    add_training_modules(model)
    return model.train()


def weights_after(recipe: zoo.Recipe, steps: int = 3) -> dict[str, Tensor]:
    step = TrainingStep(build_line(), launch(CPU, "32-true", 4), recipe=recipe, steps=steps)
    for number in range(steps):
        step(zoo.Batch.numbered(scene(4, SIZE)), number / steps)
    return dict(step.model.state_dict())


def test_gradient_accumulation_gives_the_step_of_the_whole_batch() -> None:
    whole, parts = weights_after(zoo.Recipe()), weights_after(zoo.Recipe(accumulate=4))
    assert not torch.equal(whole["up.weight"], build_line().state_dict()["up.weight"])
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=1e-4, atol=1e-6)


def test_a_parameter_group_has_its_own_learning_rate() -> None:
    before, after = build_line().state_dict(), weights_after(zoo.Recipe())
    assert torch.equal(before["down.weight"], after["down.weight"])
    assert not torch.equal(before["up.weight"], after["up.weight"])


@pytest.mark.parametrize(
    ("recipe", "rates"),
    [
        (zoo.Recipe(warm_up=0.1), [0.02, 1.0, 0.0347, 0.02]),
        (zoo.Recipe(warm_up=0.1, schedule="linear", final_lr=0.0), [0.0, 1.0, 0.1111, 0.0]),
        (zoo.Recipe(warm_up=0.0, schedule="constant", lr=0.5), [0.5] * 4),
    ],
)
def test_learning_rates_follow_the_recipe(recipe: zoo.Recipe, rates: list[float]) -> None:
    found = [recipe.learning_rate(progress) for progress in (0.0, 0.1, 0.9, 1.0)]
    assert found == pytest.approx(rates, abs=0.02)
    assert found[3] == pytest.approx(rates[3], abs=1e-9)


def test_a_recipe_changes_the_run_id_and_bad_ones_are_refused(film: Film) -> None:
    ae = registry().models["ae"]

    def config(**recipe: str) -> TrainingConfig:
        return Settings.choose("quick", device="cpu", recipe=recipe).config(ae, film)

    plain = config()
    assert config(average="0.5").recipe.average == 0.5
    assert len({plain.id, config(average="0.5").id, config(accumulate="2").id}) == 3
    with pytest.raises(BadInput, match="a recipe has no setting 'speed'; it has: schedule"):
        config(speed="1")
    with pytest.raises(BadInput, match=r"ae: the recipe's schedule .* cannot be 'wavy'"):
        config(schedule="wavy")
    with pytest.raises(pydantic.ValidationError):
        zoo.Recipe(accumulate=0)


@pytest.mark.parametrize("clip", ["0", "-1", "nan"])
def test_a_recipe_does_not_turn_gradients_round(clip: str) -> None:
    ae = registry().models["ae"]
    with pytest.raises(BadInput, match=f"ae: the recipe's clip .* cannot be '{clip}'"):
        Settings.choose("quick", device="cpu", recipe={"clip": clip}).recipe_of(ae)


@pytest.mark.parametrize(
    "verb", [("train", "ae", "--film"), ("compare", "--models", "ae", "--films")]
)
@pytest.mark.parametrize(
    ("setting", "said"),
    [("lr=0", "the recipe's lr"), ("accumulate=3", "cannot be cut into 3 equal parts")],
)
def test_a_wrong_recipe_is_refused_before_a_film_is_decoded(
    verb: tuple[str, ...], setting: str, said: str, zoo: Callable, workspace: Path
) -> None:
    refused = zoo(*verb, "carphone", *TINY[2:], "--recipe", setting)
    assert refused.code == 2
    assert said in refused.err and refused.err.count("\n") == 1
    assert not (workspace / ".zoo" / "films").exists()


def test_training_only_modules_are_not_in_the_final_weights(
    film: Film, tmp_path: Path, register: Callable
) -> None:
    register(Line)
    folder = RunFolder(tmp_path)
    train(folder, config_of("line", film, options={"latent": 4}), film, CPU)
    assert sorted(load_file(folder.weights)) == ["down.bias", "down.weight", "up.bias", "up.weight"]
    entries = [json.loads(row) for row in folder.log.read_text().splitlines()]
    assert entries[-1]["logged"]["autoencoder"]["number"] > 0
    assert "number" not in entries[-1]["losses"]["autoencoder"]


def test_a_training_module_may_not_reuse_an_attribute_name() -> None:
    from zoo.plugins.model_building import add_training_modules

    class Taken(Line):
        def training_modules(self):
            return {"down": nn.Linear(1, 1)}

    with pytest.raises(
        ValueError, match="training_modules has 'down', which the model already has"
    ):
        add_training_modules(Taken(SIZE, zoo.Options(latent=4)))


def test_the_noise_of_a_part_is_its_rows_of_the_whole_noise() -> None:
    def step(part: int = 0, parts: int = 1) -> zoo.Step:
        return zoo.Step(torch.tensor(0.5), 3, torch.Generator().manual_seed(1), part, parts)

    whole = step().rand_like(torch.empty(6, 2))
    assert whole.min() >= 0 and whole.max() < 1 and whole.std() > 0.1
    parts = [step(part, 3).rand_like(torch.empty(2, 2)) for part in range(3)]
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(step(0, 3).randn(2, 5), step(2, 3).randn(2, 5))
