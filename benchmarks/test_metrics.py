"""How long each metric takes: 16 pairs of frames of 256x144 in one batch."""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from zoo import Unavailable
from zoo.plugins import registry


@pytest.mark.parametrize("name", sorted(registry().metrics))
def test_metric(benchmark: BenchmarkFixture, name: str) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        metric = registry().metrics[name](device)
    except Unavailable as reason:
        pytest.skip(str(reason))
    frames = (torch.rand(2, 16, 3, 144, 256) * 255).round().div(255).to(device)

    def measure() -> torch.Tensor:
        # Brought back to the host, as an evaluation does: that is what a reader waits for.
        return metric(frames[0], frames[1]).cpu()

    found = benchmark(measure)
    assert found.shape == (16,)
    benchmark.extra_info["frames_per_call"] = 16
