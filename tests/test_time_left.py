"""How long a comparison will take still."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.cli.time_left import TimeLeft
from zoo.compare.plan import plan
from zoo.films.in_memory import film_of
from zoo.plugins import registry
from zoo.training.jobs import Settings


def test_a_waiting_cell_lasts_as_long_as_those_of_its_model() -> None:
    films = [
        film_of(np.zeros((40, 8, 12, 3), np.uint8), name=name, holdout=0) for name in ("a", "b")
    ]
    models = [registry().models[name] for name in ("ae", "vae")]
    cells = [
        cell
        for cell in plan(films, models, [Settings.choose("quick")], elsewhere=False)
        if cell.architecture in models
    ]
    now = 0.0
    left = TimeLeft(cells, clock=lambda: now)
    assert [(cell.film.name, cell.architecture.name) for cell in cells] == [
        ("a", "ae"),
        ("a", "vae"),
        ("b", "ae"),
        ("b", "vae"),
    ]
    assert left.seconds() is None
    left.started()
    now = 10.0
    left.finished(cells[0], found=False)
    # Nothing is known of the other model: it is taken to be like the first.
    assert left.seconds() == pytest.approx(30)
    left.started()
    now = 50.0
    left.finished(cells[1], found=False)
    assert left.seconds() == pytest.approx(10 + 40)
    left.started()
    now = 53.0
    assert left.seconds() == pytest.approx(7 + 40)
    left.finished(cells[2], found=True)
    assert left.seconds() == pytest.approx(40)
