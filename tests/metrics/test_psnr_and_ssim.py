"""PSNR, SSIM and MS-SSIM: known answers, and other implementations."""

from __future__ import annotations

import math
from fractions import Fraction

import av.filter
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from zoo_plugins.metrics.ssim import multiscale_similarity

from tests.metrics.spoiling import blurred, made, noisy


@pytest.mark.parametrize(
    ("x", "y", "decibels"),
    [
        (0.0, 1.0, 0.0),
        (0.0, 1 / 255, 20 * math.log10(255)),
        (100 / 255, 110 / 255, 20 * math.log10(25.5)),
        (0.5019607843, 0.5019607843, 60.0),
    ],
    ids=["black against white", "one level", "ten levels", "identical"],
)
def test_psnr_of_flat_frames(x: float, y: float, decibels: float) -> None:
    flat = torch.ones(2, 3, 32, 48)
    found = made("psnr")(x * flat, y * flat)
    torch.testing.assert_close(found, torch.full((2,), decibels), rtol=0, atol=1e-4)


def test_psnr_sums_over_the_channels_before_the_logarithm() -> None:
    x = torch.zeros(1, 3, 32, 32)
    y = x.clone()
    y[:, 0] = 30 / 255  # Only red is wrong: the error of the frame is a third of 30².
    assert made("psnr")(x, y).item() == pytest.approx(10 * math.log10(255**2 / 300), abs=1e-4)


