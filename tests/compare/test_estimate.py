"""Estimates of a dry run: trials that end in time, and how many cells run in parallel."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from zoo.api.metric import Metric
from zoo.base.workspace import Workspace
from zoo.cli.comparison_display import show_estimate
from zoo.cli.console import Console
from zoo.compare.cells import sweep_settings
from zoo.compare.comparison import Comparison
from zoo.compare.estimate import TRIAL_SECONDS, Estimate, _makespan, _wall_clock, estimate
from zoo.compare.executors import InlineExecutor, ProcessExecutor, device_slots
from zoo.compare.ray_executor import MOST_PENDING, _tasks_that_fit
from zoo.compare.tasks import load_metrics
from zoo.compare.timing_trial import LinearCost, _fit_line, _time_limit
from zoo.evaluation.metrics import MetricSet
from zoo.films.catalogue import Catalogue
from zoo.films.ingest import open_film
from zoo.plugins.registry import registry
from zoo.training.settings import Settings


@pytest.mark.parametrize(
    ("node", "cores", "gpus", "room"),
    [
        ({"CPU": 2.0}, 1, 0.0, 2),
        ({"CPU": 2.0}, 4, 0.0, 0),
        ({"CPU": 16.0, "GPU": 1.0}, 1, 0.1, 10),
        ({"CPU": 16.0, "GPU": 4.0}, 8, 1.0, 2),
        ({"CPU": 16.0}, 1, 1.0, 0),
        ({}, 1, 0.0, 0),
    ],
)
def test_tasks_fit_on_a_machine_by_its_cores_and_gpus(
    node: dict[str, float], cores: int, gpus: float, room: int
) -> None:
    assert _tasks_that_fit(node, cores, gpus) == room


def test_submitted_tasks_are_not_parallel_cells() -> None:
    minutes = [60.0] * 300
    assert _makespan(minutes, _tasks_that_fit({"CPU": 2.0}, 1, 0.0)) == 9000
    assert _makespan(minutes, MOST_PENDING) == 60


@pytest.mark.parametrize(
    ("of_gpus", "beside", "seconds"), [(6, 0, 180), (0, 6, 360), (6, 4, 240), (8, 1, 240)]
)
def test_cells_on_gpus_and_on_the_cpu_run_in_parallel(
    of_gpus: int, beside: int, seconds: float
) -> None:
    executor = ProcessExecutor(slots=device_slots(["0", "1"]))
    durations = [(True, 60.0)] * of_gpus + [(False, 60.0)] * beside
    assert _wall_clock(durations, executor) == seconds


def test_a_trial_ends_when_its_time_is_up_whatever_handles_errors() -> None:
    began, reached = time.monotonic(), []
    with _time_limit(0.05):
        try:
            while time.monotonic() - began < 60:
                pass
            reached.append("the end")
        except Exception:
            reached.append("an error")
    assert reached == []
    with _time_limit(60):
        reached.append("in time")
    assert reached == ["in time"]


def test_an_alarm_is_set_again_or_ends_the_trial_and_never_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alarms: list[float] = []
    monkeypatch.setattr("signal.setitimer", lambda _, seconds: alarms.append(seconds))
    # At the alarm there is a little left, and a moment later nothing: if it ended the trial now,
    # the next alarm would go off in whatever handles that.
    clock = iter([0.0, 0.0, 1 - 1e-6, 1 + 1e-6])
    monkeypatch.setattr("time.thread_time", lambda: next(clock))
    reached = []
    with _time_limit(1.0):
        os.kill(os.getpid(), signal.SIGALRM)
        reached.append("what the next alarm ends")
    assert reached and alarms == pytest.approx([1.0, 1e-6, 0.0])


def test_a_trial_is_limited_by_cpu_time_and_by_the_clock() -> None:
    reached = []
    with _time_limit(0.2):
        time.sleep(0.3)  # another process has the processor
        reached.append("waited")
    with _time_limit(0.02):
        time.sleep(60)
        reached.append("the end")
    assert reached == ["waited"]


def test_a_dry_run_of_what_is_there_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Estimate(cells=6, found=6, models=[], parallelism=0, seconds=0.0, tried=0)
    monkeypatch.setattr("zoo.cli.comparison_display.estimate", lambda *_: nothing)
    console = Console(file=io.StringIO())
    show_estimate(console, cast("Any", None), cast("Any", None))
    said = "all 6 cells are there already: nothing would be trained, and the report written again\n"
    assert cast("io.StringIO", console.file).getvalue() == said


class Sleepy(Metric):
    """A metric that takes its time for every frame."""

    name = "sleepy"
    label = "Sleepy"
    source = "this test"
    seconds = 0.006

    def __call__(self, originals: torch.Tensor, reconstructions: torch.Tensor) -> torch.Tensor:
        time.sleep(self.seconds * len(originals))
        return torch.zeros(len(originals))


class Roomy(InlineExecutor):
    """An executor as a cluster is: it has room for as many cells as there are cores or GPUs."""

    def parallelism(self, gpu: bool | None = None) -> int:
        return {None: 3, True: 0, False: 3}[gpu]


@pytest.fixture
def comparison(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Comparison]:
    """A plain autoencoder beside one reference and one codec, on a short film."""
    known = registry()
    monkeypatch.setattr(known, "references", {"mean": known.references["mean"]})
    monkeypatch.setattr(known, "codecs", {"x264": known.codecs["x264"]})
    monkeypatch.setattr(known, "metrics", {"sleepy": Sleepy})
    load_metrics.cache_clear()
    settings = Settings.choose(
        "quick", size="32x32", latent=4, device="cpu", options={"width": "4"}, budget="9000frames"
    )
    entries = Catalogue.open(Workspace(workspace)).choose("carphone")
    films = [open_film(entry, settings.size, Workspace(workspace)) for entry in entries]
    metric_set = MetricSet.load(settings.device)
    models = [known.models["ae"]]
    yield Comparison(
        Workspace(workspace), entries, films, models, [settings], metric_set, "default", 0.1
    )
    load_metrics.cache_clear()


@pytest.mark.slow
def test_a_dry_run_estimates_training_evaluation_and_costs_of_every_cell(
    comparison: Comparison,
) -> None:
    tried: list[str] = []
    with InlineExecutor() as executor:
        found = estimate(comparison, executor, lambda name, *_: tried.append(name))
    models = {model.name: model for model in found.models}
    assert sorted(models) == sorted(tried) == ["ae", "mean", "x264"]
    assert (found.cells, found.found, found.tried, found.unknown, found.parallelism) == (
        3,
        0,
        3,
        0,
        1,
    )
    frames = len(comparison.films[0])
    for model in models.values():
        assert model.evaluating > Sleepy.seconds * frames / 2, "metrics see every frame"
        assert model.disk > 0 and model.problem is None
    assert models["ae"].training > 0 and models["ae"].costs > 0 and models["x264"].costs == 0
    parts = (model.training + model.evaluating + model.costs for model in models.values())
    assert found.seconds == pytest.approx(sum(parts))

    with Roomy() as executor:
        beside = estimate(comparison, executor, lambda *_: None)
    assert beside.parallelism == 3
    longest = max(model.training + model.evaluating for model in beside.models)
    assert beside.seconds == pytest.approx(longest + sum(model.costs for model in beside.models))


@pytest.mark.slow
def test_a_plan_of_many_settings_is_named_and_guessed_within_the_time(
    comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = sweep_settings(comparison.sweep[0], "4,6", 2, {"width": ["4", "8", "12"]})
    comparison = replace(comparison, sweep=sweep)
    clock = iter(range(0, 10**7, 1000))  # a machine so busy that every look is much later
    monkeypatch.setattr("zoo.compare.estimate.time", SimpleNamespace(monotonic=lambda: next(clock)))
    asked: list[tuple[str, float]] = []
    with InlineExecutor() as executor:
        found = estimate(
            comparison, executor, lambda name, number, count, seconds: asked.append((name, seconds))
        )
    names = [model.name for model in found.models if model.name.startswith("ae")]
    assert names == [f"ae, latent {n}, width {w}" for n in (4, 6) for w in (4, 8, 12)]
    # Each model at one setting; the others are taken to be like it.
    assert len(asked) == found.tried == 3 and {seconds for _, seconds in asked} == {TRIAL_SECONDS}
    assert sum(bool(model.guessed) for model in found.models) >= len(found.models) - 3


def test_the_cost_of_one_excerpt_is_per_frame_or_fixed() -> None:
    assert _fit_line({}) is None
    assert _fit_line({32: 1.6}) == LinearCost(0.0, 0.05)
    assert _fit_line({32: 1.6}, fixed=True) == LinearCost(1.6, 0.0)
    assert _fit_line({32: 2.0, 128: 5.0}, fixed=True) == LinearCost(1.0, 3 / 96)
