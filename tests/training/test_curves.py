"""Learning curves as a picture, and scalars for TensorBoard."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training.small import config_of
from zoo.base.errors import BadInput
from zoo.base.interrupts import StopRequest
from zoo.films.film import Film
from zoo.training import curves
from zoo.training.callbacks import Interrupted, Moment, scalars, together
from zoo.training.curves import draw_curves, spread
from zoo.training.engine import train
from zoo.training.run_folder import RunFolder, last_entry, read_log

CPU = torch.device("cpu")


def write_log(path: Path, lines: list[Mapping[str, Mapping[str, float]]]) -> Path:
    entries = [
        {"step": n, "frames": 8 * n, "seconds": n / 10, "losses": losses}
        for n, losses in enumerate(lines, start=1)
    ]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def count(picture: np.ndarray, colour: str) -> int:
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return int((abs(picture - wanted).max(axis=2) < 12).sum())


def test_a_panel_a_player_and_a_line_a_term(tmp_path: Path) -> None:
    one = write_log(tmp_path / "one", [{"a": {"x": 3.0 / n}} for n in range(1, 30)])
    two = write_log(
        tmp_path / "two",
        [{"a": {"x": 3.0 / n, "y": 1.0 * n}, "b": {"z": 2.0}} for n in range(1, 30)],
    )
    draw_curves(one, tmp_path / "one.png")
    draw_curves(two, tmp_path / "two.png")
    first, second = pixels(tmp_path / "one.png"), pixels(tmp_path / "two.png")
    assert second.shape[1] == first.shape[1]
    assert second.shape[0] - first.shape[0] == 100 * curves.PANEL_HEIGHT
    drawn = [
        [count(picture, colour) > 300 for colour in curves.LINES[:4]] for picture in (first, second)
    ]
    assert drawn == [[True, False, False, False], [True, True, True, False]]


def test_an_axis_is_logarithmic_only_where_all_values_are_positive(tmp_path: Path) -> None:
    def height_at_half(lowest: float) -> float:
        """Where the line is half way through the frames: 0 at the top of the panel, 1 below."""
        values = np.geomspace(1000, 1, 41).tolist()
        lines = [{"a": {"x": value}} for value in values] + [{"a": {"x": lowest}}]
        draw_curves(write_log(tmp_path / "log", lines), tmp_path / "c.png")
        wanted = [int(curves.LINES[0][at : at + 2], 16) for at in (1, 3, 5)]
        line = abs(pixels(tmp_path / "c.png") - wanted).max(axis=2) < 40
        top, bottom = 40, 270  # of the panel, in a picture of one
        return float(np.flatnonzero(line[top:bottom, 375]).mean()) / (bottom - top)

    assert height_at_half(1.0) == pytest.approx(0.5, abs=0.12)
    assert height_at_half(0.0) > 0.8


def test_names_that_look_like_formulas_are_names(tmp_path: Path) -> None:
    log = write_log(
        tmp_path / "log", [{"$\\frac{$": {"$x_$^": 1.0}}, {"$\\frac{$": {"$x_$^": 2.0}}]
    )
    draw_curves(log, tmp_path / "c.png")
    assert pixels(tmp_path / "c.png").size


def test_labels_are_moved_apart_and_keep_their_order() -> None:
    wanted = [0.5, 0.1, 0.52, 0.51, 0.99, 1.0]
    placed = spread(wanted, 0.1)
    assert np.argsort(placed).tolist() == np.argsort(wanted).tolist()
    assert all(after - before > 0.0999 for before, after in pairwise(sorted(placed)))
    assert max(placed) <= 1.0
    assert spread([0.2, 0.7], 0.1) == [0.2, 0.7]
    assert spread([], 0.1) == []


def test_a_log_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [{"a": {"x": float(n)}} for n in range(3000)])
    with log.open("a") as file:
        file.write('{"step": 3001, "fra')
    entries = read_log(log)
    assert len(entries) == 3000
    assert last_entry(log) == entries[-1]
    assert entries[-1].frames == 24_000
    assert read_log(tmp_path / "none") == []
    assert last_entry(tmp_path / "none") is None
    (tmp_path / "empty").touch()
    draw_curves(tmp_path / "empty", tmp_path / "no.png")
    assert not (tmp_path / "no.png").exists()


@pytest.mark.parametrize(
    "line", ["{}", "[1]", "nonsense", '{"step":1,"frames":1,"seconds":1,"losses":[]}']
)
def test_a_damaged_log_is_named_with_its_line(line: str, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [{"a": {"x": 1.0}}])
    with log.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(BadInput, match="log is damaged at line 2"):
        read_log(log)
    with pytest.raises(BadInput, match="log is damaged at its end"):
        last_entry(log)


def test_a_training_leaves_its_curves_when_it_rests(film: Film, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    picture = folder.path / "curves.png"
    config = config_of("ae", film)
    stop = StopRequest()

    def stop_soon(moment: Moment) -> None:
        assert not picture.exists()
        stop.asked = moment.step >= 5

    with pytest.raises(Interrupted):
        train(folder, config, film, CPU, watch=stop_soon, stop=stop)
    early = pixels(picture)
    train(folder, config, film, CPU)
    assert (pixels(picture) != early).any()


def moment(step: int, pixel: float) -> Moment:
    losses = {"autoencoder": {"pixel": pixel, "kl": pixel / 10}}
    return Moment(step, 100, step / 100, step * 8, step / 10, 80.0 + step, 0.25, None, losses)


def test_several_watchers_are_told_in_their_order() -> None:
    told: list[tuple[str, int]] = []
    watch = together(
        lambda moment: told.append(("one", moment.step)),
        lambda moment: told.append(("two", moment.step)),
    )
    watch(moment(3, 1.0))
    assert told == [("one", 3), ("two", 3)]


def test_scalars_of_a_resumed_run_are_one_curve(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with scalars(tmp_path / "tensorboard") as watch:
        assert not (tmp_path / "tensorboard").exists()  # nothing was told yet
        for step in (10, 20, 30, 40):
            watch(moment(step, 1.0))
    # Killed after 40, with a checkpoint at 25: 30 and 40 are told again.
    with scalars(tmp_path / "tensorboard") as watch:
        for step in (30, 40, 50):
            watch(moment(step, 2.0))

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


TRAIN = ("train", "ae", "--film", "carphone", "--preset", "quick", "--size", "32x32")
TINY = ("--latent", "4", "--device", "cpu", "--set", "width=8", "--budget", "8steps")


def test_train_writes_scalars_where_it_is_asked_to(zoo: Callable, workspace: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    assert zoo(*TRAIN, *TINY).code == 0
    assert not list(workspace.rglob("tensorboard"))
    said = zoo(*TRAIN, *TINY, "--tensorboard", "--overwrite")
    assert said.code == 0, said.err
    (run,) = (workspace / "runs" / "carphone" / "ae").iterdir()
    assert len(list((run / "tensorboard").glob("events.*"))) == 1


def test_a_missing_package_is_said_before_anything_is_done(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without_tensorboard(name: str, *others: object) -> object:
        if name.split(".")[0] == "tensorboard" or name == "torch.utils.tensorboard":
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_tensorboard)
    said = zoo(*TRAIN, *TINY, "--tensorboard")
    assert said.code == 2
    assert "pip install 'film-zoo[tensorboard]'" in said.err
    assert said.err.count("\n") == 1
    assert list(workspace.iterdir()) == []
