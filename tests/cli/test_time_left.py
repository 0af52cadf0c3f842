"""How long a comparison will take still."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from zoo.api.codec import FilmCodec
from zoo.api.recipe_and_events import TrainingEvent
from zoo.cli.comparison_display import MOST_ROWS, MatrixDisplay, TimeLeft, start_lines
from zoo.cli.console import Console
from zoo.cli.progress import TrainingDisplay
from zoo.compare.cells import plan_cells, sweep_settings
from zoo.films.ingested_film import film_from_frames
from zoo.plugins.registry import registry
from zoo.training.settings import Settings


def test_a_waiting_cell_lasts_as_long_as_those_of_its_model() -> None:
    films = [
        film_from_frames(np.zeros((40, 8, 12, 3), np.uint8), name=name, holdout=0)
        for name in ("a", "b")
    ]
    models = [registry().models[name] for name in ("ae", "vae")]
    cells = [
        cell
        for cell in plan_cells(films, models, [Settings.choose("quick")], cross_film=False)
        if cell.architecture in models
    ]
    now = 0.0
    left = TimeLeft(cells, clock=lambda: now)
    assert [(cell.trained_on.name, cell.architecture.name) for cell in cells] == [
        ("a", "ae"),
        ("a", "vae"),
        ("b", "ae"),
        ("b", "vae"),
    ]
    assert left.seconds() is None
    left.started(cells[0])
    now = 10.0
    left.finished(cells[0], found=False)
    # Nothing is known of the other model: it is taken to be like the first.
    assert left.seconds() == pytest.approx(30)
    left.started(cells[1])
    now = 50.0
    left.finished(cells[1], found=False)
    assert left.seconds() == pytest.approx(10 + 40)
    left.started(cells[2])
    now = 53.0
    assert left.seconds() == pytest.approx(7 + 40)
    left.finished(cells[2], found=True)
    assert left.seconds() == pytest.approx(40)


def test_cells_that_are_run_at_once_share_the_time() -> None:
    film = film_from_frames(np.zeros((40, 8, 12, 3), np.uint8), name="a", holdout=0)
    model = registry().models["ae"]
    sweep = sweep_settings(Settings.choose("quick"), None, 5)
    cells = [c for c in plan_cells([film], [model], sweep) if c.architecture is model]
    now = 0.0
    left = TimeLeft(cells, clock=lambda: now)
    for cell in cells:
        left.started(cell)
    left.reported(cells[0])
    now = 10.0
    left.finished(cells[0], found=False)
    for cell in cells[1:3]:
        left.reported(cell)
    # Four are left, two at a time, and those that were heard of have only just begun.
    assert left.seconds() == pytest.approx((10 + 10 + 0 + 0) / 2)


def test_a_comparison_says_what_is_there_what_is_next_and_where_its_report_will_be(
    tmp_path: Path,
) -> None:
    films = [
        film_from_frames(np.zeros((40, 8, 12, 3), np.uint8), name=name, holdout=0)
        for name in ("a", "b")
    ]
    models = [registry().models[name] for name in ("ae", "vae")]
    settings = [Settings.choose("quick")]
    cells = plan_cells(films, models, settings, codecs=False)
    assert not [cell for cell in cells if issubclass(cell.architecture, FilmCodec)]
    assert len(cells) < len(plan_cells(films, models, settings))
    cells = [cell for cell in cells if cell.architecture in models]
    display = MatrixDisplay(Console(file=io.StringIO()), cells)
    report = f"report: {tmp_path / 'report.md'}"
    assert start_lines(display, [], tmp_path) == [f"{report} is written when all cells are done"]
    (tmp_path / "report.md").touch()
    last = f"{report} is replaced when all cells are done"
    assert start_lines(display, cells[:1], tmp_path) == [
        "1 of 8 cells found finished; next: vae on a",
        last,
    ]
    assert start_lines(display, cells[:4], tmp_path) == [
        "4 of 8 cells found finished; next: ae on a, evaluated on b",
        last,
    ]
    assert start_lines(display, cells, tmp_path) == ["all of 8 cells found finished", last]


def event_at(seconds: float, progress: float) -> TrainingEvent:
    return TrainingEvent(
        step=round(4000 * progress),
        steps=4000,
        progress=progress,
        frames=0,
        seconds=seconds,
        frames_per_second=44.6,
        data_stall=0.0,
        share_of_peak=None,
        losses={},
    )


def test_without_a_terminal_a_training_has_a_line_a_minute() -> None:
    film = film_from_frames(np.zeros((40, 8, 12, 3), np.uint8), name="a", holdout=0)
    models = [registry().models[name] for name in ("ae", "vae")]
    cells = plan_cells([film], models, [Settings.choose("quick")], codecs=False)
    events = [(30, 0.1), (75, 0.25), (120, 0.4), (136, 0.5), (300, 1.0)]
    expected = [
        "{}: 25%, step 1,000 of 4,000, 45 frames/s",
        "{}: 50%, step 2,000 of 4,000, 45 frames/s",
    ]
    for terminal in (False, True):
        one, many = (
            Console(file=io.StringIO(), force_terminal=terminal, width=40) for _ in range(2)
        )
        training, matrix = TrainingDisplay(one, "ae on a"), MatrixDisplay(many, cells)
        for at in events:
            training.on_event(event_at(*at))
            for cell in cells[:2]:
                matrix.training(cell, event_at(*at))
        lines = [cast("io.StringIO", each.file).getvalue().splitlines() for each in (one, many)]
        said = [line.format("ae on a") for line in expected]
        both = [line.format(name) for line in expected for name in ("ae on a", "vae on a")]
        assert lines == ([[], []] if terminal else [said, both])


def test_of_many_rows_those_in_progress_are_shown() -> None:
    film = film_from_frames(np.zeros((40, 8, 12, 3), np.uint8), name="a", holdout=0)
    model = registry().models["ae"]
    sweep = sweep_settings(Settings.choose("quick"), None, 100)
    cells = [c for c in plan_cells([film], [model], sweep) if c.architecture is model]
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=80)
    display = MatrixDisplay(console, cells)
    display.started(cells[70])
    record = cast("Any", SimpleNamespace(status="ok", reason=None))
    display.started(cells[0])
    display.finished(cells[0], record, found=True)
    console.print(display._render())
    said = cast("io.StringIO", console.file).getvalue()
    assert "seed 70" in said and said.count("seed ") == MOST_ROWS
    assert f"and {100 - MOST_ROWS} rows more" in said and "1/100" in said
