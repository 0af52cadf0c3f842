"""A metric whose source changed is measured again, alone; nothing is trained for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.plugin_sources import METRIC
from zoo.api.metric import Metric
from zoo.base.records import Record
from zoo.base.workspace import Workspace
from zoo.compare.cells import Cell
from zoo.compare.comparison import CompareProgress, Comparison
from zoo.compare.estimate import _model_estimate
from zoo.compare.executors import InlineExecutor
from zoo.compare.tasks import load_metrics
from zoo.compare.timing_trial import LinearCost, TrialResult
from zoo.evaluation.metrics import MetricSet
from zoo.films.catalogue import Catalogue
from zoo.films.ingest import open_film
from zoo.plugins.registry import registry
from zoo.training.settings import Settings


class Author:
    """Writes a metric into a file, compares, and counts what every metric was called for."""

    def __init__(self, workspace: Path, patch: pytest.MonkeyPatch) -> None:
        self.workspace, self._patch = workspace, patch
        self.calls: dict[str, int] = {}
        self.to_train: list[Cell] = []
        self.seconds = 0.0

    def write(self, name: str = "mine", factor: int = 1, comment: str = "") -> None:
        """Write the file anew, as if the process were another one."""
        source = METRIC.format(name=name).replace("dim=1)", f"dim=1) * {factor}")
        (self.workspace / "mine.py").write_text(comment + source)
        self.forget()

    def forget(self) -> None:
        registry.cache_clear()
        load_metrics.cache_clear()
        for name, module in [*sys.modules.items()]:
            if str(getattr(module, "__file__", "")).startswith(str(self.workspace)):
                del sys.modules[name]

    def compare(self, metrics: str = "psnr,mine", overwrite: bool = False) -> list[Record]:
        """Train a model on one film, evaluate it and a reference on two; return the records."""
        self.calls.clear()
        known = registry()
        # Codecs and references of the installation would only take their time.
        self._patch.setattr(known, "codecs", {})
        self._patch.setattr(known, "references", {"mean": known.references["mean"]})
        for metric in known.metrics.values():
            self._count(metric)
        workspace = Workspace(self.workspace)
        settings = Settings.choose(
            "quick",
            size="32x32",
            latent=4,
            budget="2steps",
            device="cpu",
            options={"width": "8"},
        )
        entries = Catalogue.open(workspace).choose("carphone,bikes")
        comparison = Comparison(
            workspace,
            entries,
            [open_film(entry, settings.size, workspace, holdout=0.1) for entry in entries],
            [known.models["ae"]],
            [settings],
            MetricSet.load(settings.device, metrics),
            metrics,
            0.1,
            overwrite=overwrite,
        )
        self.to_train = [c for c in comparison.cells if not comparison.is_trained(c)]
        trial = TrialResult(
            0,
            LinearCost(1, 0),
            1,
            LinearCost(1, 0),
            LinearCost(1, 0),
            0,
            LinearCost(0, 0),
            None,
            frozenset(),
        )
        trained = {*comparison.cells} - {*self.to_train}
        self.seconds = _model_estimate("", comparison.cells, trial, trained).training
        with InlineExecutor() as executor:
            records = comparison.run(executor, CompareProgress())
        assert [record.reason for record in records if record.status == "failed"] == []
        load_metrics.cache_clear()
        return records

    def _count(self, metric: type[Metric]) -> None:
        inner = metric.__call__

        def counted(this: Metric, *frames: Any) -> Any:
            self.calls[this.name] = self.calls.get(this.name, 0) + 1
            return inner(this, *frames)

        self._patch.setattr(metric, "__call__", counted)

    def trained(self) -> dict[Path, int]:
        """When each run's weights were written."""
        found = self.workspace.glob("runs/*/*/*/weights.safetensors")
        return {path: path.stat().st_mtime_ns for path in found}


@pytest.fixture
def author(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Author]:
    path = [*sys.path]
    monkeypatch.setenv("ZOO_PLUGINS", "mine.py")
    author = Author(workspace, monkeypatch)
    yield author
    author.forget()
    sys.path[:] = path


def scores(results: list[Record], metric: str) -> list[float]:
    return [
        summary.mean
        for record in results
        for summary in record.scores[metric].values()
        if summary.mean is not None
    ]


def everything(record: Record) -> dict[str, Any]:
    """What a record says, but for times."""
    said = record.model_dump()
    for name in ("training", "cost", "video"):
        said[name] = None
    return said


@pytest.mark.slow
def test_a_metric_that_was_edited_is_measured_again_alone(author: Author) -> None:
    author.write(factor=1)
    before = author.compare()
    # Training scores its previews by PSNR, too.
    assert author.calls["psnr"] >= author.calls["mine"] > 0
    trained = author.trained()

    author.write(factor=1, comment="# a word about it\n")
    assert scores(author.compare(), "mine") == scores(before, "mine")
    assert author.calls == {}, "a comment changes nothing"

    author.write(factor=2)
    after = author.compare()
    assert author.calls["mine"] > 0 and "psnr" not in author.calls
    assert author.trained() == trained
    assert scores(after, "psnr") == scores(before, "psnr")
    assert scores(after, "mine") == pytest.approx([2 * s for s in scores(before, "mine")])
    own = next(r for r in after if r.model == "ae" and r.trained_on == r.evaluated_on)
    assert own.failure_analysis is not None
    weak = own.failure_analysis
    parts = [p.scores for p in own.rate], [p.scores for p in weak.plain]
    for scored in (*parts[0], *parts[1], *(s.scores for s in weak.slices["seen"])):
        assert set(scored) == {"psnr", "mine"}
    [path] = author.workspace.glob("runs/carphone/ae/*/evaluation/carphone/scores.npz")
    with np.load(path) as file:
        assert set(file.files) == {"psnr", "mine"}

    # What was put together is what one evaluation of both would have been.
    whole = author.compare(overwrite=True)
    assert [everything(r) for r in whole] == [everything(r) for r in after]


def test_a_metric_that_was_not_measured_yet_is_measured_alone(author: Author) -> None:
    author.write()
    author.compare("psnr")
    trained = author.trained()
    assert set(author.calls) == {"psnr"}
    assert author.to_train and author.seconds > 0
    found = author.compare("psnr,mine")
    assert author.to_train == [] and author.seconds == 0, "a dry run foresees no training"
    assert set(author.calls) == {"mine"}
    assert author.trained() == trained
    assert all({"psnr", "mine"} <= set(record.scores) for record in found)


def test_old_numbers_of_an_edited_metric_are_nowhere(author: Author) -> None:
    author.write(factor=1)
    author.compare("psnr,mine")
    author.write(factor=2)
    found = author.compare("psnr")
    assert author.calls == {}
    assert all(set(record.scores) == {"psnr"} for record in found)
