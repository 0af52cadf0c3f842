"""Means with intervals by shot, properties of frames, and scores by fifths of a trait."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from zoo.base.records import Summary
from zoo.evaluation.failure_slices import frame_properties, slice_scores
from zoo.evaluation.metrics import _interval, parts_of, summarise
from zoo.films.ingested_film import film_from_frames


def still_frames(levels: list[int]) -> np.ndarray:
    """One grey frame a level, uint8 (N, 8, 12, 3)."""
    return np.broadcast_to(np.array(levels, np.uint8)[:, None, None, None], (len(levels), 8, 12, 3))


def test_parts_of_another_film_are_all_other() -> None:
    film = film_from_frames(still_frames([10] * 60), name="a", cuts=[20, 40], holdout=0.3)
    own = parts_of(film, "a")
    assert set(own) == {"seen", "held_out"}
    assert not set(own["seen"]) & set(own["held_out"])
    assert parts_of(film, "b")["other"].tolist() == list(range(60))


def test_a_summary_is_of_the_frames_that_have_a_value() -> None:
    film = film_from_frames(still_frames([10] * 40), cuts=[20], holdout=0)
    values = np.arange(40.0)
    values[[0, 20]] = np.nan
    summary = summarise(values, np.arange(30), film)
    assert summary is not None
    finite = [v for v in range(30) if v not in (0, 20)]
    assert summary.frames == 28
    assert summary.mean == pytest.approx(np.mean(finite))
    assert (summary.lowest, summary.highest) == (1, 29)
    assert summarise(values, np.array([0, 20]), film) is None


def test_the_interval_is_of_shots_and_not_of_frames() -> None:
    # Ten shots, each of one value: frames say nothing that their shot does not.
    film = film_from_frames(still_frames([10] * 500), cuts=list(range(50, 500, 50)), holdout=0)
    by_shot = np.repeat(np.arange(10.0), 50)
    summary = summarise(by_shot, np.arange(500), film)
    assert summary is not None and summary.interval is not None
    low, high = summary.interval
    # The standard error of a mean of ten shots is 2.87 / sqrt(10) = 0.91.
    assert low is not None and high is not None
    # Student's t of nine degrees of freedom is 2.262: sd 3.028 of ten means.
    assert low == pytest.approx(4.5 - 2.262 * 3.028 / 10**0.5, abs=0.01)
    assert high == pytest.approx(4.5 + 2.262 * 3.028 / 10**0.5, abs=0.01)
    assert summary.shots == 10 and summary.sound_interval == summary.interval
    one_shot = film_from_frames(still_frames([10] * 500), holdout=0)
    alone = summarise(by_shot, np.arange(500), one_shot)
    assert alone is not None and alone.interval is None


def test_a_ratio_has_a_geometric_mean() -> None:
    film = film_from_frames(still_frames([10] * 40), cuts=list(range(5, 40, 5)), holdout=0)
    values = np.repeat([0.25, 4.0], 20)
    summary = summarise(values, np.arange(40), film, ratio=True)
    assert summary is not None and summary.mean == pytest.approx(1)
    assert summary.interval is not None
    low, high = summary.interval
    assert low and high and low * high == pytest.approx(1)
    values[3] = 0.0
    summary = summarise(values, np.arange(40), film, ratio=True)
    assert summary is not None and (summary.mean, summary.interval) == (0.0, None)
    every_other = np.arange(0, 40, 20)
    (found,) = slice_scores(
        {"brightness": np.array([1.0, 2.0] * 20)}, {"x": values}, every_other, {"x"}
    )
    assert found.scores["x"] == pytest.approx(1)


def test_properties_of_known_frames() -> None:
    frames = np.array(still_frames([0, 0, 100, 100, 30, 30]))
    frames[3, :, ::2] = 200  # Half the columns white, half grey.
    film = film_from_frames(frames, cuts=[4], fps=2.0, holdout=0)
    properties = frame_properties(film)
    assert properties["brightness"] == pytest.approx([0, 0, 100, 150, 30, 30], abs=1e-3)
    assert properties["contrast"] == pytest.approx([0, 0, 0, 50, 0, 0], abs=1e-3)
    assert properties["motion"][[1, 2, 5]] == pytest.approx([0, 100, 0], abs=1e-3)
    assert properties["motion"][3] == pytest.approx(100 / np.sqrt(2), abs=1e-3)
    assert np.isnan(properties["motion"][[0, 4]]).all()
    assert properties["shot length"].tolist() == [2.0] * 4 + [1.0] * 2


def test_properties_do_not_depend_on_where_chunks_end() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (130, 8, 12, 3)).astype(np.uint8)
    properties = frame_properties(film_from_frames(frames, holdout=0))
    luma = frames.astype(np.float64) @ [0.2126, 0.7152, 0.0722]
    wanted = np.sqrt(np.square(np.diff(luma, axis=0)).mean(axis=(1, 2)))
    np.testing.assert_allclose(properties["motion"][1:], wanted, rtol=1e-4)


def test_slices_find_the_dark_frames_that_fail() -> None:
    values = np.arange(100.0)
    scores = {"psnr": np.where(values < 20, 10.0, 30.0)}
    found = slice_scores({"brightness": values}, scores, np.arange(100))
    assert [part.frames for part in found] == [20] * 5
    assert [part.scores["psnr"] for part in found] == [10.0, 30.0, 30.0, 30.0, 30.0]
    assert (found[0].lowest, found[-1].highest) == (0, 99)


def test_slices_cut_every_part_at_the_same_edges() -> None:
    values = np.arange(100.0)
    some = slice_scores({"motion": values}, {"psnr": values}, np.array([3, 5, 97]))
    assert [(part.lowest, part.highest, part.frames) for part in some] == [(3, 5, 2), (97, 97, 1)]


def test_a_property_that_is_constant_or_unknown_gives_no_slices() -> None:
    assert slice_scores({"shot length": np.full(9, 4.0)}, {}, np.arange(9)) == []
    unknown = np.array([np.nan, 1.0, 2.0, 3.0])
    found = slice_scores({"motion": unknown}, {"psnr": np.arange(4.0)}, np.arange(4))
    assert sum(part.frames for part in found) == 3
    # As in a film whose every shot is a single frame; numpy would print a warning.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert slice_scores({"motion": np.full(3, np.nan)}, {}, np.arange(3)) == []


@pytest.mark.parametrize("shots", [2, 3, 7])
def test_few_shots_have_no_interval(shots: int) -> None:
    film = film_from_frames(
        still_frames([10] * 10 * shots), cuts=range(10, 10 * shots, 10), holdout=0
    )
    summary = summarise(np.arange(10.0 * shots), np.arange(10 * shots), film)
    assert summary is not None
    assert (summary.shots, summary.interval, summary.sound_interval) == (shots, None, None)


def test_an_interval_from_resampling_shots_is_not_taken_for_one_that_holds() -> None:
    old = Summary(frames=9, mean=1, sd=0, lowest=1, highest=1, interval=(0.9, 1.1))
    assert old.sound_interval is None


@pytest.mark.parametrize("shots", [8, 12, 30])
@pytest.mark.parametrize("unequal", [False, True])
def test_intervals_hold_the_mean_as_often_as_they_say(shots: int, unequal: bool) -> None:
    random = np.random.default_rng(shots)
    held, draws = 0, 600
    for _ in range(draws):
        lengths = 2 + random.geometric(0.05, shots) if unequal else np.full(shots, 10)
        levels = np.repeat(random.normal(0, 1, shots), lengths)
        values = levels + random.normal(0, 0.3, lengths.sum())
        low, high = _interval(values, np.repeat(np.arange(shots), lengths))
        held += low <= 0 <= high
    # By chance alone 600 draws at 95% lie within 1.8% of it.
    assert 0.93 < held / draws < (0.995 if unequal else 0.97)
