"""Scores of a few fixed frames while a model trains: of which frames, told where, at what cost."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.training.small import SIZE, config_of
from zoo.api.sampling import STILLS, Sampling
from zoo.base.errors import ZooError
from zoo.conformance.fixtures import scene_as_film
from zoo.films.film import Film, film_from_frames
from zoo.plugins.model_building import build
from zoo.plugins.registry import registry
from zoo.pretrained import lookup
from zoo.training import engine, run_writer
from zoo.training.callbacks import Moment, Score
from zoo.training.engine import train
from zoo.training.run_folder import RunFolder
from zoo.training.validation import FRAMES, WORSE_FOR, Decline, Scorer, spread_samples

CPU = torch.device("cpu")


@pytest.fixture
def at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_writer, "SECONDS_BETWEEN_PREVIEWS", 0.0)
    monkeypatch.setattr(run_writer, "LARGEST_SHARE", 1e9)


def trained(film: Film, folder: Path, model: str = "ae", **changes: object) -> list[Moment]:
    moments: list[Moment] = []
    train(RunFolder(folder), config_of(model, film, **changes), film, CPU, watch=moments.append)
    return moments


def test_scores_are_told_logged_and_kept(film: Film, tmp_path: Path, at_every_step: None) -> None:
    moments = trained(film, tmp_path)
    steps = [moment.score.step for moment in moments if moment.score]
    # Each is told with the report after it; the last report has that of the final weights.
    assert steps == [*range(1, 23), 24]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["score"]["step"] for line in lines if "score" in line] == steps
    last = lines[-1]["score"]
    assert last.pop("step") == 24
    description = RunFolder(tmp_path).read()
    assert description is not None and description.score is not None
    assert {part: description.score[part] for part in last} == last
    assert description.score["mean_frame"].keys() == {"psnr"}


def test_the_final_score_is_that_of_the_weights_that_are_kept(film: Film, tmp_path: Path) -> None:
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
            drawn = model.decode(model.encode(pixels.float() / 255)).clamp(0, 1) * 255
        error = (drawn.round().double() - pixels).square().mean(dim=(1, 2, 3))
        expected = float((10 * torch.log10(255**2 / error)).mean())
        assert description.score[part]["psnr"] == pytest.approx(expected, abs=1e-3)


class Careless:
    """Draws on every generator there is, in evaluation too."""

    @staticmethod
    def made_of(architecture: type) -> type:
        class Drawing(architecture):  # type: ignore[misc, valid-type]
            name = "careless"

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

        return Drawing


def test_scoring_changes_nothing_about_the_training(
    film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry().models, "careless", Careless.made_of(registry().models["ae"]))
    monkeypatch.setitem(registry().origins, "careless", "test 0")
    outcomes = []
    for name, seconds in (("never", 1e9), ("always", 0.0)):
        monkeypatch.setattr(run_writer, "SECONDS_BETWEEN_PREVIEWS", seconds)
        monkeypatch.setattr(run_writer, "LARGEST_SHARE", 1e9)
        random.seed(3)
        np.random.seed(3)
        moments = trained(film, tmp_path / name, "careless")
        assert sum(bool(moment.score) for moment in moments) == (1 if name == "never" else 23)
        outcomes.append(RunFolder(tmp_path / name).weights.read_bytes())
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    "sampling", [STILLS, Sampling(window=4), Sampling(before=1, after=2)], ids=str
)
@pytest.mark.parametrize("cuts", [[], [3, 17, 18, 40]])
def test_samples_keep_to_their_part_and_to_one_shot(sampling: Sampling, cuts: list[int]) -> None:
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


def test_a_film_without_held_out_frames_is_scored_on_those_it_has(tmp_path: Path) -> None:
    film = scene_as_film(SIZE, count=12)
    film = film_from_frames(film.store.array, name="whole", fps=25.0, cuts=[], holdout=0.0)
    (moment,) = [moment for moment in trained(film, tmp_path) if moment.score]
    assert moment.score and set(moment.score.values) == {"seen"}


def scores(*values: float, metric: str = "psnr", start: int = 1) -> list[Score]:
    return [Score(100 * n, {"held_out": {metric: value}}) for n, value in enumerate(values, start)]


def lines(decline: Decline, told: list[Score]) -> list[str]:
    return [line for line in map(decline.line, told) if line]


def test_a_decline_is_said_once_with_the_step_of_the_best() -> None:
    falling = scores(20, 24, 25, 24.5, 24.4, 24.2, 24.0, 23.0, 22.0)
    (line,) = lines(Decline(), falling)
    assert "since step 300: PSNR was 25.00 dB there and is 24.00 dB at step 700" in line
    # Resumed, what was said before is not said again, and what was seen before counts.
    assert not lines(Decline(falling[:7]), falling[7:])
    assert lines(Decline(falling[:5]), falling[5:]) == [line]
    # After a new best there may be another.
    again = scores(26, 25, 25, 25, 25, start=10)
    assert len(lines(Decline(falling), again)) == 1


@pytest.mark.parametrize(
    "values",
    [
        (20, 21, 22, 23, 24, 25),
        (25, 24.9, 24.9, 24.9, 24.9, 24.9, 24.9),  # no worse than one can see
        (25, *([24] * (WORSE_FOR - 1)), 26, *([25] * (WORSE_FOR - 1)), 27),
    ],
)
def test_what_is_no_decline_is_not_called_one(values: tuple[float, ...]) -> None:
    assert not lines(Decline(), scores(*values))


def test_lpips_decides_where_it_is_scored() -> None:
    falling, better = scores(25, 24, 23, 22, 21, 20), scores(*[0.3] * 6, metric="lpips")
    both = [
        Score(p.step, {"held_out": {**p.values["held_out"], **b.values["held_out"]}})
        for p, b in zip(falling, better, strict=True)
    ]
    assert not lines(Decline(), both)
    (line,) = lines(Decline(), scores(0.2, 0.3, 0.3, 0.3, 0.3, metric="lpips"))
    assert "LPIPS was 0.200 there and is 0.300" in line


def test_a_missing_lpips_is_said_once_and_nothing_is_fetched(
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
    moments = trained(film, tmp_path / "run")
    (note,) = [note for moment in moments for note in moment.notes if "LPIPS" in note]
    assert note.startswith("LPIPS is not scored while training: no AlexNet weights (")
    assert all("lpips" not in m.score.values["seen"] for m in moments if m.score)


@pytest.mark.parametrize("budget", ["0.8s", "3000steps"])
def test_where_steps_are_slow_reports_come_by_the_clock_and_once_at_the_end(
    budget: str, film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "SECONDS_BETWEEN_REPORTS", 0.1)
    moments: list[Moment] = []
    stopped = engine.StopRequest()

    def watch(moment: Moment) -> None:
        moments.append(moment)
        stopped.asked = budget.endswith("steps") and len(moments) == 3

    folder = RunFolder(tmp_path)
    try:
        train(folder, config_of("ae", film, budget=budget), film, CPU, watch=watch, stop=stopped)
    except ZooError:
        assert [moment.step % 50 == 0 for moment in moments] != [True] * 3
        return
    assert len(moments) >= 3
    assert any(moment.step % 25 for moment in moments[:-1])
    description = folder.read()
    assert description is not None and description.training is not None
    assert moments[-1].step == description.training.steps
    assert moments[-1].progress == 1


def test_a_loss_that_is_no_number_is_seen_by_the_clock_too(
    film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = registry().models["ae"]

    class Breaks(plain):  # type: ignore[misc, valid-type]
        name = "breaks"

        def losses(self, batch, step):
            losses = super().losses(batch, step)
            if step.number >= 2:
                losses["autoencoder"].terms["pixel"].data.fill_(torch.nan)
            return losses

    monkeypatch.setitem(registry().models, "breaks", Breaks)
    monkeypatch.setitem(registry().origins, "breaks", "test 0")
    monkeypatch.setattr(engine, "SECONDS_BETWEEN_REPORTS", 0.0)
    with pytest.raises(ZooError, match="was not a number at step 2; there is no checkpoint yet"):
        train(RunFolder(tmp_path), config_of("breaks", film, budget="3000steps"), film, CPU)


def test_train_says_the_budget_and_the_scores(zoo: Callable, workspace: Path) -> None:
    words = ("train", "ae", "--film", "carphone", "--preset", "quick", "--size", "32x32")
    tiny = ("--latent", "4", "--device", "cpu", "--set", "width=8", "--budget", "1epochs-min9steps")
    said = zoo(*words, *tiny)
    assert said.code == 0, said.err
    out = " ".join(said.out.split())
    assert "32x32, 4 numbers a frame; 1 epoch, at least 9 steps: " in out
    assert "held out: PSNR " in out and " dB (the mean frame in their place: PSNR " in out
    assert "no frame is held out" not in out
    again = zoo(*words, *tiny)
    assert "was trained already" in again.out and "held out: PSNR" in again.out
    whole = zoo(*words, *tiny, "--holdout", "0")
    assert whole.code == 0, whole.err
    assert "no frame is held out (--holdout 0)" in " ".join(whole.out.split())
    assert "held out: PSNR" not in whole.out
    shown = zoo("runs", "show", next((workspace / "runs/carphone/ae").iterdir()).name)
    assert "a few frames, with the final weights" in shown.out
    assert "waiting for frames" in shown.out and "read in batches" in shown.out


def test_a_scorer_scores_a_film_of_one_frame() -> None:
    film = film_from_frames(
        np.full((1, 32, 32, 3), 90, np.uint8), name="one", fps=25.0, cuts=[], holdout=0
    )
    scorer = Scorer(film, STILLS, CPU)
    model = build(registry().models["ae"], SIZE, {"latent": 4, "width": 8}).eval()
    found, (originals, drawn) = scorer(model, 3)
    assert found.step == 3
    assert originals.shape == drawn.shape == (1, 3, 32, 32)
    assert scorer.final(found, film)["mean_frame"]["psnr"] == 60.0, "the frame is its own mean"
