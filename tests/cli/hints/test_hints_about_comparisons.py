"""Hints of commands for comparisons: provoked, cut out of what is printed, and run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.hints.conftest import CPU, Shell

hint = pytest.mark.hint
REFERENCE = ("--preset", "quick", "--size", "32x32", "--latent", "4", *CPU, "--on", "inline")
CODED = (*REFERENCE, "--metrics", "psnr", "--videos", "0")
GOLDEN = Path(__file__).parents[2] / "golden" / "0.1.0"


def scored(place: Path) -> list[str]:
    """The models and codecs in the results."""
    records = json.loads((place / "results/results.json").read_text())["records"]
    return [record["model"] for record in records if record["status"] == "ok"]


@hint("zoo/plugins/registry.py", "not a model: `zoo compare --films all --models {}` runs it")
@hint("zoo/plugins/registry.py", "`zoo plugins check {}` examines it")
@hint("zoo/cli/evaluate.py", "is a film codec: `zoo compare --films all --models {}`")
@hint("zoo/cli/evaluate.py", "is a run of a film codec: `zoo compare --films all --models {}`")
@pytest.mark.slow
def test_a_codec_is_no_model(shell: Shell, place: Path) -> None:
    shell("train", "x264", "--film", "first", code=2)
    shell.follow("not a model: `zoo compare --films all --models {}` runs it", *CODED)
    assert "x264" in scored(place)
    assert "gives every frame back" in shell.follow("`zoo plugins check {}` examines it").out
    shell("evaluate", "x264", code=2)
    shutil.rmtree(place / "results")
    shell.follow("is a film codec: `zoo compare --films all --models {}`", *CODED)
    assert "x264" in scored(place)
    shutil.rmtree(place / "results")
    (run,) = place.glob("runs/first/x264/*")
    shell("evaluate", run.name, code=2)
    shell.follow("is a run of a film codec: `zoo compare --films all --models {}`", *CODED)
    assert "x264" in scored(place)


@pytest.mark.slow
def test_a_plan_says_how_it_is_run(shell: Shell, place: Path) -> None:
    words = ("--films", "first", "--models", "mean", "--no-codecs", *CODED)
    shell("compare", *words, "--save-plan", "my plan.toml", "--dry-run")
    shell.printed = (place / "my plan.toml").read_text()
    assert not list(place.glob("results/*"))
    shell.follow("`zoo compare {}` runs it")
    assert "mean" in scored(place)


@hint("zoo/report/results_folder.py", "holds no results: `zoo compare` writes them")
@pytest.mark.slow
def test_no_results(shell: Shell, place: Path) -> None:
    shell("report", code=2)
    shell.follow(
        "holds no results: `zoo compare` writes them",
        *("--films", "first", "--models", "mean", "--no-codecs", *CODED),
    )
    assert "mean" in scored(place)
    shell("report")


@hint("zoo/report/protocol.py", "break on purpose; `zoo models check` does")
@pytest.mark.slow
def test_records_that_say_nothing_of_waivers(shell: Shell, place: Path) -> None:
    shutil.copytree(GOLDEN / "results", place / "results")
    results = json.loads((place / "results/results.json").read_text())
    for record in results["records"]:
        record |= {"unequal_terms": [], "waivers": None}
    (place / "results/results.json").write_text(json.dumps(results))
    shell("report")
    shell.printed = " ".join((place / "results/report.md").read_text().replace("\\`", "`").split())
    shell.follow("break on purpose; `zoo models check` does", "mean")
