"""Checks of metrics: one function per promise, each given a `MetricSubject`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from zoo.api.metric import Metric, TemporalMetric, Unavailable, build_metric
from zoo.base.frame_size import FrameSize
from zoo.base.text import one_line
from zoo.conformance.fake_gpu import GPU, quiet
from zoo.conformance.fixtures import Broken, Inconclusive, expect, extremes, scene
from zoo.evaluation.metrics import score_pairs

SIZES = (FrameSize(64, 36), FrameSize(50, 38))
FRAMES, NEAR = 6, 1e-3
"""Frames of the scene, and how far numbers may lie apart that should be equal, of their size."""


@dataclass(frozen=True)
class MetricSubject:
    """A metric under test."""

    metric: type[Metric]

    def made(self) -> Metric:
        """An instance on the processor; Inconclusive where the metric is not available."""
        try:
            return build_metric(self.metric, torch.device("cpu"))
        except Unavailable as reason:
            raise Inconclusive(f"it is not available here: {reason}") from None

    def values(self, originals: Tensor, reconstructions: Tensor, batch: int = FRAMES) -> Tensor:
        """A value of each frame, (N,), measured in batches of so many."""
        pairs = zip(originals.split(batch), reconstructions.split(batch), strict=True)
        (found,) = score_pairs(pairs, [0], [self.made()]).values()
        return torch.from_numpy(found)


def noisy(frames: Tensor, level: float = 0.1) -> Tensor:
    """Frames with noise on them, in whole 255ths."""
    noise = torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    return ((frames + level * noise).clamp(0, 1) * 255).round() / 255


def says_what_it_is(subject: MetricSubject) -> None:
    """The label and the source are there, on one line each."""
    for attribute in ("label", "source"):
        text = getattr(subject.metric, attribute)
        expect(text.strip() and "\n" not in text, f"its {attribute} is {text!r}")


def gives_one_number_per_frame(subject: MetricSubject) -> None:
    """Each frame of any even size has one number, finite or NaN, whatever is in it."""
    for size in SIZES:
        for frames in (scene(FRAMES, size), extremes(size)):
            for reconstructions in (frames, noisy(frames)):
                values = subject.values(frames, reconstructions)
                expect(not values.isinf().any(), f"a frame of {size} has the value {values.max()}")


def is_defined_for_a_film(subject: MetricSubject) -> None:
    """Some frame of a moving scene with noise on it has a value."""
    frames = scene(FRAMES, SIZES[0])
    expect(not subject.values(frames, noisy(frames)).isnan().all(), "every frame has NaN")


def measures_a_frame_alone(subject: MetricSubject) -> None:
    """A frame has the same value in a batch as alone."""
    frames = scene(FRAMES, SIZES[0])
    reconstructions = noisy(frames)
    together, alone = (
        subject.values(frames, reconstructions),
        subject.values(frames, reconstructions, batch=1),
    )
    expect(_near(together, alone), f"{_listed(together)} together and {_listed(alone)} one by one")


def measures_the_same_twice(subject: MetricSubject) -> None:
    """The same frames have the same values each time."""
    frames = scene(FRAMES, SIZES[0])
    first, second = (subject.values(frames, noisy(frames)) for _ in range(2))
    expect(_near(first, second), f"{_listed(first)} and then {_listed(second)}")


def leaves_frames_as_they_are(subject: MetricSubject) -> None:
    """Frames that it is given, and that others are given after it, are not changed."""
    frames = scene(FRAMES, SIZES[0])
    given = [frames.clone(), noisy(frames)]
    if issubclass(subject.metric, TemporalMetric):
        given += [torch.cat([f[:1], f[:-1]]) for f in given]
    before = [each.clone() for each in given]
    subject.made()(*given)
    names = ("originals", "reconstructions", "earlier originals", "earlier reconstructions")
    for name, each, was in zip(names, given, before, strict=False):
        expect(torch.equal(each, was), f"it changes the {name}")


def works_on_a_gpu(subject: MetricSubject) -> None:
    """On a simulated GPU its tensors and its values are where the frames are."""
    frames = 4 if issubclass(subject.metric, TemporalMetric) else 2
    # What fails on the processor, too, is found by the other checks.
    subject.values(scene(2, SIZES[0]), noisy(scene(2, SIZES[0])))
    width, height = SIZES[0]
    try:
        with FakeTensorMode(), quiet(), torch.no_grad():
            metric = build_metric(subject.metric, GPU)
            values = metric(*(torch.rand(2, 3, height, width, device=GPU) for _ in range(frames)))
            where = values.device.type
    except Unavailable as reason:
        raise Inconclusive(f"it is not available here: {reason}") from None
    except Exception as error:
        # Tensors that were loaded, and modules that are moved, have no place among fake ones.
        if not re.search(r"two (different )?devices", str(error)):
            raise Inconclusive("its networks cannot be tried without a GPU") from None
        seen = f"on a simulated GPU: tensors are not on the device it was made for: {error}"
        raise Broken(one_line(seen)) from None
    expect(where == "cuda", f"on a simulated GPU: its values are on the {where}")


def prefers_originals_to_noise(subject: MetricSubject) -> None:
    """Frames as they were are better than frames with noise, by `better`."""
    frames = scene(FRAMES, SIZES[0])
    same, worse = (
        float(subject.values(frames, reconstructions).nanmean())
        for reconstructions in (frames, noisy(frames))
    )
    if math.isnan(same) or math.isnan(worse):
        raise Inconclusive("it has no value for the one or the other")
    better = subject.metric.better
    holds = {
        "higher": same > worse,
        "lower": same < worse,
        "one": min(same, worse) > 0 and abs(math.log(same)) < abs(math.log(worse)),
    }[better]
    expect(holds, f"{same:g} as they were and {worse:g} with noise, where {better!r} is better")


def _near(first: Tensor, second: Tensor) -> bool:
    return torch.allclose(first, second, rtol=NEAR, atol=NEAR * 1e-2, equal_nan=True)


def _listed(values: Tensor) -> str:
    return ", ".join(f"{value:.5g}" for value in values.tolist()[:3])


CHECKS: tuple[Callable[[MetricSubject], None], ...] = (
    says_what_it_is,
    gives_one_number_per_frame,
    is_defined_for_a_film,
    measures_a_frame_alone,
    measures_the_same_twice,
    leaves_frames_as_they_are,
    works_on_a_gpu,
    prefers_originals_to_noise,
)
