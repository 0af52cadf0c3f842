"""Frames scaled and laid out in a grid."""

from __future__ import annotations

import numpy as np
import pytest

from tests.films.making import rgb, texture
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.reconstruct.frame_conversion import FILTERS, Scaler
from zoo.reconstruct.reconstruct_film import FrameGrid


def test_nearest_repeats_every_pixel() -> None:
    picture = texture(32, 34, seed=3)
    larger = Scaler(FrameSize(32, 34), FrameSize(96, 102), "nearest")(picture)
    assert np.array_equal(larger, picture.repeat(3, axis=0).repeat(3, axis=1))


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_keeps_a_plain_colour(name: str) -> None:
    larger = Scaler(FrameSize(32, 32), FrameSize(80, 80), name)(rgb(32, 32, (10, 200, 90)))
    assert np.array_equal(larger, rgb(80, 80, (10, 200, 90)))


def test_the_same_size_changes_nothing() -> None:
    picture = texture(32, 32)
    assert np.array_equal(Scaler(FrameSize(32, 32), FrameSize(32, 32))(picture), picture)


def test_another_shape_is_kept_between_black_bars() -> None:
    larger = Scaler(FrameSize(32, 32), FrameSize(128, 64))(rgb(32, 32, (255, 255, 255)))
    assert larger.shape == (64, 128, 3)
    assert (larger[:, 32:96] == 255).all()
    assert not larger[:, :32].any() and not larger[:, 96:].any()


def test_an_unknown_filter_is_refused() -> None:
    with pytest.raises(BadInput, match="'sharp'; there are: nearest, bilinear"):
        Scaler(FrameSize(32, 32), FrameSize(64, 64), "sharp")


@pytest.mark.parametrize(
    ("count", "columns", "rows"),
    [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 2, 2), (5, 3, 2), (10, 4, 3)],
)
def test_panels_lie_in_their_places(count: int, columns: int, rows: int) -> None:
    panel = FrameSize(64, 48)
    grid = FrameGrid([f"model {n}" for n in range(count)], panel)
    given = [texture(64, 48, seed=n) for n in range(count)]
    picture = grid(given)
    assert picture.shape == (grid.size.height, grid.size.width, 3)
    assert len({left for left, _ in grid.places}) == columns
    assert len({top for _, top in grid.places}) == rows
    for one, (left, top) in zip(given, grid.places, strict=True):
        assert np.array_equal(picture[top : top + 48, left : left + 64], one)
        # The name: something bright above, and nothing of it beyond the panel.
        assert picture[top - 14 : top, left : left + 64].max() > 150
    assert all(side % 2 == 0 for side in grid.size)


def test_names_that_are_too_long_or_strange_stay_within_their_panel() -> None:
    grid = FrameGrid(["x" * 500, "a\nb"], FrameSize(40, 40))
    black = np.zeros((40, 40, 3), np.uint8)
    between = grid([black, black])[:, 40:44]
    assert (between == between[-1, 0]).all()
