"""Callbacks of a training, TensorBoard's among them."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.tiny_runs import TINY
from zoo.training.callbacks import TrainingEvent, call_all, tensorboard_callback


def event_at(step: int, pixel: float) -> TrainingEvent:
    losses = {"autoencoder": {"pixel": pixel, "kl": pixel / 10}}
    return TrainingEvent(
        step, 100, step / 100, step * 8, step / 10, 80.0 + step, 0.25, None, losses
    )


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

    with tensorboard_callback(tmp_path / "tensorboard") as callback:
        assert not (tmp_path / "tensorboard").exists()  # no event yet
        for step in (10, 20, 30, 40):
            callback(event_at(step, 1.0))
    # Killed after 40, with a checkpoint at 25: 30 and 40 are reported again.
    with tensorboard_callback(tmp_path / "tensorboard") as callback:
        for step in (30, 40, 50):
            callback(event_at(step, 2.0))

    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == {
        "loss/autoencoder/pixel",
        "loss/autoencoder/kl",
        "frames per second",
        "data stall",
    }
    curve = [(event.step, event.value) for event in events.Scalars("loss/autoencoder/pixel")]
    assert curve == [(10, 1.0), (20, 1.0), (30, 2.0), (40, 2.0), (50, 2.0)]
    assert events.Scalars("frames per second")[0].value == 90


TRAIN = ("train", "ae", *TINY, "--budget", "8steps")


def test_train_writes_tensorboard_scalars_if_asked(zoo: Callable, workspace: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    assert zoo(*TRAIN).code == 0
    assert not list(workspace.rglob("tensorboard"))
    result = zoo(*TRAIN, "--tensorboard", "--overwrite")
    assert result.code == 0, result.err
    (run,) = (workspace / "runs" / "carphone" / "ae").iterdir()
    assert len(list((run / "tensorboard").glob("events.*"))) == 1


def test_missing_tensorboard_is_reported_before_anything_starts(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without_tensorboard(name: str, *others: object) -> object:
        if name.split(".")[0] == "tensorboard" or name == "torch.utils.tensorboard":
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_tensorboard)
    result = zoo(*TRAIN, "--tensorboard")
    assert result.code == 2
    assert (
        "needs the extra 'tensorboard'" in result.err
        and '`pip install ".[tensorboard]"`' in result.err
    )
    assert result.err.count("\n") == 1
    assert list(workspace.iterdir()) == []