def test_psnr_stops_at_its_ceiling_and_not_before() -> None:
    x = torch.zeros(2, 3, 32, 32)
    y = x.clone()
    y[0, 0, 0, 0] = 1 / 255  # 83 dB
    y[1].view(-1)[: 3 * 32 * 32 // 10] = 1 / 255  # 58.1 dB
    found = made("psnr")(x, y)
    assert found[0] == 60
    assert found[1].item() == pytest.approx(48.1308 + 10, abs=0.01)


def test_psnr_is_that_of_torchmetrics_and_scikit_image(frames: Tensor) -> None:
    from skimage.metrics import peak_signal_noise_ratio as scikit
    from torchmetrics.functional.image import peak_signal_noise_ratio as torchmetrics

    spoilt = noisy(frames, 0.1)
    found = made("psnr")(frames, spoilt)
    theirs = torchmetrics(spoilt, frames, data_range=1.0, reduction="none", dim=(1, 2, 3))
    torch.testing.assert_close(found, theirs, rtol=0, atol=1e-3)
    for x, y, value in zip(frames, spoilt, found, strict=True):
        x8, y8 = ((255 * f).round().byte().numpy() for f in (x, y))
        assert value.item() == pytest.approx(scikit(x8, y8), abs=1e-3)


def test_ssim_of_identical_frames_is_exactly_one(frames: Tensor) -> None:
    assert (made("ssim")(frames, frames) == 1).all()


def test_ssim_of_flat_frames_is_the_paper_s_luminance_term() -> None:
    flat = torch.ones(1, 3, 32, 32)
    x, y, c1 = 51 / 255, 204 / 255, 0.01**2
    found = made("ssim")(x * flat, y * flat)
    assert found.item() == pytest.approx((2 * x * y + c1) / (x * x + y * y + c1), abs=1e-4)


def test_ssim_of_an_inverted_frame_is_negative() -> None:
    picture = noisy(torch.full((1, 3, 48, 48), 0.5), 0.1)
    assert made("ssim")(picture, 1 - picture).item() < -0.8


def test_ssim_is_that_of_scikit_image(frames: Tensor) -> None:
    from skimage.metrics import structural_similarity

    for spoilt in (noisy(frames, 0.1), blurred(frames, 3)):
        for x, y, value in zip(frames, spoilt, made("ssim")(frames, spoilt), strict=True):
            theirs = structural_similarity(
                x.double().numpy(),
                y.double().numpy(),
                channel_axis=0,
                data_range=1.0,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            assert value.item() == pytest.approx(theirs, abs=2e-5)


def test_ssim_is_that_of_torchmetrics_where_the_window_is_whole(frames: Tensor) -> None:
    from torchmetrics.functional.image import structural_similarity_index_measure

    spoilt = blurred(noisy(frames, 0.1), 1)
    _, by_pixel = structural_similarity_index_measure(
        spoilt, frames, sigma=1.5, data_range=1.0, reduction="none", return_full_image=True
    )
    # Theirs goes on over a mirrored border of five; ours ends where the frame ends.
    theirs = by_pixel[..., 5:-5, 5:-5].flatten(1).mean(1)
    torch.testing.assert_close(made("ssim")(frames, spoilt), theirs, rtol=0, atol=2e-5)


def test_ssim_refuses_a_frame_smaller_than_its_window() -> None:
    small = torch.zeros(1, 3, 32, 10)
    with pytest.raises(ValueError, match="11x11"):
        made("ssim")(small, small)


# MS-SSIM


def large() -> tuple[Tensor, Tensor]:
    """Two pictures of 192x208 with detail at every scale, and each spoilt."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.zeros(2, 3, 192, 208)
    for side in (6, 12, 48, 96):
        coarse = torch.rand(2, 3, side, side, generator=generator)
        pictures += F.interpolate(coarse, (192, 208), mode="bicubic") / 4
    pictures = (pictures.clamp(0, 1) * 255).round() / 255
    return pictures, noisy(blurred(pictures, 1), 0.1)


def test_ms_ssim_is_that_of_torchmetrics_where_windows_are_whole() -> None:
    from torchmetrics.functional.image import structural_similarity_index_measure

    x, y = large()
    expected = torch.ones(2, 3)
    colours = [frames.flatten(0, 1)[:, None] for frames in (y, x)]
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale:
            colours = [F.avg_pool2d(colour, 2) for colour in colours]
        wanted = {"return_full_image" if scale == 4 else "return_contrast_sensitivity": True}
        _, theirs = structural_similarity_index_measure(
            *colours, sigma=1.5, data_range=1.0, reduction="none", **wanted
        )
        # At the last scale theirs goes on over a mirrored border of five.
        theirs = theirs[..., 5:-5, 5:-5] if scale == 4 else theirs
        expected *= theirs.reshape(6, -1).mean(1).view(2, 3) ** weight
    torch.testing.assert_close(made("ms_ssim")(x, y), expected.mean(1), rtol=0, atol=1e-4)


def test_ms_ssim_is_near_that_of_torchmetrics_with_its_border() -> None:
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    x, y = large()
    theirs = multiscale_structural_similarity_index_measure(
        y, x, sigma=1.5, data_range=1.0, reduction="none"
    )
    torch.testing.assert_close(made("ms_ssim")(x, y), theirs, rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("size", "windows"),
    [((54, 96), (11, 11, 11, 5)), ((32, 40), (11, 11, 7)), ((10, 30), (9, 5)), ((144, 144), None)],
    ids=str,
)
def test_ms_ssim_of_small_frames_takes_the_windows_that_fit(
    size: tuple[int, int], windows: tuple[int, ...] | None
) -> None:
    x, y = (frames[..., : size[0], : size[1]] for frames in large())
    windows = windows or (11, 11, 11, 11, 9)
    torch.testing.assert_close(
        made("ms_ssim")(x, y), plain_ms_ssim(x, y, windows).float(), rtol=0, atol=1e-5
    )


def plain_ms_ssim(x: Tensor, y: Tensor, windows: tuple[int, ...]) -> Tensor:
    """By the paper's formulas in 64 bits, window by window."""
    x, y = x.double(), y.double()
    weights = torch.tensor([0.0448, 0.2856, 0.3001, 0.2363, 0.1333][: len(windows)])
    result = torch.ones(len(x), 3, dtype=torch.float64)
    for scale, window in enumerate(windows):
        at = torch.arange(window).double() - window // 2
        weigh = torch.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.5**2))
        weigh /= weigh.sum()
        a, b = (frames.unfold(2, window, 1).unfold(3, window, 1) for frames in (x, y))
        mean_a, mean_b = ((p * weigh).sum((-1, -2)) for p in (a, b))
        a, b = a - mean_a[..., None, None], b - mean_b[..., None, None]
        variances = ((a * a + b * b) * weigh).sum((-1, -2))
        factor = (2 * (a * b * weigh).sum((-1, -2)) + 0.03**2) / (variances + 0.03**2)
        if scale == len(windows) - 1:
            factor *= (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
        result *= factor.mean((-1, -2)).clamp(min=0) ** (weights[scale] / weights.sum())
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return result.mean(1)


def test_ms_ssim_of_an_inverted_frame_is_zero(frames: Tensor) -> None:
    assert (made("ms_ssim")(frames, 1 - frames) == 0).all()


def test_gradients_flow_through_the_loss_and_none_is_infinite(frames: Tensor) -> None:
    drawn = (1 - frames).requires_grad_()
    multiscale_similarity(drawn, frames).sum().backward()
    assert drawn.grad is not None and drawn.grad.isfinite().all()
    drawn = blurred(frames, 1).requires_grad_()
    similarity = multiscale_similarity(drawn, frames).mean()
    similarity.backward()
    assert drawn.grad is not None
    after = multiscale_similarity(drawn + 0.5 * drawn.grad, frames).mean()
    assert after > similarity


# ffmpeg's filters


def by_ffmpeg(filter_: str, x: Tensor, y: Tensor, key: str) -> list[float]:
    """What libavfilter's `psnr` or `ssim` finds, frame by frame, on planar RGB."""
    graph = av.filter.Graph()
    height, width = x.shape[-2:]
    inputs = [
        graph.add(
            "buffer",
            video_size=f"{width}x{height}",
            pix_fmt="gbrp",
            time_base="1/25",
            pixel_aspect="1/1",
            colorspace="0",
            range="2",
        )
        for _ in range(2)
    ]
    compare, sink = graph.add(filter_), graph.add("buffersink")
    for number, source in enumerate(inputs):
        source.link_to(compare, 0, number)
    compare.link_to(sink)
    graph.configure()
    found = []
    for number, pair in enumerate(zip(y, x, strict=True)):
        for source, pixels in zip(inputs, pair, strict=True):
            levels = (pixels * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
            frame = av.VideoFrame.from_ndarray(levels, format="gbrp")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            source.push(frame)
        found.append(float(sink.pull().metadata[key]))
    return found


def test_psnr_is_that_of_ffmpeg(frames: Tensor) -> None:
    for spoilt in (noisy(frames, 0.1), blurred(frames, 3)):
        theirs = by_ffmpeg("psnr", frames, spoilt, "lavfi.psnr.psnr_avg")
        # Theirs is printed to two digits.
        assert made("psnr")(frames, spoilt).tolist() == pytest.approx(theirs, abs=0.006)


def test_ssim_ranks_damage_as_ffmpeg_does(frames: Tensor) -> None:
    """Theirs has flat windows of 8x8 at every fourth pixel: values are near, the order is equal."""
    ours, theirs = [], []
    for spoilt in (blurred(frames, 1), blurred(frames, 4), noisy(frames, 0.05), noisy(frames, 0.2)):
        ours.append(made("ssim")(frames, spoilt))
        theirs.append(torch.tensor(by_ffmpeg("ssim", frames, spoilt, "lavfi.ssim.All")))
    a, b = torch.stack(ours), torch.stack(theirs)
    assert torch.equal(a.argsort(dim=0), b.argsort(dim=0))
    torch.testing.assert_close(a, b, rtol=0, atol=0.1)
