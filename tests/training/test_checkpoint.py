"""Checkpoints are written in a thread: training goes on, nothing is lost, little time is spent."""

from __future__ import annotations

import errno
import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from tests.training.tiny_runs import CPU, config_of
from zoo.api.recipe_and_events import TrainingEvent
from zoo.base.errors import CannotWrite
from zoo.base.interrupts import Interrupted, StopRequest
from zoo.films.ingested_film import Film
from zoo.training import checkpoint, run_writer
from zoo.training.checkpoint import CheckpointWriter, Progress
from zoo.training.engine import train
from zoo.training.run_folder import RunFolder
from zoo.training.run_writer import Throttle


@pytest.fixture(autouse=True)
def as_often_as_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_writer, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(run_writer, "LARGEST_SHARE", 1e9)


@pytest.fixture(scope="module")
def undisturbed(film: Film, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = RunFolder(tmp_path_factory.mktemp("undisturbed"))
    train(folder, config_of("ae", film), film, CPU)
    return folder.weights.read_bytes()


class SlowDisk:
    """Delays each checkpoint until five further steps are taken, and keeps a copy of it."""

    def __init__(self, kept: Path) -> None:
        self.kept = kept
        self.step = 0
        self.stepped = threading.Condition()
        self.writing = self.most_writing = 0
        self.steps_during: list[int] = []
        self.save = checkpoint.save_file

    def callback(self, event: TrainingEvent) -> None:
        with self.stepped:
            self.step = event.step
            self.stepped.notify_all()

    def __call__(self, tensors: Any, path: Any, metadata: dict[str, str]) -> None:
        if not metadata:  # the final weights
            self.save(tensors, path, metadata)
            return
        self.writing += 1
        self.most_writing = max(self.most_writing, self.writing)
        with self.stepped:
            began = self.step
            # Towards the end there are no five steps left.
            self.stepped.wait_for(lambda: self.step >= min(began + 5, 24), timeout=30)
            self.steps_during.append(self.step - began)
        self.save(tensors, path, metadata)
        shutil.copy(path, self.kept / f"{len(self.steps_during)}.safetensors")
        self.writing -= 1


def test_training_continues_while_one_checkpoint_at_a_time_is_written(
    film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: bytes
) -> None:
    disk = SlowDisk(tmp_path)
    monkeypatch.setattr(checkpoint, "save_file", disk)
    folder = RunFolder(tmp_path / "run")
    config = config_of("ae", film)
    train(folder, config, film, CPU, callback=disk.callback)
    assert disk.most_writing == 1
    assert len(disk.steps_during) >= 2
    assert disk.steps_during[0] >= 5
    assert folder.weights.read_bytes() == undisturbed
    assert not folder.checkpoint.exists(), "a late checkpoint reappeared"

    # A checkpoint has the state at which it was begun, five steps earlier.
    monkeypatch.setattr(checkpoint, "save_file", disk.save)
    resumed = RunFolder(tmp_path / "resumed")
    resumed.path.mkdir()
    shutil.copy(tmp_path / "2.safetensors", resumed.checkpoint)
    shutil.copy(folder.log, resumed.log)
    train(resumed, config, film, CPU)
    assert resumed.weights.read_bytes() == undisturbed


def saved_step(path: Path) -> int:
    with safe_open(path, framework="pt") as file:
        return int(json.loads(file.metadata()["progress"])["step"])


@pytest.mark.parametrize("stop_at", [1, 9])
def test_an_interrupt_waits_until_its_own_checkpoint_is_on_disk(
    stop_at: int, film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = checkpoint.save_file

    def slow(*what: Any) -> None:
        time.sleep(0.2)
        save(*what)

    monkeypatch.setattr(checkpoint, "save_file", slow)
    stop = StopRequest()

    def callback(event: TrainingEvent) -> None:
        stop.asked = event.step >= stop_at

    folder = RunFolder(tmp_path)
    with pytest.raises(Interrupted, match=f"stopped at step {stop_at} "):
        train(folder, config_of("ae", film), film, CPU, callback=callback, stop=stop)
    assert saved_step(folder.checkpoint) == stop_at
    assert folder.state == "interrupted"
    assert not [path for path in folder.path.iterdir() if path.name.startswith(".tmp-")]


def test_a_full_disk_ends_the_training_in_one_line_and_keeps_the_last_good_checkpoint(
    film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, written, steps = checkpoint.save_file, [], []

    def fills(tensors: Any, path: Any, metadata: dict[str, str]) -> None:
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(tensors, path, metadata)
        written.append(json.loads(metadata["progress"])["step"])

    def callback(event: TrainingEvent) -> None:
        steps.append(event.step)
        time.sleep(0.01)

    monkeypatch.setattr(checkpoint, "save_file", fills)
    folder = RunFolder(tmp_path)
    with pytest.raises(CannotWrite, match=r"checkpoint\.safetensors cannot be written: ") as caught:
        train(folder, config_of("ae", film, budget="400steps"), film, CPU, callback=callback)
    assert "\n" not in str(caught.value)
    assert len(written) == 2
    assert saved_step(folder.checkpoint) == written[-1]
    assert 400 not in steps, "the error is raised at once, not at the end"


def test_the_host_copies_of_checkpoints_are_allocated_once(
    film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where: list[set[int]] = []
    live: set[int] = set()
    begin, save = CheckpointWriter.begin, checkpoint.save_file

    def noted(self: CheckpointWriter, progress: Progress, step: Any) -> None:
        live.update(t.data_ptr() for t in step.model.state_dict().values())
        begin(self, progress, step)

    def saved(tensors: Any, path: Any, metadata: dict[str, str]) -> None:
        if metadata:
            where.append({t.data_ptr() for k, t in tensors.items() if not k.startswith("losses.")})
        save(tensors, path, metadata)

    monkeypatch.setattr(CheckpointWriter, "begin", noted)
    monkeypatch.setattr(checkpoint, "save_file", saved)
    train(RunFolder(tmp_path), config_of("ae", film), film, CPU, checkpoint_every=6)
    assert len(where) == 4
    assert where[1] == where[2] == where[3]
    assert not live & where[1]


@pytest.mark.parametrize("cost", [0.001, 0.05, 0.5, 20.0])
def test_throttled_work_takes_one_percent_of_the_time(
    cost: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(run_writer, "LARGEST_SHARE", 0.01)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    throttle, times = Throttle(), []
    while now < 20_000:
        now += 0.7  # a step
        if throttle.due(30.0):
            now += cost
            times.append(now)
            throttle.done(cost)
    assert 30 <= times[0] < 32 + cost
    assert len(times) * cost <= 0.0101 * now + cost
    if cost < 0.3:
        assert len(times) > 600, "as often as possible"
    else:
        assert len(times) * cost > 0.009 * now, "the share of time is used up"
