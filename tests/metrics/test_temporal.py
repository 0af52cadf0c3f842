"""What looks at a frame beside the one before it, and sharpness: known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.metrics.spoiling import blurred, made, noisy, rounded, scored

MOTION = ["motion_energy", "motion_correlation", "flicker"]


def test_an_identical_film_moves_as_the_original_does(moving: Tensor) -> None:
    found = scored(moving, moving, MOTION)
    assert (found["motion_energy"][1:] == 1).all()
    assert found["motion_correlation"][1:] == pytest.approx(1, abs=1e-6)
    assert (found["flicker"][1:] == 0).all()


def test_the_first_frame_of_a_shot_has_no_motion(moving: Tensor) -> None:
    found = scored(moving, noisy(moving, 0.05), MOTION, cuts=(4, 9))
    for values in found.values():
        assert np.flatnonzero(np.isnan(values)).tolist() == [0, 4, 9]


def test_half_the_change_has_a_quarter_of_the_energy() -> None:
    x = torch.zeros(3, 3, 32, 32)
    y = x.clone()
    x[1, :, :16] = 200 / 255
    y[1, :, :16] = 100 / 255
    x[2], y[2] = x[1], y[1]
    found = scored(x, y, MOTION)
    assert found["motion_energy"][1] == pytest.approx(0.25)
    assert found["motion_correlation"][1] == pytest.approx(1)
    assert found["flicker"][1] == pytest.approx(50, abs=1e-3)
    # From the second frame to the third nothing moves.
    assert np.isnan(found["motion_energy"][2])
    assert np.isnan(found["motion_correlation"][2])
    assert found["flicker"][2] == 0


def test_change_in_the_wrong_place_is_energy_without_correlation() -> None:
    x = torch.zeros(2, 3, 32, 32)
    y = x.clone()
    x[1, :, :16] = 100 / 255
    y[1, :, :, :16] = 100 / 255
    found = scored(x, y, MOTION)
    assert found["motion_energy"][1] == pytest.approx(1)
    assert found["motion_correlation"][1] == pytest.approx(0, abs=1e-6)
    assert scored(x, 1 - x, MOTION)["motion_correlation"][1] == pytest.approx(-1)


def test_a_frozen_film_has_no_motion_and_follows_none(moving: Tensor) -> None:
    found = scored(moving, moving[:1].expand_as(moving), MOTION)
    assert (found["motion_energy"][1:] == np.float32(0.001)).all()
    assert (found["motion_correlation"][1:] == 0).all()


def test_a_fade_moves_nothing_and_does_not_flicker() -> None:
    x = torch.stack([torch.full((3, 32, 32), level / 255) for level in (0, 10, 30)])
    found = scored(x, x, MOTION)
    assert np.isnan(found["motion_correlation"]).all()
    assert (found["flicker"][1:] == 0).all()
    assert (found["motion_energy"][1:] == 1).all()
    still = scored(x, x[:1].expand_as(x), MOTION)
    assert still["flicker"][1:] == pytest.approx([10, 20], abs=1e-3)


def test_weights_of_luma_are_those_of_bt_709() -> None:
    x = torch.zeros(4, 3, 32, 32)
    for colour in range(3):
        x[colour + 1, colour] = 1
    found = scored(x, torch.zeros_like(x), ["flicker"], cuts=())["flicker"]
    red, green, blue = 255 * 0.2126, 255 * 0.7152, 255 * 0.0722
    assert found[1:] == pytest.approx([red, green - red, green - blue], abs=1e-3)


def test_one_wrong_frame_counts_for_itself_and_the_next(moving: Tensor) -> None:
    wrong = moving.clone()
    wrong[5] = 1 - moving[5]
    right, found = scored(moving, moving, MOTION), scored(moving, wrong, MOTION)
    for name in MOTION:
        apart = np.flatnonzero(~np.isclose(right[name], found[name], equal_nan=True))
        assert apart.tolist() == [5, 6], name


def test_a_flickering_film_flickers_and_a_late_one_does_not_follow(moving: Tensor) -> None:
    level = torch.tensor([0.0, 10 / 255]).repeat(6)[:, None, None, None]
    flat = torch.full((12, 3, 32, 32), 100 / 255)
    assert scored(flat, flat + level, ["flicker"])["flicker"][1:] == pytest.approx(10, abs=1e-3)
    late = moving[[0, *range(11)]]
    follows = scored(moving, blurred(moving, 1), MOTION)["motion_correlation"][1:]
    lags = scored(moving, late, MOTION)["motion_correlation"][1:]
    assert lags.mean() < follows.mean() - 0.3


def test_sharpness_is_the_ratio_of_the_laplacians_energies(frames: Tensor) -> None:
    from scipy.ndimage import laplace

    spoilt = blurred(frames, 1)
    weights = np.array([0.2126, 0.7152, 0.0722])
    energies = [
        [np.square(laplace(np.tensordot(weights, f, 1))[1:-1, 1:-1]).mean() for f in film]
        for film in (frames.double().numpy(), spoilt.double().numpy())
    ]
    expected = np.array(energies[1]) / np.array(energies[0])
    assert made("sharpness")(frames, spoilt).tolist() == pytest.approx(expected, rel=1e-4)


def test_sharpness_scales_with_the_square_of_contrast_and_is_bounded(frames: Tensor) -> None:
    sharpness = made("sharpness")
    dark = rounded(frames * 0.5)
    half = rounded(dark * 0.5)
    torch.testing.assert_close(sharpness(dark, half), torch.full((4,), 0.25), rtol=0.05, atol=0)
    assert (sharpness(frames, torch.zeros_like(frames)) == 0.001).all()
    noise = torch.rand(4, 3, 54, 96, generator=torch.Generator().manual_seed(0)).round()
    faint = torch.full_like(noise, 0.5019607843)
    faint[:, :, ::4, ::4] += 4 / 255
    assert (sharpness(faint, noise) == 1000).all()
