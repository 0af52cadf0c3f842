"""Training is exact and resumable, and ends with a clear error if something is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.step_profile import StopAfter
from tests.training.tiny_runs import CPU, breaking_ae, config_of
from zoo.api.autoencoder import Autoencoder, Batch, Loss, Losses, Options, Step
from zoo.api.recipe_and_events import TrainingEvent
from zoo.base import interrupts
from zoo.base.errors import ZooError
from zoo.base.frame_size import FrameSize
from zoo.base.interrupts import Interrupted, StopRequest
from zoo.films.ingested_film import Film
from zoo.plugins.registry import registry
from zoo.training import run_writer
from zoo.training.engine import train
from zoo.training.run_folder import RunFolder, TrainingConfig


def weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(folder.weights)


def log(folder: RunFolder) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in folder.log.read_text().splitlines()]
    # Previews and their scores come by the clock; only the last line always has a score.
    times = ("seconds", "data_stall", "score")
    exact = [{k: v for k, v in line.items() if k not in times} for line in lines]
    return [*exact, lines[-1].get("score")]


def assert_same_outcome(one: RunFolder, other: RunFolder) -> None:
    assert log(one) == log(other)
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@pytest.fixture(scope="module")
def undisturbed(film: Film, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("undisturbed"))
    train(folder, config_of("vaegan", film), film, CPU)
    return folder


def test_the_same_seed_gives_the_same_weights_to_the_bit(
    film: Film, config: TrainingConfig, undisturbed: RunFolder, tmp_path: Path
) -> None:
    again = RunFolder(tmp_path / "again")
    train(again, config, film, CPU)
    assert_same_outcome(again, undisturbed)

    other_seed = RunFolder(tmp_path / "other")
    train(other_seed, config.model_copy(update={"seed": 6}), film, CPU)
    name = "decoder.correct.dense.weight"
    assert not torch.equal(weights(other_seed)[name], weights(undisturbed)[name])


@pytest.mark.parametrize("stop_at", [1, 9, 10, 23])
def test_a_stopped_and_resumed_training_equals_an_undisturbed_one(
    stop_at: int, film: Film, config: TrainingConfig, undisturbed: RunFolder, tmp_path: Path
) -> None:
    # 36 training frames in batches of 4: step 9 begins an epoch.
    folder = RunFolder(tmp_path)
    with pytest.raises(Interrupted, match=f"stopped at step {stop_at} "):
        train(folder, config, film, CPU, stop=StopAfter(stop_at))
    assert folder.state == "interrupted"
    events: list[TrainingEvent] = []
    train(folder, config, film, CPU, callback=events.append, stop=StopRequest())
    assert folder.state == "finished"
    assert not folder.checkpoint.exists()
    notes = [note for event in events for note in event.notes if note.startswith("resumed")]
    assert notes == [f"resumed at step {stop_at} of 24"]
    assert_same_outcome(folder, undisturbed)


def test_a_stopped_training_counts_as_saving_until_its_curves_are_drawn(
    film: Film, config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving = []
    monkeypatch.setattr(run_writer, "plot_curves", lambda *_: saving.append(interrupts._saving > 0))
    with pytest.raises(Interrupted):
        train(RunFolder(tmp_path), config, film, CPU, stop=StopAfter(1))
    assert saving == [True]


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
import zoo.training.checkpoint as checkpoint
from tests.training.tiny_runs import SIZE, config_of
from zoo.conformance.fixtures import scene_as_film
from zoo.training import run_writer
from zoo.training.engine import train
from zoo.training.run_folder import RunFolder
film = scene_as_film(SIZE, count=40)
def callback(event):
    print(event.step, flush=True)
    sys.stdin.readline()
writes, write = [], checkpoint.save_file
def write_half(tensors, path, metadata):
    write(tensors, path, metadata)
    writes.append(path)
    if len(writes) == int(sys.argv[2]):
        whole = Path(path).read_bytes()
        Path(path).write_bytes(whole[: len(whole) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save_file = write_half
train(RunFolder(Path(sys.argv[1])), config_of("vaegan", film), film, torch.device("cpu"),
      callback=callback, checkpoint_every=3)
"""


