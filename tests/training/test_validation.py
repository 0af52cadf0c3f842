"""Scores of a few fixed frames while a model trains, and reports of overfitting."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.training.tiny_runs import CPU, SIZE, TINY, breaking_ae, config_of
from zoo.api.recipe_and_events import Score, TrainingEvent
from zoo.api.samples_and_latents import STILLS, Sampling
from zoo.base.errors import ZooError
from zoo.conformance.fixtures import scene_as_film
from zoo.films.ingested_film import Film, film_from_frames
from zoo.plugins.model_building import build
from zoo.plugins.registry import registry
from zoo.pretrained import lookup
from zoo.training import engine, run_writer, throughput_and_memory
from zoo.training.engine import train
from zoo.training.run_folder import RunFolder
from zoo.training.validation import FRAMES, WORSE_FOR, OverfittingMonitor, Scorer, spread_samples


@pytest.fixture
def at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_writer, "SECONDS_BETWEEN_PREVIEWS", 0.0)
    monkeypatch.setattr(run_writer, "LARGEST_SHARE", 1e9)


def trained(film: Film, folder: Path, model: str = "ae", **changes: object) -> list[TrainingEvent]:
    events: list[TrainingEvent] = []
    train(RunFolder(folder), config_of(model, film, **changes), film, CPU, callback=events.append)
    return events


def test_scores_are_reported_logged_and_recorded(
    film: Film, tmp_path: Path, at_every_step: None
) -> None:
    events = trained(film, tmp_path)
    steps = [event.score.step for event in events if event.score]
    # Each score is in the next report; the last report has the score of the final weights.
    assert steps == [*range(1, 23), 24]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["score"]["step"] for line in lines if "score" in line] == steps
    last = lines[-1]["score"]
    assert last.pop("step") == 24
    description = RunFolder(tmp_path).read()
    assert description is not None and description.score is not None
    assert {part: description.score[part] for part in last} == last
    assert description.score["mean_frame"].keys() == {"psnr"}


def test_the_final_score_is_of_the_final_weights(film: Film, tmp_path: Path) -> None:
    trained(film, tmp_path, budget="60steps")
    folder = RunFolder(tmp_path)
    description = folder.read()
    assert description is not None and description.score is not None
    model = build(registry().models["ae"], SIZE, {"latent": 4, "width": 8}).eval()
    model.load_state_dict(load_file(folder.weights))
    for part, indices in (("held_out", film.split.held_out), ("seen", film.split.seen)):
        chosen = spread_samples(film, indices, STILLS, FRAMES)[:, 0]
        assert set(chosen.tolist()) <= set(indices.tolist())
        pixels = torch.from_numpy(film.store.array[chosen]).permute(0, 3, 1, 2).double()
        with torch.no_grad():
            reconstructed = model.decode(model.encode(pixels.float() / 255)).clamp(0, 1) * 255
        error = (reconstructed.round().double() - pixels).square().mean(dim=(1, 2, 3))
        expected = float((10 * torch.log10(255**2 / error)).mean())
        assert description.score[part]["psnr"] == pytest.approx(expected, abs=1e-3)


class Random(registry().models["ae"]):  # type: ignore[misc]
    """Uses every random generator, in evaluation too."""

    name = "random"

    def encode(self, frames):
        random.random()
        np.random.rand()
        torch.rand(3)
        return super().encode(frames)

    def losses(self, batch, step):
        losses = super().losses(batch, step)
        factor = 1 + 0.1 * random.random() + 0.1 * np.random.rand()
        losses["autoencoder"].terms["pixel"] *= factor
        return losses


def test_scoring_does_not_change_training(
    film: Film, tmp_path: Path, register: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(Random)
    outcomes = []
    for name, seconds in (("never", 1e9), ("always", 0.0)):
        monkeypatch.setattr(run_writer, "SECONDS_BETWEEN_PREVIEWS", seconds)
        monkeypatch.setattr(run_writer, "LARGEST_SHARE", 1e9)
        random.seed(3)
        np.random.seed(3)
        events = trained(film, tmp_path / name, "random")
        assert sum(bool(event.score) for event in events) == (1 if name == "never" else 23)
        outcomes.append(RunFolder(tmp_path / name).weights.read_bytes())
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    "sampling", [STILLS, Sampling(window=4), Sampling(before=1, after=2)], ids=str
)
@pytest.mark.parametrize("cuts", [[], [3, 17, 18, 40]])
def test_samples_stay_in_their_part_and_in_one_shot(sampling: Sampling, cuts: list[int]) -> None:
    pixels = np.zeros((60, 8, 8, 3), np.uint8)
    film = film_from_frames(pixels, name="cut", fps=25.0, cuts=cuts)
    shots = [set(shot) for shot in (range(s.start, s.stop) for s in film.shots)]
    for indices in (film.split.held_out, film.split.seen):
        samples = spread_samples(film, indices, sampling, FRAMES)
        assert len(samples) * sampling.window <= FRAMES
        for sample in samples:
            assert set(sample.tolist()) <= set(indices.tolist())
            assert any(set(sample.tolist()) <= shot for shot in shots)
    assert np.ptp(spread_samples(film, film.split.seen, sampling, FRAMES)) > 20, "spread"


def test_a_film_without_held_out_frames_is_scored_on_seen_ones(tmp_path: Path) -> None:
    film = scene_as_film(SIZE, count=12)
    film = film_from_frames(film.store.array, name="whole", fps=25.0, cuts=[], holdout=0.0)
    (event,) = [event for event in trained(film, tmp_path) if event.score]
    assert event.score and set(event.score.values) == {"seen"}


def scores(*values: float, metric: str = "psnr", start: int = 1) -> list[Score]:
    return [Score(100 * n, {"held_out": {metric: value}}) for n, value in enumerate(values, start)]


def messages(monitor: OverfittingMonitor, scores: list[Score]) -> list[str]:
    return [message for message in map(monitor.add, scores) if message]


def test_overfitting_is_reported_once_with_the_best_step() -> None:
    falling = scores(20, 24, 25, 24.5, 24.4, 24.2, 24.0, 23.0, 22.0)
    (message,) = messages(OverfittingMonitor(), falling)
    assert "since step 300: PSNR was 25.00 dB there and is 24.00 dB at step 700" in message
    # After resuming, a message is not repeated, and earlier scores count.
    assert not messages(OverfittingMonitor(falling[:7]), falling[7:])
    assert messages(OverfittingMonitor(falling[:5]), falling[5:]) == [message]
    # After a new best there may be another.
    again = scores(26, 25, 25, 25, 25, start=10)
    assert len(messages(OverfittingMonitor(falling), again)) == 1


@pytest.mark.parametrize(
    "values",
    [
        (20, 21, 22, 23, 24, 25),
        (25, 24.9, 24.9, 24.9, 24.9, 24.9, 24.9),  # no worse than one can see
        (25, *([24] * (WORSE_FOR - 1)), 26, *([25] * (WORSE_FOR - 1)), 27),
    ],
)
def test_small_or_short_declines_are_not_reported(values: tuple[float, ...]) -> None:
    assert not messages(OverfittingMonitor(), scores(*values))


def test_lpips_decides_if_it_is_scored() -> None:
    falling, better = scores(25, 24, 23, 22, 21, 20), scores(*[0.3] * 6, metric="lpips")
    both = [
        Score(p.step, {"held_out": {**p.values["held_out"], **b.values["held_out"]}})
        for p, b in zip(falling, better, strict=True)
    ]
    assert not messages(OverfittingMonitor(), both)
    (message,) = messages(OverfittingMonitor(), scores(0.2, 0.3, 0.3, 0.3, 0.3, metric="lpips"))
    assert "LPIPS was 0.200 there and is 0.300" in message


def test_missing_lpips_is_reported_once_and_nothing_is_downloaded(
    film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_every_step: None
) -> None:
    def fetch(*_: object) -> None:
        raise AssertionError("the network was used")

    for way in ("_by_download", "_by_pip"):
        monkeypatch.setattr(lookup, way, fetch)
    monkeypatch.delenv("ZOO_OFFLINE", raising=False)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "none"))
    monkeypatch.setattr(lookup, "hub_folder", lambda: tmp_path / "none")
    monkeypatch.setattr(run_writer, "SECONDS_BEFORE_LPIPS", 0.0)
    events = trained(film, tmp_path / "run")
    (note,) = [note for event in events for note in event.notes if "LPIPS" in note]
    assert note.startswith("LPIPS is not scored while training: no AlexNet weights (")
    assert all("lpips" not in m.score.values["seen"] for m in events if m.score)


class SteppedClock:
    """A clock that every reading advances by 4 ms, so that no machine's speed decides a test."""

    now = 0.0

    def monotonic(self) -> float:
        self.now += 0.004
        return self.now


