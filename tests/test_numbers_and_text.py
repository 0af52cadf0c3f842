"""Numbers and untrusted text as they are printed."""

from __future__ import annotations

import pytest

from zoo.base import numbers
from zoo.base.markdown import code_block, escape
from zoo.base.safe_text import one_line, safe_file_names


@pytest.mark.parametrize(
    ("value", "shown"),
    [(312.345, "312"), (1234.5, "1,230"), (0.012345, "0.0123"), (999.9, "1,000"), (0, "0"),
     (9.999, "10.0"), (None, "n/a")],
)  # fmt: skip
def test_significant_digits(value: float | None, shown: str) -> None:
    assert numbers.significant(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(945, "945"), (1_234_567, "1.23 M"), (999_999, "1.00 M"), (15_552, "15.6 k"), (14.26, "14.3")],
)
def test_scaled_counts(value: float, shown: str) -> None:
    assert numbers.scaled(value) == shown


def test_fixed_digits_and_signs() -> None:
    assert numbers.fixed(-0.0004, 3) == "0.000"
    assert numbers.signed(-0.0126, 3) == "−0.013"
    assert numbers.signed(0.0001, 3) == "0.000"
    assert numbers.duration(59.96) == "1 min 0 s"
    assert numbers.duration(6725) == "1 h 52 min"


def test_untrusted_text_is_put_on_one_line() -> None:
    assert one_line("a\r\n\tb\x1b[31mred\x1b[0m\u202egpj\u2066") == "a b red gpj"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"
    assert escape("mean_frame _it_ 1*2") == "mean_frame \\_it\\_ 1\\*2"
    assert code_block("a ``` b") == "````\na ``` b\n````"


def test_file_names_are_distinct_without_regard_to_case() -> None:
    given = safe_file_names(["Film", "film", "a/b", "", "плёнка"])
    assert given["Film"] == "Film"
    assert len({name.lower() for name in given.values()}) == 5
    assert all(name and name.isascii() and "/" not in name for name in given.values())


@pytest.mark.parametrize(
    ("spread", "digits", "shown"),
    [(0.01, 3, "0.010"), (0.0004, 3, "0.0004"), (0.4, 0, "0.4"), (0, 3, "0"), (12.3, 0, "12")],
)
def test_a_nonzero_spread_never_prints_as_zero(spread: float, digits: int, shown: str) -> None:
    assert numbers.spread(spread, digits) == shown
