from __future__ import annotations

import pytest

from zoo.errors import BadInput
from zoo.training.budget import Budget


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
    ],
)
def test_budgets_in_steps_of_eight_over_a_hundred_frames(text: str, steps: int | None) -> None:
    assert Budget.parse(text).steps(frames_in_epoch=100, batch=8) == steps


@pytest.mark.parametrize(
    "text", ["", "6", "epochs", "-3steps", "0steps", "1.5steps", "6 parsecs", "nan s", "1e9s"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="a budget"):
        Budget.parse(text)


@pytest.mark.parametrize("text", ["6epochs", "0.5epochs", "2000steps", "90s", "1.5s"])
def test_a_budget_is_written_as_it_is_read(text: str) -> None:
    assert str(Budget.parse(text)) == text
