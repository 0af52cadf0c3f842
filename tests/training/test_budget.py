from __future__ import annotations

import pytest

from zoo.base.errors import BadInput
from zoo.base.presets_and_budgets import PRESETS, Budget, Preset
from zoo.training.settings import Settings


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("6epochs", 75),
        ("1epoch", 13),
        ("0.5epochs", 7),
        ("2000steps", 2000),
        ("9000frames", 1125),
        ("9 frames", 2),
        ("90s", None),
        ("6epochs-min20000steps", 20_000),
        ("6epochs-min60steps", 75),
        ("0.5 epochs-min 1 step", 7),
    ],
)
def test_budgets_in_steps_of_eight_over_a_hundred_frames(text: str, steps: int | None) -> None:
    assert Budget.parse(text).steps(frames_in_epoch=100, batch=8) == steps


@pytest.mark.parametrize(
    "text",
    [
        *("", "6", "epochs", "-3steps", "0steps", "1.5steps", "6 parsecs", "nan s", "1e9s"),
        *("6epochs-min", "6epochs-min0steps", "6epochs-min9epochs", "6epochs,min9steps"),
        *("90s-min100steps", "9000frames-min100steps", "10steps-min100steps"),
    ],
)
def test_other_budgets_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="a budget"):
        Budget.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        *("6epochs", "0.5epochs", "2000steps", "90s", "1.5s", "123456789steps", "0.000001epochs"),
        *("6epochs-min20000steps", "1.25epochs-min7steps"),
    ],
)
def test_a_budget_is_formatted_as_it_is_parsed(text: str) -> None:
    assert str(Budget.parse(text)) == text


def test_a_budget_in_words() -> None:
    assert Budget.parse("6epochs-min20000steps").in_words == "6 epochs, at least 20,000 steps"
    assert Budget.parse("1epoch").in_words == "1 epoch"
    assert Budget.parse("90s").in_words == "90 seconds"


@pytest.mark.parametrize(
    ("text", "seconds"), [("2min", "120s"), ("1h", "3600s"), ("1.5 minutes", "90s")]
)
def test_minutes_and_hours_are_seconds(text: str, seconds: str) -> None:
    assert str(Budget.parse(text)) == seconds


@pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
@pytest.mark.parametrize("frames", [1, 48, 240, 170_000])
def test_every_preset_takes_at_least_500_steps(preset: Preset, frames: int) -> None:
    steps = Budget.parse(preset.budget).steps(frames, preset.batch)
    assert steps is not None
    assert steps >= 500


def test_a_users_budget_replaces_the_presets() -> None:
    chosen = Settings.choose("film", budget="6epochs", device="cpu")
    assert chosen.budget.steps(240, 32) == 45
    assert Settings.choose("film", device="cpu").budget.steps(240, 32) == 20_000
