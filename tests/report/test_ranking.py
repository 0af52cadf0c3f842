"""Which row is better: spreads over seeds, ties, ratios, and the metric that gives the order."""

from __future__ import annotations

import numpy as np
import pytest

from tests.report.synthetic_results import METRICS, record
from tests.report.synthetic_results import summary as summary_of
from zoo.base.records import Results
from zoo.report.aggregate import ResultRow, Value
from zoo.report.ranking import Ranking, best_rows, ranking
from zoo.report.score_tables import across_films_table, film_table, other_metrics_table


def test_the_best_ratio_is_nearest_to_one(results: Results) -> None:
    sharpness = next(metric for metric in results.metrics if metric.name == "sharpness")
    rank = Ranking(sharpness, "held_out")
    assert rank.key(0.5) == pytest.approx(rank.key(2.0))
    assert rank.beats(Value(0.9, None, 1), Value(1.25, None, 1))
    assert not rank.beats(Value(0.9, 0.2, 1, 3), Value(1.25, 0.2, 1, 3))
    more = other_metrics_table(results, results.films[0])
    assert more is not None and more.columns[3] == ("sharpness", "held out → 1")
    assert [row.name for row in more.rows if row.cells[2].best] == ["linear (reference)"]


def test_without_lpips_the_first_metric_of_the_main_tables_gives_the_order(
    results: Results,
) -> None:
    results.metrics[-1].unavailable = "no weights"
    # One that is not in the main tables is no order for them, even if it was named first.
    results.metrics.sort(key=lambda metric: metric.name != "sharpness")
    for one in results.records:
        one.scores.pop("lpips", None)
    found = ranking(results)
    assert found is not None
    assert (found.metric.name, found.part) == ("psnr", "held_out")
    assert [row.name for row in across_films_table(results).rows][:2] == ["blurry", "sharp"]


def test_without_held_out_frames_the_seen_ones_give_the_order(results: Results) -> None:
    for film in results.films:
        film.held_out_frames, film.held_out = 0, []
    for one in results.records:
        for parts in one.scores.values():
            parts.pop("held_out", None)
    found = ranking(results)
    assert found is not None
    assert found.part == "seen"
    table = film_table(results, results.films[0])
    assert table.rows[0].cells[4].text == "n/a"
    assert any("No frames were held out of alpha" in note for note in table.notes)


def rows_of(numbers: dict[str, list[float]]) -> list[ResultRow]:
    """A row a name, with LPIPS on held-out frames of one film from so many seeds."""
    found = []
    for name, values in numbers.items():
        records = []
        for seed, value in enumerate(values):
            one = record("linear" if name.startswith("ref") else "sharp", "alpha", seed=seed)
            one.scores = {"lpips": {"held_out": summary_of(value)}}
            records.append(one)
        role = "reference" if name.startswith("ref") else "model"
        found.append(ResultRow(name, name, role, "A", tuple(records), ()))
    return found


LPIPS = next(metric for metric in METRICS if metric.name == "lpips")


BY_LPIPS = Ranking(LPIPS, "held_out")


def test_a_row_is_not_bold_because_of_a_wide_spread() -> None:
    steady = {"ref": [0.030], "steady": [0.040, 0.041, 0.042], "other": [0.060, 0.061, 0.062]}
    wild = {"wild": [0.020, 0.050, 0.080]}
    assert best_rows(rows_of(steady), BY_LPIPS) == {"ref"}
    # Beside a row that scatters the spread is unknown for all, and nothing is bold behind another.
    bold = best_rows(rows_of(steady | wild), BY_LPIPS)
    assert "wild" not in bold or "steady" in bold


def test_two_seeds_are_no_spread() -> None:
    [one, other] = [BY_LPIPS.value(row) for row in rows_of({"a": [0.1, 0.1], "b": [0.2, 0.3]})]
    assert one is not None and other is not None
    assert (one.spread, one.seeds, other.spread, other.seeds) == (None, 2, None, 2)
    assert not one.spread_known and BY_LPIPS.beats(one, other)


def test_values_that_print_the_same_are_level() -> None:
    [one, other] = [BY_LPIPS.value(row) for row in rows_of({"a": [0.10001], "b": [0.10002]})]
    assert one is not None and other is not None
    assert not BY_LPIPS.beats(one, other)
    assert best_rows(rows_of({"a": [0.10001], "b": [0.10002], "c": [0.3]}), BY_LPIPS) == {"a", "b"}


@pytest.mark.parametrize("seeds", [3, 5])
def test_equal_models_seldom_win(seeds: int) -> None:
    random = np.random.default_rng(seeds)
    draws, wins, bold = 1000, 0, 0
    for _ in range(draws):
        values = 0.5 + 0.1 * random.standard_normal((2, seeds))
        names = {"a": values[0].tolist(), "b": values[1].tolist()}
        rows = [ResultRow(n, n, "model", "A", (), ()) for n in names]
        numbers_of = {
            name: Value(np.mean(v), np.std(v, ddof=1), 1, seeds) for name, v in names.items()
        }
        one, other = numbers_of["a"], numbers_of["b"]
        wins += BY_LPIPS.beats(one, other) or BY_LPIPS.beats(other, one)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Ranking, "value", lambda _, row: numbers_of[row.name])  # noqa: B023
            bold += len(best_rows(rows, BY_LPIPS)) == 1
    # A test at 95% is wrong in 5%, and 1,000 draws are within 1.4% of that.
    assert wins / draws < 0.065
    assert bold / draws < 0.065


def test_ratios_have_geometric_means_over_seeds_and_films() -> None:
    sharpness = next(metric for metric in METRICS if metric.name == "sharpness")
    records = []
    for film, seed, value in (("alpha", 0, 0.5), ("alpha", 1, 2.0), ("beta", 0, 4.0)):
        one = record("sharp", film, seed=seed)
        one.scores = {"sharpness": {"held_out": summary_of(value)}}
        records.append(one)
    row = ResultRow("sharp", "sharp", "model", "A", tuple(records), ())
    found = Ranking(sharpness, "held_out").value(row)
    assert found is not None and found.mean == pytest.approx(2.0), "of 1 and 4"
    [alpha] = [Ranking(sharpness, "held_out").value(row.on("alpha"))]
    assert alpha is not None and alpha.mean == pytest.approx(1.0)
