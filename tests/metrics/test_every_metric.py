"""What all metrics share that look at each frame alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.metrics.spoiling import CPU, STILL, blurred, noisy
from zoo import Metric
from zoo.plugins.registry import registry

every_metric = pytest.mark.parametrize("metric", STILL, indirect=True)


def test_the_built_in_metrics_are_registered() -> None:
    default = {"psnr", "ssim", "ms_ssim", "lpips", "sharpness", "flicker"}
    default |= {"motion_energy", "motion_correlation"}
    known = registry().metrics
    assert {name for name, metric in known.items() if metric.default} == default
    assert {name for name, metric in known.items() if not metric.default} == {"lpips_vgg", "vmaf"}


@every_metric
def test_identical_frames_get_the_best_there_is(metric: Metric, frames: Tensor) -> None:
    best = {"psnr": 60.0, "lpips": 0.0, "lpips_vgg": 0.0}.get(metric.name, 1.0)
    assert (metric(frames, frames) == best).all()


@every_metric
def test_a_shift_by_a_pixel_counts_and_less_than_another_picture(
    metric: Metric, frames: Tensor
) -> None:
    if metric.name == "sharpness":
        pytest.skip("a shifted frame is as sharp as before")
    worse = -1 if metric.better == "higher" else 1
    same, shifted, other, black = (
        worse * metric(frames, drawn)
        for drawn in (
            frames,
            frames.roll(1, dims=-1),
            frames.roll(1, dims=0),
            torch.zeros_like(frames),
        )
    )
    assert (same < shifted).all() and (shifted < other).all() and (shifted < black).all()


@every_metric
def test_one_finite_number_a_frame(metric: Metric, frames: Tensor) -> None:
    found = metric(frames, blurred(frames, 1))
    assert found.shape == (4,)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    black, white = torch.zeros_like(frames), torch.ones_like(frames)
    for x, y in ((frames, frames), (black, black), (black, white), (white, frames)):
        values = metric(x, y)
        # A flat original has no sharpness that could be kept.
        undefined = metric.name == "sharpness" and x is not frames
        assert values.isnan().all() if undefined else values.isfinite().all()


@every_metric
@pytest.mark.parametrize("spoilt", [blurred, noisy], ids=["blur", "noise"])
def test_more_damage_is_worse(metric: Metric, frames: Tensor, spoilt: object) -> None:
    much = (0, 1, 3, 9) if spoilt is blurred else (0.0, 0.02, 0.08, 0.3)
    found = torch.stack([metric(frames, spoilt(frames, m)) for m in much])  # type: ignore[operator]
    far = {"higher": found.neg(), "lower": found, "one": found.log().abs()}[metric.better]
    assert (far.diff(dim=0) > 0).all()


@every_metric
def test_neighbours_and_order_change_nothing(metric: Metric, frames: Tensor) -> None:
    spoilt = noisy(frames, 0.1)
    together = metric(frames, spoilt)
    alone = torch.cat([metric(x[None], y[None]) for x, y in zip(frames, spoilt, strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(
        metric(frames[order], spoilt[order]), together[order], rtol=1e-4, atol=1e-6
    )
    assert torch.equal(together, metric(frames, spoilt))


@every_metric
def test_one_wrong_frame_is_the_only_one_marked(metric: Metric, frames: Tensor) -> None:
    wrong = frames.clone()
    wrong[2] = frames[0]
    found, perfect = metric(frames, wrong), metric(frames, frames)
    apart = (found - perfect).abs() > 1e-4
    assert apart.tolist() == [False, False, True, False]


@every_metric
@pytest.mark.parametrize("size", [(32, 32), (34, 50), (54, 96)])
def test_any_size_from_32_up(metric: Metric, frames: Tensor, size: tuple[int, int]) -> None:
    cut = frames[..., : size[0], : size[1]]
    assert metric(cut, blurred(cut, 2)).isfinite().all()


@every_metric
def test_the_callers_precision_and_random_numbers_are_left_alone(
    metric: Metric, frames: Tensor
) -> None:
    expected = metric(frames, blurred(frames, 1))
    state = torch.get_rng_state()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = type(metric)(CPU)(frames, blurred(frames, 1))
    assert torch.equal(found, expected)
    assert torch.equal(state, torch.get_rng_state())
