"""A model that takes its process down costs its own cell and no other."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compare.conftest import finished, results_of
from zoo.base.records import Results


@pytest.mark.slow
def test_what_strangers_do_to_their_process_costs_one_cell(
    compare: Callable, tmp_path: Path
) -> None:
    models = "crashes,exits,greedy,ae"
    said = finished(
        compare("--films", "carphone", "--models", models, "--set", "width=8", "--budget", "6steps")
    )
    records = {record.model: record for record in results_of(tmp_path / "here").records}
    reasons = {name: records[name].reason for name in models.split(",")}
    reasons["exits"] = re.sub(r", line \d+", "", str(reasons["exits"]))
    assert reasons == {
        "crashes": "its process was killed by SIGSEGV; that is a fault in native code",
        "exits": "SystemExit: I have had enough (odd_models.py)",
        "greedy": "greedy: memory ran out with a batch of 8; not even one frame would fit",
        "ae": None,
    }, said
    assert records["ae"].cost is not None and records["ae"].cost.train is not None
    assert all(records[name].status == "ok" for name in ("ae", "pca", "mean", "x264"))
    report = (tmp_path / "here" / "results" / "report.md").read_text()
    assert "killed by SIGSEGV" in report


@pytest.mark.slow
def test_several_processes_give_what_one_gives(compare: Callable, tmp_path: Path) -> None:
    words = ("--films", "carphone,bigbuckbunny", "--models", "ae", "--set", "width=8,12")
    words = (*words, "--budget", "6steps")
    finished(compare(*words, folder="one"))
    finished(compare(*words, "--max-parallel", "2", folder="two"))
    one, two = (results_of(tmp_path / name) for name in ("one", "two"))
    assert measured(one) == measured(two)


def measured(results: Results) -> list[object]:
    """The records without what depends on the clock and the place.

    Of codecs only how they ended: x264 and x265 give other bytes from run to run at some sizes.
    """
    elsewhere = {"cost", "training", "environment", "video"}
    return [
        (record.model, record.evaluated_on, record.status)
        if record.kind == "codec"
        else record.model_dump(exclude=elsewhere)
        for record in results.records
    ]
