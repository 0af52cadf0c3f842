"""Callbacks of a training: those of plugins, TensorBoard, Weights & Biases and MLflow."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.training.tiny_runs import TINY
from zoo.api.recipe_and_events import FollowedRun, Score, TrainingCallback, TrainingEvent
from zoo.base.errors import BadInput
from zoo.base.extras import missing_extra
from zoo.conformance.suite import examine
from zoo.plugins.registry import registry
from zoo.training.engine import Callback, call_all, following

TRAIN = ("train", "ae", *TINY, "--budget", "8steps")


def event_at(step: int, pixel: float) -> TrainingEvent:
    losses = {"autoencoder": {"pixel": pixel, "kl": pixel / 10}}
    score = Score(step, {"held_out": {"psnr": 20.0 + step}}) if step == 30 else None
    return TrainingEvent(
        step, 100, step / 100, step * 8, step / 10, 80.0 + step, 0.25, None, losses, score=score
    )


NAMES = {
    *("loss/autoencoder/pixel", "loss/autoencoder/kl", "score/psnr/held_out"),
    *("frames per second", "data stall"),
}


@contextmanager
def followed(name: str, folder: Path) -> Iterator[Callback]:
    run = FollowedRun("film/ae/32x32-8steps", folder, {"model": "ae", "seed": 3})
    failures: list[str] = []
    with following([registry().callbacks[name]], run, failures.append) as callback:
        yield callback
    assert failures == []


def test_several_callbacks_are_called_in_order() -> None:
    calls: list[tuple[str, int]] = []
    callback = call_all(
        lambda event: calls.append(("one", event.step)),
        lambda event: calls.append(("two", event.step)),
    )
    callback(event_at(3, 1.0))
    assert calls == [("one", 3), ("two", 3)]


def test_scalars_of_a_resumed_run_are_one_curve(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with followed("tensorboard", tmp_path) as callback:
        assert not (tmp_path / "tensorboard").exists()  # no event yet
        for step in (10, 20, 30, 40):
            callback(event_at(step, 1.0))
    # Killed after 40, with a checkpoint at 25: 30 and 40 are reported again.
    with followed("tensorboard", tmp_path) as callback:
        for step in (30, 40, 50):
            callback(event_at(step, 2.0))

    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == NAMES
    curve = [(event.step, event.value) for event in events.Scalars("loss/autoencoder/pixel")]
    assert curve == [(10, 1.0), (20, 1.0), (30, 2.0), (40, 2.0), (50, 2.0)]
    assert events.Scalars("frames per second")[0].value == 90


def test_wandb_writes_a_run_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="the extra `wandb` is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    with followed("wandb", tmp_path) as callback:
        assert not list(tmp_path.iterdir())
        for step in (10, 30):
            callback(event_at(step, 1.0))
    wandb.teardown()  # its service has written all then
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    (written,) = run.glob("*.wandb")
    content = written.read_bytes()
    assert all(name.encode() in content for name in NAMES)
    assert b"film/ae/32x32-8steps" in content and b"film-zoo" in content


def test_mlflow_writes_a_run_into_a_folder_and_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    for steps in ((10, 30), (40,)):
        with followed("mlflow", tmp_path / "run") as callback:
            for step in steps:
                callback(event_at(step, float(step)))
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("film-zoo")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "film/ae/32x32-8steps" and run.info.status == "FINISHED"
    assert run.data.params == {"model": "ae", "seed": "3"}
    assert run.data.metrics.keys() == NAMES
    history = client.get_metric_history(run.info.run_id, "loss/autoencoder/pixel")
    assert [(metric.step, metric.value) for metric in history] == [(10, 10), (30, 30), (40, 40)]


def test_train_writes_tensorboard_scalars_if_asked(zoo: Callable, workspace: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    assert zoo(*TRAIN).code == 0
    assert not list(workspace.rglob("tensorboard"))
    result = zoo(*TRAIN, "--tensorboard", "--overwrite")
    assert result.code == 0, result.err
    (run,) = (workspace / "runs" / "carphone" / "ae").iterdir()
    assert len(list((run / "tensorboard").glob("events.*"))) == 1


CALLS: list[Any] = []


class Mine(TrainingCallback):
    name = "mine"
    summary = "keeps its reports"

    def __call__(self, event: TrainingEvent) -> None:
        CALLS.append((self.run.name, event.scalars()))

    def close(self) -> None:
        CALLS.append("closed")


class Breaks(Mine):
    name = "breaks"

    def __call__(self, event: TrainingEvent) -> None:
        CALLS.append("called")
        raise OSError("no route to host")


def test_a_plugin_follows_a_training_and_one_that_fails_does_not_end_it(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    CALLS.clear()
    for kind in (Mine, Breaks):
        monkeypatch.setitem(registry().callbacks, kind.name, kind)
    assert zoo(*TRAIN, "--track", "mine").code == 0
    (run,) = (workspace / "runs/carphone/ae").iterdir()
    *reports, end = CALLS
    assert end == "closed" and {name for name, _ in reports} == {f"carphone/ae/{run.name}"}
    assert all("loss/autoencoder/pixel" in scalars for _, scalars in reports)
    assert "score/psnr/held_out" in reports[-1][1]

    CALLS.clear()
    said = zoo(*TRAIN, "--track", "breaks", "--overwrite")
    assert said.code == 0 and CALLS == ["called", "closed"]
    assert said.out.count("breaks failed and gets no more reports: OSError: no route to host") == 1


def test_words_that_name_no_tracker_are_refused(zoo: Callable, workspace: Path) -> None:
    for words, expected in (
        ("tensorbord", "is called 'tensorbord' (did you mean 'tensorboard'?)"),
        (",", "--track names no callback; there are: "),
    ):
        said = zoo(*TRAIN, "--track", words)
        said.check_refused(expected)
    assert list(workspace.iterdir()) == []


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_package_is_reported_before_anything_starts(
    name: str, zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__
    expected = f"zoo: {missing_extra(name, f'--track {name}')}\n"
    registry()  # loaded while everything can be imported

    def without(module: str, *others: object) -> object:
        if module.split(".")[0] == name or module == f"torch.utils.{name}":
            raise ModuleNotFoundError(f"No module named {module!r}")
        return real(module, *others)  # type: ignore[arg-type]

    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    result = zoo(*TRAIN, "--track", name)
    assert result.code == 2
    assert result.err == expected
    assert list(workspace.iterdir()) == []


class Early(Mine):
    name = "early"

    def __init__(self, run: FollowedRun) -> None:
        run.folder.mkdir(parents=True)


class Silent(TrainingCallback):
    name = "silent"
    summary = "does nothing"


def test_conformance_of_callbacks() -> None:
    assert {finding.verdict for finding in examine(Mine)} == {"kept"}
    for kind, problem in ((Early, "before the first report"), (Silent, "has no __call__")):
        assert any(problem in (finding.problem or "") for finding in examine(kind))
    for kind in registry().callbacks.values():
        assert not any(finding.problem for finding in examine(kind))


def test_a_link_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/tensorboard").symlink_to(tmp_path)
    with pytest.raises(BadInput), followed("tensorboard", tmp_path / "run"):
        pass
