"""LPIPS: the authors' distances, and weights that are the right ones or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from zoo_plugins.metrics import lpips

from tests.metrics.spoiling import CPU, blurred, made
from zoo import Unavailable
from zoo.plugins.registry import registry

PICTURES = Path(__file__).resolve().parents[3] / "shared" / "lpips"


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
    metric = made("lpips")
    assert (metric(frames, frames) == 0).all()
    # Measured with the weights that give the authors' distances, on one decoder's frames.
    softened = metric(frames, blurred(frames, 3))
    assert softened.tolist() == pytest.approx([0.253, 0.412, 0.452, 0.448], abs=0.01)
    # A slight shift matters less than another scene.
    shifted, other = frames.roll(1, dims=-1), frames.roll(1, dims=0)
    assert (metric(frames, shifted) < 0.5 * metric(frames, other)).all()


ALEXNET = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
WIDTHS = 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512
POSITIONS = 0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28
VGG16 = {n: (o, i, 3) for n, o, i in zip(POSITIONS, WIDTHS, (3, *WIDTHS), strict=False)}


@pytest.mark.parametrize(("name", "layers"), [("lpips", ALEXNET), ("lpips_vgg", VGG16)])
def test_no_weight_of_the_network_is_left_to_chance(
    name: str, layers: dict[int, tuple[int, int, int]]
) -> None:
    metric: Any = registry().metrics[name]
    features = {f"{n}.weight": torch.full((o, i, k, k), 0.5) for n, (o, i, k) in layers.items()}
    features |= {f"{n}.bias": torch.full((o,), 0.25) for n, (o, _, _) in layers.items()}
    heads = lpips.lpips_heads(metric.network, metric.heads_sha256)
    network = lpips.lpips_network(metric.network, features, heads)
    weights = dict(network.named_parameters())
    assert len(weights) == 2 * len(layers) + 5
    for key, weight in weights.items():
        assert not weight.requires_grad
        if key.startswith("net."):
            assert (weight == (0.5 if key.endswith("weight") else 0.25)).all(), key
        else:
            assert torch.equal(weight, heads[key]), key
    assert not any(module.training for module in network.modules())
    del features["10.weight"]
    with pytest.raises(KeyError, match=r"10\.weight"):
        lpips.lpips_network(metric.network, features, heads)


@pytest.mark.parametrize(("name", "title"), [("lpips", "AlexNet"), ("lpips_vgg", "VGG16")])
def test_lpips_without_weights_is_unavailable_and_says_why(
    name: str, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(Unavailable, match=rf"{title}.*ZOO_OFFLINE") as raised:
        registry().metrics[name](CPU)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["lpips", "lpips_vgg"])
def test_lpips_refuses_heads_of_another_version(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    metric: Any = registry().metrics[name]
    monkeypatch.setattr(lpips, "HEADS", "weights/v0.0")
    with pytest.raises(Unavailable, match=r"0\.1"):
        lpips.lpips_heads(metric.network, metric.heads_sha256)


def test_vgg16_compares_a_few_frames_at_a_time(
    frames: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric: Any = made("lpips_vgg")
    spoilt = blurred(frames, 1)
    together = metric(frames, spoilt)
    monkeypatch.setattr(type(metric), "frames_at_once", 3)
    torch.testing.assert_close(metric(frames, spoilt), together, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch before 2.9")
def test_lpips_convolves_in_full_precision_and_puts_the_switch_back(
    frames: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = made("lpips")
    conv, seen = torch.backends.cudnn.conv, []
    before = conv.fp32_precision

    def network(x: Tensor, y: Tensor) -> Tensor:
        seen.append((conv.fp32_precision, torch.is_autocast_enabled("cpu")))
        return torch.zeros(len(x), 1, 1, 1)

    monkeypatch.setattr(metric, "_network", network)
    try:
        conv.fp32_precision = "tf32"
        with torch.autocast("cpu", dtype=torch.bfloat16):
            metric(frames, frames)
        assert conv.fp32_precision == "tf32"
    finally:
        conv.fp32_precision = before
    assert seen == [("ieee", False)]