@pytest.mark.parametrize("budget", ["0.8s", "3000steps"])
def test_slow_steps_are_reported_by_the_clock_and_at_the_end(
    budget: str, film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SteppedClock()
    for module in (engine, throughput_and_memory):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(engine, "SECONDS_BETWEEN_REPORTS", 0.1)
    events: list[TrainingEvent] = []
    stop = engine.StopRequest()

    def callback(event: TrainingEvent) -> None:
        events.append(event)
        stop.asked = budget.endswith("steps") and len(events) == 3

    folder = RunFolder(tmp_path)
    config = config_of("ae", film, budget=budget)
    if budget.endswith("steps"):
        with pytest.raises(ZooError, match="stopped at step"):
            train(folder, config, film, CPU, callback=callback, stop=stop)
        assert [event.step % 50 == 0 for event in events] != [True] * 3
        return
    train(folder, config, film, CPU, callback=callback, stop=stop)
    assert len(events) >= 3
    assert any(event.step % 25 for event in events[:-1])
    description = folder.read()
    assert description is not None and description.training is not None
    assert events[-1].step == description.training.steps
    assert events[-1].progress == 1


def test_a_non_finite_loss_is_found_by_the_clock_too(
    film: Film, tmp_path: Path, register: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(breaking_ae(from_step=2))
    monkeypatch.setattr(engine, "SECONDS_BETWEEN_REPORTS", 0.0)
    with pytest.raises(ZooError, match="was not finite at step 2; there is no checkpoint yet"):
        train(RunFolder(tmp_path), config_of("breaks", film, budget="3000steps"), film, CPU)


def test_train_prints_budget_and_scores(zoo: Callable, workspace: Path) -> None:
    train = ("train", "ae", *TINY, "--budget", "1epochs-min9steps")
    result = zoo(*train)
    assert result.code == 0, result.err
    out = " ".join(result.out.split())
    assert "32x32, 4 numbers per frame; 1 epoch, at least 9 steps: " in out
    assert "no frame is held out" not in out
    assert re.search(r"\d+ frames held out, \d+ in gaps between", out)
    assert re.search(r"trained for [\d.]+ s: 12 steps, 96 frames, 1 epoch\n", result.out)
    last = result.out.splitlines()
    (run,) = (workspace / "runs/carphone/ae").iterdir()
    assert f"run: carphone/ae/{run.name}" in last
    assert "`zoo evaluate ae --film carphone` scores every frame, after quantisation" in last
    assert f"picture: runs/carphone/ae/{run.name}/preview.png" in last[-1]

    # The references are scored on the same frames as the model, and fitted once.
    description = RunFolder(run).read()
    assert description is not None and description.score is not None
    rows = {line.split()[0]: line for line in last if line.count("PSNR") == 2}
    assert list(rows) == ["ae", "mean", "pca"]
    assert f"PSNR {description.score['held_out']['psnr']:.2f} dB" in rows["ae"]
    assert float(rows["pca"].split()[5]) > float(rows["mean"].split()[5]), "on seen frames"
    again = zoo(*train)
    assert "was trained already" in again.out and "fitting pca" not in again.out
    assert rows["pca"] in again.out
    whole = zoo(*train, "--holdout", "0")
    assert whole.code == 0, whole.err
    assert "no frame is held out (--holdout 0)" in " ".join(whole.out.split())
    assert "  held out" not in whole.out and "  seen" in whole.out
    few = zoo(*train, "--latent", "100")
    assert few.code == 0, few.err
    assert "pca: carphone has 96 training frames, too few" in few.out
    assert "damaged" not in zoo("runs").out
    shown = zoo("runs", "show", next((workspace / "runs/carphone/ae").iterdir()).name)
    assert "a few frames, with the final weights" in shown.out
    assert "waiting for frames" in shown.out and "read in batches" in shown.out


def test_a_film_of_one_frame_is_scored() -> None:
    film = film_from_frames(
        np.full((1, 32, 32, 3), 90, np.uint8), name="one", fps=25.0, cuts=[], holdout=0
    )
    scorer = Scorer(film, STILLS, CPU)
    model = build(registry().models["ae"], SIZE, {"latent": 4, "width": 8}).eval()
    score, (originals, reconstructions) = scorer(model, 3)
    assert score.step == 3
    assert originals.shape == reconstructions.shape == (1, 3, 32, 32)
    assert scorer.final(score, film)["mean_frame"]["psnr"] == 60.0, "the frame is its own mean"
