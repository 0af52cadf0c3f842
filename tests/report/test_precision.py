"""The precision of a training is a property of models: it makes no other machine of a reference."""

from __future__ import annotations

from tests.report.synthetic_results import record
from zoo.base.records import Results
from zoo.report.aggregate import machines, result_rows
from zoo.report.costs import cost_table, timing_protocol
from zoo.report.protocol import environments_table
from zoo.report.rate_distortion import curves


def _trained_in_bf16(results: Results) -> Results:
    for one in results.records:
        if one.role == "model":
            one.environment = one.environment.model_copy(update={"precision": "bf16-mixed"})
    return results


def test_references_and_models_share_a_machine(results: Results) -> None:
    costs = cost_table(_trained_in_bf16(results))
    assert costs is not None
    assert set(machines(results).values()) == {"A"}
    assert ("on",) not in costs.columns
    assert "sharp" in {row.name for row in result_rows(results, "alpha")}
    _, _, *rows = environments_table(results).splitlines()
    assert len(rows) == 1
    assert "| bf16-mixed |" in rows[0] and "32-true" not in rows[0]
    assert "2 threads, contiguous, training at bf16-mixed, encoding" in timing_protocol(results)[0]


def test_models_of_two_precisions_are_two_rows_of_one_machine(results: Results) -> None:
    _trained_in_bf16(results).records.append(record("sharp", "alpha"))
    both = {"sharp in bf16-mixed", "sharp in 32-true"}
    assert {row.name for row in result_rows(results, "alpha") if row.model == "sharp"} == both
    names = {curve.name for curve in curves(results, results.films[0], results.metrics[0])}
    assert names == {*both, "blurry", "evil|[bold] *gan*$x$", "linear", "still"}
    assert set(machines(results).values()) == {"A"}
    assert "training at bf16-mixed or at 32-true, encoding" in timing_protocol(results)[0]


def test_references_without_models_state_no_training(results: Results) -> None:
    results.records = [one for one in results.records if one.role == "reference"]
    assert timing_protocol(results)[0].startswith("Test CPU (cpu), 2 threads, contiguous, encoding")
    assert "32-true" not in environments_table(results)