def train_and_kill(folder: Path, at_step: int = 0, in_write: int = 0) -> None:
    """Train in another process with a checkpoint every three steps, and kill it."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(folder), str(in_write)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin and process.stdout
    for line in process.stdout:
        if int(line) == at_step:
            os.kill(process.pid, signal.SIGKILL)
            break
        with suppress(BrokenPipeError):
            process.stdin.write("go on\n")
            process.stdin.flush()
    assert process.wait(timeout=60) == -signal.SIGKILL


@pytest.mark.parametrize(
    "kill_at", [9, *(pytest.param(step, marks=pytest.mark.slow) for step in (2, 8, 17))]
)
def test_a_killed_and_resumed_training_equals_an_undisturbed_one(
    kill_at: int, film: Film, config: TrainingConfig, undisturbed: RunFolder, tmp_path: Path
) -> None:
    train_and_kill(tmp_path, at_step=kill_at)
    folder = RunFolder(tmp_path)
    assert folder.state == "training"
    assert folder.checkpoint.exists() == (kill_at > 3)
    train(folder, config, film, CPU)
    assert_same_outcome(folder, undisturbed)


@pytest.mark.parametrize("write", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_a_kill_during_a_checkpoint_write_keeps_the_last_good_one(
    write: int, film: Film, config: TrainingConfig, undisturbed: RunFolder, tmp_path: Path
) -> None:
    train_and_kill(tmp_path, in_write=write)
    folder = RunFolder(tmp_path)
    assert folder.checkpoint.exists() == (write > 1)
    train(folder, config, film, CPU)
    assert_same_outcome(folder, undisturbed)


def test_a_damaged_checkpoint_is_refused_by_name(
    film: Film, config: TrainingConfig, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    folder.checkpoint.write_bytes(b"not a checkpoint")
    with pytest.raises(ZooError, match=r"checkpoint\.safetensors is damaged"):
        train(folder, config, film, CPU)


def test_a_non_finite_loss_stops_training_and_names_step_player_and_term(
    film: Film, tmp_path: Path, register: Callable
) -> None:
    register(breaking_ae(from_step=12))
    folder = RunFolder(tmp_path)
    with pytest.raises(ZooError) as caught:
        train(folder, config_of("breaks", film), film, CPU, checkpoint_every=4)
    message = str(caught.value)
    assert "'pixel' of the player 'autoencoder' was not finite at step 12" in message
    assert f"the last good checkpoint is {folder.checkpoint}" in message
    saved = load_file(folder.checkpoint)
    assert all(bool(tensor.isfinite().all()) for tensor in saved.values())


def test_training_lowers_the_loss_and_reports_it(film: Film, tmp_path: Path) -> None:
    events = []
    folder = RunFolder(tmp_path)
    options = {"latent": 4, "width": 8, "start": "scratch"}
    config = config_of("ae", film, budget="120steps", options=options)
    train(folder, config, film, CPU, callback=events.append)
    losses = [event.losses["autoencoder"]["pixel"] for event in events]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert events[-1].step == events[-1].steps == 120
    assert events[-1].progress == 1
    assert events[-1].frames == 120 * config.batch
    description = folder.read()
    assert description is not None and description.training is not None
    assert description.training.frames == 480
    assert folder.preview.stat().st_size > 500


def test_a_budget_in_seconds_is_kept(film: Film, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    train(folder, config_of("ae", film, budget="1.5s"), film, CPU)
    description = folder.read()
    assert description is not None and description.training is not None
    assert description.training.steps > 1
    assert (description.training.seconds or 0) >= 1.5


def test_out_of_memory_reports_the_batch_that_would_fit(
    film: Film, tmp_path: Path, register: Callable
) -> None:
    class Hungry(registry().models["ae"]):  # type: ignore[misc]
        name = "hungry"

        def losses(self, batch, step):
            frames = batch.frames
            if len(frames) > 5:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 TiB.")
            return super().losses(batch, step)

    register(Hungry)
    config = config_of("hungry", film, batch=16)
    with pytest.raises(ZooError, match="with a batch of 16; --batch 4 would"):
        train(RunFolder(tmp_path), config, film, CPU)


class Choosy(Autoencoder):
    """Is trained on the first ten frames only, and keeps the frames of its batches."""

    name = "choosy"
    summary = "takes ten frames"
    taken: ClassVar[int] = 10
    trained_on: ClassVar[list[torch.Tensor]] = []

    def __init__(self, size: FrameSize, options: Options) -> None:
        super().__init__(size, options)
        self.brightness = torch.nn.Parameter(torch.zeros(1))

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        return frames.mean(dim=(1, 2, 3))[:, None].expand(-1, self.options.latent)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        grey = (latent[:, :1] + self.brightness).clamp(0, 1)[:, :, None, None]
        return grey.expand(-1, 3, self.size.height, self.size.width)

    def losses(self, batch: Batch, step: Step) -> Losses:
        frames = batch.frames
        self.trained_on.append(frames.detach().clone())
        return {"autoencoder": Loss({"pixel": (self.brightness - frames.mean()).square().sum()})}

    def frames_taken(self, seen: int) -> int:
        return self.taken


@pytest.fixture
def train_choosy(film: Film, tmp_path: Path, register: Callable) -> Callable[[], None]:
    register(Choosy)
    config = config_of("choosy", film, options={"latent": 4})
    return lambda: train(RunFolder(tmp_path), config, film, CPU)


def test_a_model_is_trained_on_the_frames_that_it_takes(
    film: Film, train_choosy: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Choosy, "trained_on", [])
    train_choosy()
    seen = torch.from_numpy(film.store.array[film.split.seen]).permute(0, 3, 1, 2) / 255
    frames = torch.cat(Choosy.trained_on)
    indices = {int((seen - frame).abs().sum(dim=(1, 2, 3)).argmin()) for frame in frames}
    assert indices == set(range(10))


@pytest.mark.parametrize("taken", [0, -3, 41])
def test_taking_more_frames_than_there_are_is_refused(
    taken: int, train_choosy: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Choosy, "taken", taken)
    with pytest.raises(ZooError, match=f"choosy takes {taken} training frames of scene"):
        train_choosy()


def test_a_run_killed_after_its_last_report_does_not_repeat_it(
    film: Film, config: TrainingConfig, undisturbed: RunFolder, tmp_path: Path
) -> None:
    train_and_kill(tmp_path, at_step=24)
    folder = RunFolder(tmp_path)
    assert folder.checkpoint.exists() and log(folder)[-2] == log(undisturbed)[-2]
    train(folder, config, film, CPU)
    assert_same_outcome(folder, undisturbed)
