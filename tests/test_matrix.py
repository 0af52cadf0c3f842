"""What a comparison finds again, what it makes again, and what it survives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from zoo.evaluation.watch import Judges
from zoo.metric import Metric, Unavailable
from zoo.plugins import registry
from zoo.records import Record, Results, read_json

WORDS = (
    *("compare", "--films", "carphone", "--models", "ae", "--preset", "quick", "--size", "32x32"),
    *("--set", "latent=4", "--set", "width=8", "--budget", "6steps", "--device", "cpu"),
)


class Constant(Metric):
    """A metric that always says one half, or says that it cannot."""

    name = "constant"
    label = "Constant"
    source = "this test"
    here = True

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        if not self.here:
            raise Unavailable("not today")

    def __call__(self, originals: torch.Tensor, reconstructions: torch.Tensor) -> torch.Tensor:
        return torch.full((len(originals),), 0.5)


class Raises(Constant):
    name = "raises"

    def __init__(self, device: torch.device) -> None:
        raise FileNotFoundError("no weights\nhere")


@pytest.fixture(autouse=True)
def only_these_metrics(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    known = dict(registry().metrics)
    registry().metrics.clear()
    registry().metrics.update({"psnr": known["psnr"], "constant": Constant})
    yield
    registry().metrics.clear()
    registry().metrics.update(known)


def record_of(workspace: Path, model: str) -> tuple[Path, Record]:
    (path,) = workspace.glob(f"runs/carphone/{model}/*/evaluation/carphone/record.json")
    return path, read_json(path, Record)


def test_a_metric_that_cannot_be_made_costs_its_own_column() -> None:
    registry().metrics["raises"] = Raises
    judges = Judges.open(torch.device("cpu"))
    assert [metric.name for metric in judges.metrics] == ["psnr", "constant"]
    assert judges.unavailable == {"raises": "FileNotFoundError: no weights here"}


def test_the_latent_is_for_models_and_references_alike(zoo: Callable, workspace: Path) -> None:
    assert zoo(*WORDS).code == 0
    for model in ("ae", "pca"):
        record = record_of(workspace, model)[1]
        assert record.latent is not None and record.latent.numbers == 4
        assert record.options["latent"] == 4


def test_what_was_measured_stays_when_it_cannot_be_measured_any_more(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert zoo(*WORDS).code == 0
    path, _ = record_of(workspace, "ae")
    made = path.stat().st_mtime_ns
    monkeypatch.setattr(Constant, "here", False)
    assert zoo(*WORDS).code == 0
    assert path.stat().st_mtime_ns == made
    assert record_of(workspace, "ae")[1].scores["constant"]["seen"].mean == 0.5


def test_a_new_metric_or_a_lost_picture_evaluates_again_and_trains_nothing(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Constant, "here", False)
    assert zoo(*WORDS).code == 0
    path, before = record_of(workspace, "ae")
    (weights,) = workspace.glob("runs/carphone/ae/*/weights.safetensors")
    trained = weights.stat().st_mtime_ns
    assert "constant" not in before.scores

    monkeypatch.setattr(Constant, "here", True)
    assert zoo(*WORDS).code == 0
    assert "constant" in record_of(workspace, "ae")[1].scores

    (path.parent / before.pictures[0].original).unlink()
    assert zoo(*WORDS).code == 0
    assert (path.parent / before.pictures[0].original).exists()
    assert weights.stat().st_mtime_ns == trained


def test_another_version_of_a_plugin_is_another_training(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert zoo(*WORDS).code == 0
    monkeypatch.setitem(registry().origins, "ae", "film-zoo 99")
    assert zoo(*WORDS).code == 0
    assert len(list(workspace.glob("runs/carphone/ae/*"))) == 2
    assert len(list(workspace.glob("runs/carphone/pca/*"))) == 1


def test_when_no_model_succeeds_the_report_is_written_and_the_command_fails(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def losses(*_: object) -> None:
        raise ArithmeticError("no")

    monkeypatch.setattr(registry().models["ae"], "losses", losses)
    assert zoo(*WORDS).code == 1
    results = read_json(workspace / "results" / "results.json", Results)
    assert [r.reason for r in results.records if r.model == "ae"] == ["ArithmeticError: no"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_line(zoo: Callable, workspace: Path) -> None:
    workspace.chmod(0o555)
    said = zoo(*WORDS)
    workspace.chmod(0o755)
    assert said.code == 1
    assert said.err.count("\n") == 1


def test_a_file_where_a_folder_belongs_is_one_line(zoo: Callable, workspace: Path) -> None:
    (workspace / "runs").write_text("not a folder")
    said = zoo("train", "ae", "--film", "carphone", *WORDS[5:])
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "runs" in said.err
