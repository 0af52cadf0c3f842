from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.films.making import Pixels, drifting, encode, opened, rgb
from zoo.films.frame_store import Bars

WIDTH, HEIGHT = 320, 180


def boxed(inner: list[Pixels], width: int, height: int, left: int, top: int) -> list[Pixels]:
    frames = []
    for pixels in inner:
        frame = rgb(width, height, (0, 0, 0))
        frame[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        frames.append(frame)
    return frames


def bars_of(folder: Path, frames: list[Pixels]) -> Bars:
    film = opened(encode(folder / "clip.mp4", frames), folder)
    return film.store.manifest.parts[0].bars


def test_letterbox_is_found_behind_black_cards_and_dark_scenes(tmp_path: Path) -> None:
    bright = drifting(320, 120, 20)
    dark = [np.asarray(f // 30, dtype=np.uint8) for f in drifting(320, 120, 20, seed=1)]
    black = [rgb(320, 120, (0, 0, 0))] * 10
    clip = encode(tmp_path / "clip.mp4", boxed(black + dark + bright + dark, 320, 180, 0, 30))
    film = opened(clip, tmp_path, "96x36")
    assert film.store.manifest.parts[0].bars == Bars(top=30, bottom=30)
    assert film.frames[40][:, 0].mean() > 60 and film.frames[40][:, -1].mean() > 60


def test_pillarbox_is_found(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.mp4", boxed(drifting(240, 180, 30), 320, 180, 40, 0))
    film = opened(clip, tmp_path, "48x36")
    assert film.store.manifest.parts[0].bars == Bars(left=40, right=40)


def test_a_film_that_is_dark_at_its_edges_most_of_the_time_keeps_them(tmp_path: Path) -> None:
    night = boxed(drifting(320, 60, 50), 320, 180, 0, 60)
    day = drifting(320, 180, 10, seed=2)
    clip = encode(tmp_path / "clip.mp4", night + day)
    assert opened(clip, tmp_path).store.manifest.parts[0].bars == Bars()


def test_a_film_too_dark_to_assess_is_not_cropped(tmp_path: Path) -> None:
    dark = [np.asarray(f // 40, dtype=np.uint8) for f in drifting(320, 180, 30)]
    clip = encode(tmp_path / "clip.mp4", dark)
    assert opened(clip, tmp_path).store.manifest.parts[0].bars == Bars()


def test_subtitles_in_a_bar_do_not_make_it_picture(tmp_path: Path) -> None:
    frames = boxed(drifting(320, 120, 30), 320, 180, 0, 30)
    for frame in frames[5:20]:
        frame[158:170, 110:170] = 255
    clip = encode(tmp_path / "clip.mp4", frames)
    assert opened(clip, tmp_path, "96x36").store.manifest.parts[0].bars == Bars(top=30, bottom=30)


def test_bars_that_only_the_beginning_has_are_kept_and_said(tmp_path: Path) -> None:
    # The only key frame is letterboxed: what was found beforehand is wrong, the ingest sees it.
    frames = boxed(drifting(320, 120, 10), 320, 180, 0, 30) + drifting(320, 180, 50)
    clip = encode(tmp_path / "clip.mp4", frames, options={"g": "300", "sc_threshold": "0"})
    film = opened(clip, tmp_path)
    assert film.store.manifest.parts[0].bars == Bars()
    assert len(film) == 60


def on_black(*place: slice) -> list[Pixels]:
    """A locked shot: something moves in one part of a frame that is black otherwise."""
    frames = []
    for lively in drifting(WIDTH, HEIGHT, 20):
        frame = rgb(WIDTH, HEIGHT, (0, 0, 0))
        frame[place] = lively[place]
        frames.append(frame)
    return frames


def in_a_spotlight() -> list[Pixels]:
    """A round subject in the middle of black ground, of which as much is left on either side."""
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    disc = (across - WIDTH / 2) ** 2 + (down - HEIGHT / 2) ** 2 < 80**2
    return [np.where(disc[..., None], one, 0).astype(np.uint8) for one in drifting(320, 180, 20)]


@pytest.mark.parametrize(
    "frames",
    [
        lambda: on_black(slice(0, 140)),
        lambda: on_black(slice(50, 180)),
        lambda: on_black(slice(None), slice(0, 240)),
        lambda: on_black(slice(None), slice(150, 320)),
        in_a_spotlight,
    ],
    ids=["bottom", "top", "right", "left", "all round"],
)
def test_dark_ground_is_no_bar(tmp_path: Path, frames: Callable[[], list[Pixels]]) -> None:
    assert bars_of(tmp_path, frames()) == Bars()


def test_dark_ground_inside_a_letterbox_is_kept(tmp_path: Path) -> None:
    # Bars of 24 lines, and 40 lines of dark ground above the lower one.
    assert bars_of(tmp_path, on_black(slice(24, 116))) == Bars(top=24, bottom=24)


@pytest.mark.parametrize(
    ("rows", "bars"),
    [
        (slice(30, 144), Bars(top=30, bottom=36)),
        (slice(4, 180), Bars(top=4)),
        (slice(0, 176), Bars(bottom=4)),
    ],
    ids=["nearly even", "an edge at the top", "an edge at the bottom"],
)
def test_bars_need_not_be_equal_to_the_line(tmp_path: Path, rows: slice, bars: Bars) -> None:
    assert bars_of(tmp_path, on_black(rows)) == bars
