"""The command line where output is closed, and tables where a terminal is narrow."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from zoo_plugins.metrics.lpips import Lpips

from tests.report.synthetic_results import comparison
from zoo.base.records import Summary
from zoo.cli import comparison_display, evaluate, match
from zoo.cli.report import summary
from zoo.compare.estimate import Estimate, ModelEstimate
from zoo.matching.scene_search import FilmMatch, SceneMatch


def test_closed_output_is_no_failure(tmp_path: Path) -> None:
    command = f'"{sys.executable}" -m zoo films >&-'
    ended = subprocess.run(
        command, shell=True, cwd=tmp_path, stderr=subprocess.PIPE, text=True, timeout=120
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_number_is_cut_in_a_narrow_terminal(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(summary(comparison()))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert re.search(r"\d\.\d", printed)
    assert not re.search(r"\d…|\d\.…", printed)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_scenes_scores_and_estimates_are_whole(width: int) -> None:
    scene = SceneMatch(3600.04, 3661.48, 30, 1.0, 1.0, 7200.04, 7261.48)
    summary = {"frames": 9, "shots": 9, "mean": 0.123, "sd": 0.1, "lowest": 0.1, "highest": 0.2}
    score = Summary.model_validate({**summary, "interval": (0.101, 0.145)})
    model = ModelEstimate("a_model_of_no_short_name", 12, 4000.0, 950.0, 75.0, 1e10, 1 << 33)
    tables = [
        match._table(FilmMatch("whole", 60, 60, 1.0, 1.0, (scene,) * 2), width < match.FULL_WIDTH),
        evaluate._table([Lpips], {"lpips": {"seen": score, "held_out": score}}),
        comparison_display._table(Estimate(12, 0, [model], 1, 9000.0, 1)),
    ]
    for table in tables:
        console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
        console.print(table)
        printed = console.file.getvalue()  # type: ignore[attr-defined]
        assert re.search(r"\d", printed) and "…" not in printed
        assert max(map(len, printed.splitlines())) <= width


@pytest.mark.parametrize("width", [40, 80, None])
def test_names_are_whole_whatever_the_width(width: int | None) -> None:
    results = comparison()
    long = "a_model_with_a_name_of_forty-four_letters_or_so"
    records = [
        each.model_copy(update={"model": long}) if each.model == "sharp" else each
        for each in results.records
    ]
    file = io.StringIO()
    console = Console(width=width or 1000, file=file, force_terminal=bool(width), color_system=None)
    console.print(summary(results.model_copy(update={"records": records})))
    printed = file.getvalue().partition("\n")[2].partition("beta")[0]
    assert "…" not in printed
    names = "".join(line.split("  ")[0].strip() for line in printed.splitlines())
    assert long in names
    assert (long in printed) == (width is None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compare", "--videos", "-1"), "--videos must be a number of seconds, 0 or more; not -1"),
        (
            ("compare", "--videos", "nan"),
            "--videos must be a number of seconds, 0 or more; not nan",
        ),
        (
            ("compare", "--videos", "inf"),
            "--videos must be a number of seconds, 0 or more; not inf",
        ),
        (
            ("train", "ae", "--threads", "100000"),
            "--threads must be a whole number from 1 to 1,024",
        ),
        (("train", "ae", "--latent", "99999999999"), "latent must be a whole number from 1 to"),
    ],
)
def test_numbers_out_of_bounds_are_refused_before_any_work(
    words: tuple[str, ...], said: str, zoo: Callable, workspace: Path
) -> None:
    option = "--films" if words[0] == "compare" else "--film"
    done = zoo(*words, option, "bikes", "--preset", "quick")
    assert done.code == 2 and said in done.err and done.err.count("\n") == 1
    assert not list(workspace.iterdir())
