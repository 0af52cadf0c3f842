"""`zoo bench`: failures are rows, and the table fits the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tests.compare.sleepy_models import subject
from tests.report.synthetic_results import ENVIRONMENT
from zoo.base.records import Cost, Memory, Throughput
from zoo.base.untrusted_files import read_json
from zoo.cli.bench import bench_table
from zoo.compare.costs import Bench, BenchRow
from zoo.report.costs import TIMINGS

pytestmark = pytest.mark.usefixtures("sleepy_models")

QUICK = ("--preset", "quick", "--size", "32x32", "--latent", "4", "--device", "cpu")


def test_bench_keeps_failures_as_rows(zoo: Callable, workspace: Path) -> None:
    said = zoo("bench", "--models", "sleepy,quits,forgetful", *QUICK)
    assert said.code == 0, said.err
    kept = workspace / "results" / "bench.json"
    json.loads(kept.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    found = read_json(kept, Bench)
    assert [row.subject.model for row in found.rows] == ["sleepy", "quits", "forgetful"]
    assert [row.failure for row in found.rows] == [
        None,
        "SystemExit: I have had enough",
        None,
    ]
    assert found.command is not None and found.command.startswith("zoo bench --models")
    assert found.environment.threads == 1
    shown = " ".join(said.out.split())
    assert "quits failed" in shown
    assert "SystemExit: I have had enough" in shown
    assert "ArithmeticError: not | enough of it" in shown
    assert "1 thread" in shown and "8 in a batch" in shown and "32-true" in shown
    assert str(kept) in said.out.replace("\n", "")


def test_bench_fails_only_where_every_model_does(zoo: Callable, workspace: Path) -> None:
    said = zoo("bench", "--models", "quits", *QUICK)
    assert said.code == 1
    assert "I have had enough" in said.out
    assert read_json(workspace / "results" / "bench.json", Bench).rows[0].failure


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--sort", "size"), "--sort must be name or speed; not 'size'"),
        (("--models", "sleepyy"), "no model is called 'sleepyy' (did you mean 'sleepy'?)"),
        (("--models", "x264"), "x264 is a film codec"),
        (("--batch", "0"), "a batch must have"),
        (("--models", "sleepy", "--set", "depth=3"), "no option 'depth'"),
    ],
)
def test_bad_input_to_bench_is_one_line(
    words: tuple[str, ...], message: str, zoo: Callable, workspace: Path
) -> None:
    said = zoo("bench", *words)
    said.check_refused(message)
    assert not (workspace / "results").exists()


def speed(median: float) -> Throughput:
    return Throughput(
        median=median, lower_quartile=0.95 * median, upper_quartile=1.05 * median, repeats=9
    )


def row(model: str, median: float, joules: float | None) -> BenchRow:
    timings = {name: speed(median) for name in TIMINGS}
    memories = {
        name: Memory(allocated=123_456_789, reserved=200_000_000)
        for name in ("train_memory", "round_trip_memory")
    }
    shares = {"train_share_of_peak": 0.25, "round_trip_share_of_peak": 1.0}
    energies = {"train_joules": joules, "round_trip_joules": joules}
    found = Cost.model_validate({"batch": 8, **timings, **memories, **shares, **energies})
    return BenchRow(subject=subject(model), parameters=12_345_678, cost=found)


@pytest.mark.parametrize("joules", [None, 123.4])
@pytest.mark.parametrize("width", [80, 140, 200])
def test_the_table_fits_and_is_in_the_order_that_was_asked_for(
    width: int, joules: float | None
) -> None:
    rows = [row("[red]zebra", 12_345.6, joules), row("a" * 20, 1.0e6, joules), row("m", 1.0, None)]
    bench = Bench(created="", command=None, environment=ENVIRONMENT, rows=rows)
    for by_speed, order in ((True, "a[m"), (False, "[am")):
        console = Console(width=width, no_color=True)
        with console.capture() as capture:
            console.print(bench_table(bench, by_speed))
        lines = capture.get().splitlines()
        assert max(map(len, lines)) <= width
        assert "…" not in capture.get()
        names = [line[1] for line in lines if line[1:2].strip() and line.count("±") == 4]
        assert "".join(names) == order
        assert ("mJ/frame" in capture.get()) == (joules is not None)
    assert "12,300 ± 5%" in capture.get() and "1.00 M ± 5%" in capture.get()
    with (console := Console(width=40, no_color=True)).capture() as capture:
        console.print(bench_table(bench, True))
    assert "…" not in capture.get() and "12,300 ± 5%" in capture.get()
