"""The cost of metrics: of each alone, and of all default ones against LPIPS alone."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from zoo import Metric, TemporalMetric, Unavailable
from zoo.api.samples_and_latents import BATCH
from zoo.evaluation.metrics import MetricSet, score_reconstruction
from zoo.films.ingested_film import film_from_frames
from zoo.plugins.registry import registry

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# On a CPU, the CPU time of this process, which other programs do not lengthen.
CLOCK = time.perf_counter if DEVICE.type == "cuda" else time.process_time
ALLOWED = 1.5
"""The most that all default metrics may cost, as a multiple of LPIPS alone."""
ROUNDS = 7


@pytest.mark.parametrize("name", sorted(registry().metrics))
def test_metric(benchmark: BenchmarkFixture, name: str) -> None:
    """Time a metric on one batch of 16 pairs of frames of 256x144."""
    try:
        metric = registry().metrics[name](DEVICE)
    except Unavailable as reason:
        pytest.skip(str(reason))
    frames = (torch.rand(4, 16, 3, 144, 256) * 255).round().div(255).to(DEVICE)
    given = frames if isinstance(metric, TemporalMetric) else frames[:2]

    def measure() -> torch.Tensor:
        # Copied to the host, as an evaluation does, so that the time includes the wait.
        return metric(*given).cpu()

    found = benchmark(measure)
    assert len(found) == 16
    benchmark.extra_info["frames_per_call"] = 16


def test_all_default_metrics_against_lpips_alone(
    benchmark: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Time both in turn on two batches of 256x144, on one thread; report the ratio per turn."""
    metric_set = MetricSet.load(DEVICE)
    lpips = [metric for metric in metric_set.metrics if metric.name == "lpips"]
    if not lpips:
        pytest.skip(metric_set.unavailable["lpips"])
    generator = np.random.default_rng(0)
    film = film_from_frames(generator.integers(0, 256, (2 * BATCH, 144, 256, 3), dtype=np.uint8))
    drawn = torch.rand(2, BATCH, 3, 144, 256, generator=torch.Generator().manual_seed(0))
    # In the layout that decoders usually return.
    drawn = (drawn * 255).round().div(255).to(DEVICE)

    def seconds(metrics: list[Metric]) -> float:
        start = CLOCK()
        score_reconstruction(film, drawn, metrics, DEVICE)
        return CLOCK() - start

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds(metric_set.metrics)
        alone, ratios = [], []
        for _ in range(ROUNDS):
            alone.append(seconds(lpips))
            ratios.append(seconds(metric_set.metrics) / alone[-1])
        benchmark.pedantic(seconds, (metric_set.metrics,), rounds=1)
    finally:
        torch.set_num_threads(threads)
    low, median, high = np.percentile(ratios, (25, 50, 75))
    benchmark.extra_info["ratio_to_lpips"] = ratios
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{len(metric_set.metrics)} default metrics cost {median:.2f} times LPIPS alone "
            f"(quartiles {low:.2f} to {high:.2f}, {ROUNDS} rounds; allowed {ALLOWED}); LPIPS alone "
            f"{1000 * np.median(alone) / len(film):.1f} ms a frame"
        )
