"""What a dry run foresees: trials that end in time, and how many cells run beside one another."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from zoo.api.metric import Metric
from zoo.base.workspace import Workspace
from zoo.cli.comparison_display import show_estimate
from zoo.cli.console import Console
from zoo.compare.comparison import Comparison
from zoo.compare.estimate import Estimate, _beside, _clock, estimate
from zoo.compare.executors.inline import Inline
from zoo.compare.executors.processes import Processes, lanes
from zoo.compare.executors.ray import PENDING, _room
from zoo.compare.tasks import ready_judges
from zoo.compare.trial import Line, _through, _time_limit
from zoo.evaluation.metrics import Judges
from zoo.films.catalogue import Catalogue
from zoo.films.ingest import open_film
from zoo.plugins.registry import registry
from zoo.training.jobs import Settings


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
def test_a_machine_has_room_for_what_its_cores_and_gpus_allow(
    node: dict[str, float], cores: int, gpus: float, room: int
) -> None:
    assert _room(node, cores, gpus) == room


def test_tasks_that_are_handed_over_are_not_cells_at_once() -> None:
    minutes = [60.0] * 300
    assert _beside(minutes, _room({"CPU": 2.0}, 1, 0.0)) == 9000
    assert _beside(minutes, PENDING) == 60


@pytest.mark.parametrize(
    ("of_gpus", "beside", "seconds"), [(6, 0, 180), (0, 6, 360), (6, 4, 240), (8, 1, 240)]
)
def test_cells_on_gpus_and_cells_beside_them_share_the_clock(
    of_gpus: int, beside: int, seconds: float
) -> None:
    place = Processes(of=lanes(["0", "1"]))
    lasting = [(True, 60.0)] * of_gpus + [(False, 60.0)] * beside
    assert _clock(lasting, place) == seconds


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


def test_a_trial_counts_what_it_computes_up_to_a_ceiling_of_the_clock() -> None:
    reached = []
    with _time_limit(0.2):
        time.sleep(0.3)  # another process has the processor
        reached.append("waited")
    with _time_limit(0.02):
        time.sleep(60)
        reached.append("the end")
    assert reached == ["waited"]


def test_a_dry_run_of_what_is_there_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Estimate(cells=6, found=6, shares=[], at_once=0, seconds=0.0, tried=0)
    monkeypatch.setattr("zoo.cli.comparison_display.estimate", lambda *_: nothing)
    console = Console(file=io.StringIO())
    show_estimate(console, cast(Any, None), cast(Any, None))
    said = "all 6 cells are there already: nothing would be trained, and the report drawn anew\n"
    assert cast(io.StringIO, console.file).getvalue() == said


class Sleepy(Metric):
    """A metric that takes its time for every frame."""

    name = "sleepy"
    label = "Sleepy"
    source = "this test"
    seconds = 0.006

    def __call__(self, originals: torch.Tensor, reconstructions: torch.Tensor) -> torch.Tensor:
        time.sleep(self.seconds * len(originals))
        return torch.zeros(len(originals))


class Roomy(Inline):
    """A place as a cluster is: it has room for as many cells as there are cores or GPUs."""

    def at_once(self, gpu: bool | None = None) -> int:
        return {None: 3, True: 0, False: 3}[gpu]


@pytest.fixture
def comparison(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Comparison]:
    """A plain autoencoder beside one reference and one codec, on a short film."""
    known = registry()
    monkeypatch.setattr(known, "references", {"mean": known.references["mean"]})
    monkeypatch.setattr(known, "codecs", {"x264": known.codecs["x264"]})
    monkeypatch.setattr(known, "metrics", {"sleepy": Sleepy})
    ready_judges.cache_clear()
    settings = Settings.choose(
        "quick", size="32x32", latent=4, device="cpu", options={"width": "4"}, budget="9000frames"
    )
    entries = Catalogue.open(Workspace(workspace)).choose("carphone")
    films = [open_film(entry, settings.size, Workspace(workspace)) for entry in entries]
    judges = Judges.open(settings.device)
    models = [known.models["ae"]]
    yield Comparison(
        Workspace(workspace), entries, films, models, [settings], judges, "default", 0.1
    )
    ready_judges.cache_clear()


def test_a_dry_run_foresees_training_evaluation_and_costs_of_every_cell(
    comparison: Comparison,
) -> None:
    tried: list[str] = []
    with Inline() as place:
        found = estimate(comparison, place, lambda name, number, count: tried.append(name))
    shares = {share.name: share for share in found.shares}
    assert sorted(shares) == sorted(tried) == ["ae", "mean", "x264"]
    assert (found.cells, found.found, found.tried, found.unknown, found.at_once) == (3, 0, 3, 0, 1)
    frames = len(comparison.films[0])
    for share in shares.values():
        assert share.evaluating > Sleepy.seconds * frames / 2, "metrics see every frame"
        assert share.disk > 0 and share.problem is None
    assert shares["ae"].training > 0 and shares["ae"].costs > 0 and shares["x264"].costs == 0
    parts = (share.training + share.evaluating + share.costs for share in shares.values())
    assert found.seconds == pytest.approx(sum(parts))

    with Roomy() as place:
        beside = estimate(comparison, place, lambda *_: None)
    assert beside.at_once == 3
    longest = max(share.training + share.evaluating for share in beside.shares)
    assert beside.seconds == pytest.approx(longest + sum(share.costs for share in beside.shares))


def test_what_one_excerpt_took_is_for_its_frames_or_for_any_number() -> None:
    assert _through({}) is None
    assert _through({32: 1.6}) == Line(0.0, 0.05)
    assert _through({32: 1.6}, alike=True) == Line(1.6, 0.0)
    assert _through({32: 2.0, 128: 5.0}, alike=True) == Line(1.0, 3 / 96)
