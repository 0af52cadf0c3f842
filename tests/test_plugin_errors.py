"""What is wrong with a plugin's model is said in one line that names it and what it should be."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo as zoo_
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.conformance.suite import examine, with_unknown_together
from zoo.plugins.contribution_checks import Refused, check_contract
from zoo.plugins.model_building import build
from zoo.training.optimizers import Players

SIZE = FrameSize(64, 36)


class Sound(zoo_.Autoencoder):
    """A model that keeps the contract; each test spoils one thing of it."""

    name, summary = "sound", "a model for a test"

    def __init__(self, size: FrameSize, options: zoo_.Options) -> None:
        super().__init__(size, options)
        self.down = torch.nn.Linear(3 * size.pixels, options.latent)
        self.up = torch.nn.Linear(options.latent, 3 * size.pixels)

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        return self.down(frames.flatten(1))

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        return self.up(latent).sigmoid().unflatten(1, (3, self.size.height, self.size.width))

    def losses(self, batch: zoo_.Batch, step: zoo_.Step) -> zoo_.Losses:
        error = (self.decode(self.encode(batch.frames)) - batch.frames).square().mean()
        return {"autoencoder": zoo_.Loss({"pixel": error})}

    def optimizer(self, player: str) -> zoo_.Optimizer:
        return zoo_.Optimizer(lr=0.01)


def spoilt(**members: Any) -> type[Sound]:
    return type("Spoilt", (Sound,), {"name": "spoilt", **members})


def no_super(self: Any, size: FrameSize, options: Any) -> None:
    self.down = torch.nn.Linear(1, 1)


def nothing(self: Any, size: FrameSize, options: Any) -> None:
    """Calls no constructor and has no modules."""


def bare_super(self: Any, size: FrameSize, options: Any) -> None:
    torch.nn.Module.__init__(self)


def too_few(self: Any, size: FrameSize) -> None: ...


def refuses(self: Any, size: FrameSize, options: Any) -> None:
    raise ValueError("sides must be\nmultiples of 16")


def invalid(self: Any, size: FrameSize, options: Any) -> None:
    zoo_.Options(latent=-1)


def refuses_in_words(self: Any, size: FrameSize, options: Any) -> None:
    raise zoo_.BadInput("a line of its own")


BEGIN = "it must begin with super().__init__(size, options)"


@pytest.mark.parametrize(
    ("constructor", "reason"),
    [
        (no_super, f"spoilt: __init__ sets modules too early; {BEGIN}"),
        (nothing, f"spoilt: __init__ does not call its base's; {BEGIN}"),
        (bare_super, f"spoilt: __init__ does not call its base's; {BEGIN}"),
        (too_few, "spoilt: __init__ must take the size and the options: too many positional"),
        (refuses, "spoilt refuses 64x36 with Options(latent=6): sides must be multiples of 16"),
        (invalid, "spoilt refuses 64x36 with Options(latent=6): 1 validation error for Options"),
        (refuses_in_words, "a line of its own"),
    ],
)
def test_a_constructor_that_fails_is_bad_input(constructor: Any, reason: str) -> None:
    with pytest.raises(BadInput, match=re.escape(reason)) as error:
        build(spoilt(__init__=constructor), SIZE, {"latent": 6})
    assert "\n" not in str(error.value)


def test_what_is_no_refusal_keeps_its_kind() -> None:
    def wrong(self: Any, size: FrameSize, options: Any) -> None:
        super(Sound, self).__init__(size, options)
        _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        build(spoilt(__init__=wrong), SIZE, {"latent": 6})


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        (torch.zeros(()), "spoilt: losses gave a Tensor; it must give a zoo.Loss for each player"),
        (
            {"autoencoder": torch.zeros(())},
            "the loss of 'autoencoder' is a Tensor; it must be a zoo",
        ),
        ({"autoencoder": zoo_.Loss({"x": 3})}, "the term autoencoder.x is a int; a term must be"),  # type: ignore[dict-item]
        (
            {"autoencoder": zoo_.Loss({"x": torch.zeros(4)})},
            "the term autoencoder.x has the shape (4,)",
        ),
        ({"other": zoo_.Loss({})}, "losses are for other; the players are autoencoder"),
    ],
)
def test_losses_of_the_wrong_form_are_named(losses: Any, reason: str) -> None:
    players = Players(build(spoilt(), SIZE, {"latent": 6}))
    with pytest.raises(ValueError, match=re.escape(reason)):
        players.check(losses)


def test_a_torch_optimiser_is_refused_with_what_is_due() -> None:
    def own(self: Sound, player: str) -> Any:
        return torch.optim.SGD(self.parameters(), lr=1.0)

    with pytest.raises(
        ValueError, match=r"spoilt: optimizer\('autoencoder'\) gave a SGD; it must give"
    ):
        Players(build(spoilt(optimizer=own), SIZE, {"latent": 6}))


@pytest.mark.parametrize("kind", [zoo_.Optimizer, zoo_.Group, zoo_.LatentSpec, zoo_.FilmEntry])
def test_an_unknown_keyword_lists_the_fields(kind: Any) -> None:
    fields = ", ".join(kind.__dataclass_fields__)
    with pytest.raises(
        TypeError, match=rf"zoo.{kind.__name__} has no 'schedule'; it has: {fields}"
    ):
        kind(schedule="cosine")


def wrong_shape(self: Sound, latent: torch.Tensor) -> torch.Tensor:
    return Sound.decode(self, latent)[..., 1:]


def a_tensor(self: Sound, batch: zoo_.Batch, step: zoo_.Step) -> Any:
    return self.decode(self.encode(batch.frames)).mean()


@pytest.mark.parametrize(
    ("members", "first"),
    [
        ({"decode": wrong_shape}, "shapes and range"),
        ({"__init__": no_super}, "shapes and range"),
        ({"losses": a_tensor}, "players cover the model"),
    ],
    ids=["shape", "constructor", "losses"],
)
def test_one_fault_of_a_model_is_one_line(
    members: dict[str, Any], first: str, capfd: pytest.CaptureFixture[str]
) -> None:
    findings = with_unknown_together(examine(spoilt(**members)))
    reported = [str(finding) for finding in findings]
    [broken] = [line for line in reported if line.startswith("broken")]
    assert broken.startswith(f"broken  {first}: ")
    waiting = [line for line in reported if line.startswith("unknown")]
    assert any(line.endswith(f"before {first!r} is kept") for line in waiting)
    assert capfd.readouterr() == ("", "")


OLD_LOSSES = "class M(zoo.Autoencoder):\n    def losses(self, frames, step): ..."
OLD_FIT = "class M(zoo.Autoencoder):\n    def encode(self, x): ...\n    def fit(self, film): ..."
NEW = "class M(zoo.Autoencoder):\n    def losses(self, batch, step): ..."
HELPER = "class Helper:\n    def fit(self, film): ..."


@pytest.mark.parametrize(
    "source", ["zoo_contract = 1", OLD_LOSSES, OLD_FIT, OLD_FIT.replace("fit", "prepare")]
)
def test_a_plugin_of_contract_1_is_told_what_to_change(source: str) -> None:
    with pytest.raises(
        Refused, match=r"written for contract 1: losses\(frames, step\) is now"
    ) as e:
        check_contract(source, "old.py")
    assert "docs/plugins.md, 'From contract 1'" in str(e.value)
    docs = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert "\n## From contract 1\n" in docs


@pytest.mark.parametrize("source", ["", NEW, HELPER, f"zoo_contract = 2\n{OLD_LOSSES}"])
def test_what_is_not_of_contract_1_loads(source: str) -> None:
    check_contract(source, "new.py")


def test_a_plugin_of_contract_1_is_listed_in_one_row(zoo: Callable, workspace: Path) -> None:
    (workspace / "old.py").write_text(f"import zoo\n{OLD_LOSSES}")
    said = zoo("models", "check", "old.py")
    assert said.code == 2
    assert said.err.startswith("zoo: old.py: written for contract 1: losses(frames, step) is now")
