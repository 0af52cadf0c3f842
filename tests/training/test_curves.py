"""Learning curves as a picture, and the log they are read from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.tiny_runs import CPU, config_of
from zoo.api.recipe_and_events import TrainingEvent
from zoo.base.errors import BadInput
from zoo.base.interrupts import Interrupted, StopRequest
from zoo.films.ingested_film import Film
from zoo.training import curves_and_progress_page as curves
from zoo.training.curves_and_progress_page import plot_curves, spread_labels
from zoo.training.engine import train
from zoo.training.run_folder import RunFolder, last_entry, read_log


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


def test_one_panel_per_player_and_one_line_per_term(tmp_path: Path) -> None:
    one = write_log(tmp_path / "one", [{"a": {"x": 3.0 / n}} for n in range(1, 30)])
    two = write_log(
        tmp_path / "two",
        [{"a": {"x": 3.0 / n, "y": 1.0 * n}, "b": {"z": 2.0}} for n in range(1, 30)],
    )
    plot_curves(one, tmp_path / "one.png")
    plot_curves(two, tmp_path / "two.png")
    first, second = pixels(tmp_path / "one.png"), pixels(tmp_path / "two.png")
    assert second.shape[1] == first.shape[1]
    assert second.shape[0] - first.shape[0] == 100 * curves.PANEL_HEIGHT
    drawn = [
        [count(picture, colour) > 300 for colour in curves.LINES[:4]] for picture in (first, second)
    ]
    assert drawn == [[True, False, False, False], [True, True, True, False]]


def test_an_axis_is_logarithmic_only_if_all_values_are_positive(tmp_path: Path) -> None:
    def height_at_half(lowest: float) -> float:
        """Where the line is half way through the frames: 0 at the top of the panel, 1 below."""
        values = np.geomspace(1000, 1, 41).tolist()
        lines = [{"a": {"x": value}} for value in values] + [{"a": {"x": lowest}}]
        plot_curves(write_log(tmp_path / "log", lines), tmp_path / "c.png")
        wanted = [int(curves.LINES[0][at : at + 2], 16) for at in (1, 3, 5)]
        line = abs(pixels(tmp_path / "c.png") - wanted).max(axis=2) < 40
        top, bottom = 40, 270  # of the panel, in a picture of one
        return float(np.flatnonzero(line[top:bottom, 375]).mean()) / (bottom - top)

    assert height_at_half(1.0) == pytest.approx(0.5, abs=0.12)
    assert height_at_half(0.0) > 0.8


def test_names_are_not_parsed_as_formulas(tmp_path: Path) -> None:
    log = write_log(
        tmp_path / "log", [{"$\\frac{$": {"$x_$^": 1.0}}, {"$\\frac{$": {"$x_$^": 2.0}}]
    )
    plot_curves(log, tmp_path / "c.png")
    assert pixels(tmp_path / "c.png").size


def test_labels_are_moved_apart_and_keep_their_order() -> None:
    wanted = [0.5, 0.1, 0.52, 0.51, 0.99, 1.0]
    placed = spread_labels(wanted, 0.1)
    assert np.argsort(placed).tolist() == np.argsort(wanted).tolist()
    assert all(after - before > 0.0999 for before, after in pairwise(sorted(placed)))
    assert max(placed) <= 1.0
    assert spread_labels([0.2, 0.7], 0.1) == [0.2, 0.7]
    assert spread_labels([], 0.1) == []


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
    plot_curves(tmp_path / "empty", tmp_path / "no.png")
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


def test_curves_are_plotted_when_training_stops(film: Film, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    picture = folder.path / "curves.png"
    config = config_of("ae", film)
    stop = StopRequest()

    def stop_soon(event: TrainingEvent) -> None:
        assert not picture.exists()
        stop.asked = event.step >= 5

    with pytest.raises(Interrupted):
        train(folder, config, film, CPU, callback=stop_soon, stop=stop)
    early = pixels(picture)
    train(folder, config, film, CPU)
    assert (pixels(picture) != early).any()
