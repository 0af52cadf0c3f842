"""The table that says whether our own model is the best: whom it leads, and by how much."""

from __future__ import annotations

import pytest

from benchmarks.coded_pca_leads import OURS, Row, leads
from benchmarks.trials import Outcome, Trial


def row(name: str, seen: list[tuple[float, float]], held_out: list[tuple[float, float]]) -> Row:
    """A model's (LPIPS, PSNR) a seed."""

    def scores(pair: tuple[float, float] | None) -> dict[str, float]:
        return dict(zip(("lpips", "psnr"), pair, strict=True)) if pair else {}

    none = [None] * len(seen)
    outcomes = [
        Outcome(Trial(name, "f"), seen=scores(one), held_out=scores(other))
        for one, other in zip(seen, held_out or none, strict=True)
    ]
    return Row(name, outcomes, codec=name == "x264")


OTHERS = [
    row("sharp", [(0.2, 20.0)], [(0.3, 18.0)]),
    row("blurred", [(0.4, 24.0)], [(0.5, 21.0)]),
    row("x264", [(0.1, 26.0)], [(0.1, 26.0)]),
]


def test_the_lead_is_over_the_best_of_the_others_in_each_measure() -> None:
    ours = row(OURS, [(0.15, 25.0)], [(0.25, 20.5)])
    assert leads([*OTHERS, ours]) == [
        "-0.050 (`x264`)",
        "-1.00 (`x264`)",
        # A codec has seen what is held out.
        "+0.050 (`sharp`)",
        "-0.50 (`blurred`)",
    ]


def test_seeds_count_by_their_median() -> None:
    ours = row(OURS, [(0.9, 1.0), (0.05, 27.0), (0.06, 28.0)], [(0.2, 22.0)] * 3)
    assert leads([*OTHERS, ours])[:2] == ["+0.040 (`x264`)", "+1.00 (`x264`)"]
    assert ours.cells()[2] == "0.060 (0.050 to 0.900)"


def test_where_nothing_is_held_out_nobody_leads() -> None:
    rows = [row(name, [(0.2, 20.0)], []) for name in (OURS, "sharp")]
    assert leads(rows) == ["+0.000 (`sharp`)", "+0.00 (`sharp`)", "–", "–"]
    assert rows[0].cells()[4:6] == ["–", "–"]


def test_what_a_codec_had_seen_stands_in_brackets() -> None:
    cells = OTHERS[2].cells()
    assert cells[2:6] == ["0.100", "26.00", "(0.100)", "(26.00)"] and cells[-1] == "–"
    assert OTHERS[0].cells()[4] == "0.300"


def test_the_middle_of_nothing_sorts_last() -> None:
    assert row("a", [(0.2, 20.0)], []).middle("held_out", "lpips") == pytest.approx(float("inf"))
