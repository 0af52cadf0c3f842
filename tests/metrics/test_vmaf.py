"""VMAF: the package's own values, shot by shot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.metrics.spoiling import blurred, noisy, scored
from zoo.evaluation import inference

vmaf_torch = pytest.importorskip("vmaf_torch")


def by_package(originals: Tensor, drawn: Tensor) -> list[float]:
    weights = torch.tensor([0.2126, 0.7152, 0.0722]).view(1, 3, 1, 1)
    x, y = (
        (16 + 219 * (frames * weights).sum(1, keepdim=True)).round()
        for frames in (originals, drawn)
    )
    with torch.inference_mode():
        return vmaf_torch.VMAF(clip_score=True)(x, y).flatten().tolist()


def test_vmaf_is_the_packages_on_each_shot(moving: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "BATCH", 3)
    # Now still, now moving: a frame's motion is the lesser of that before it and that after.
    film = moving[[0, 4, 4, 8, 8, 0, 9, 9, 9, 1, 7, 7]]
    drawn = noisy(film, 0.05)
    found = scored(film, drawn, ["vmaf"], cuts=(7,))["vmaf"]
    for shot in (slice(0, 7), slice(7, 12)):
        expected = by_package(film[shot], drawn[shot])
        assert np.isnan(found[shot][0])
        assert found[shot][1:] == pytest.approx(expected[1:], abs=0.05)


def test_vmaf_knows_the_same_from_the_blurred(moving: Tensor) -> None:
    some = moving[:4]
    same, soft, softer = (
        scored(some, drawn, ["vmaf"])["vmaf"][1:]
        for drawn in (some, blurred(some, 1), blurred(some, 4))
    )
    assert (same > 97).all() and (same > soft).all() and (soft > softer).all()
