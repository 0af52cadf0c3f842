"""A film streams by once for all metrics, and batches leave no trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.metrics.spoiling import CHEAP, CPU, clip, noisy, scored
from zoo import BadInput, Metric, TemporalMetric, shared
from zoo.evaluation import inference
from zoo.evaluation.metrics import MetricSet, score_pairs
from zoo.plugins.registry import registry


def test_batch_size_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    film = clip(*range(60, 100))
    drawn = noisy(film, 0.05)
    found = {}
    for batch in (1, 7, 32):
        monkeypatch.setattr(inference, "BATCH", batch)
        found[batch] = scored(film, drawn, CHEAP, cuts=(11, 32))
    for batch in (1, 7):
        for name in CHEAP:
            np.testing.assert_allclose(found[batch][name], found[32][name], rtol=1e-5, atol=1e-5)


def test_all_metrics_together_find_what_each_finds_alone(moving: Tensor) -> None:
    drawn = noisy(moving, 0.05)
    together = scored(moving, drawn, CHEAP)
    for name in CHEAP:
        np.testing.assert_array_equal(scored(moving, drawn, [name])[name], together[name])


class Probe(TemporalMetric):
    name, label, source = "probe", "probe", "a test"

    def __init__(self) -> None:
        super().__init__(CPU)
        self.seen: list[tuple[float, ...]] = []

    def __call__(self, *frames: Tensor) -> Tensor:
        found = [f[:, 0, 0, 0] * 255 for f in frames]
        self.seen += [tuple(round(v) for v in row) for row in torch.stack(found, 1).tolist()]
        return found[0]


def numbered(count: int, first: int = 0) -> Tensor:
    """Frames that are each of the level of their number."""
    return torch.arange(first, first + count).view(-1, 1, 1, 1).expand(-1, 3, 4, 4) / 255


def test_each_frame_comes_with_the_one_before_it() -> None:
    probe = Probe()
    pairs = zip(numbered(5).split(2), numbered(5, 100).split(2), strict=True)
    found = score_pairs(pairs, [0, 3], [probe])["probe"]
    assert probe.seen == [
        (0, 100, 0, 100),
        (1, 101, 0, 100),
        (2, 102, 1, 101),
        (3, 103, 2, 102),
        (4, 104, 3, 103),
    ]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [np.nan, 1, 2, np.nan, 4])


class Sums(Metric):
    """Of two numbers per frame, and of the next frame's."""

    name, label, source = "sums", "sums", "a test"
    frame_shape = (2,)

    def __call__(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        return torch.stack([originals[:, 0, 0, 0], reconstructions[:, 0, 0, 0]], dim=1) * 255

    def over_film(self, values: Tensor) -> Tensor:
        return values.sum(1).cumsum(0)


def test_a_metric_may_settle_its_values_over_the_whole_film() -> None:
    pairs = zip(numbered(5).split(2), numbered(5, 1).split(2), strict=True)
    found = score_pairs(pairs, [0], [Sums(CPU)])["sums"]
    np.testing.assert_allclose(found, [1, 4, 9, 16, 25], rtol=1e-6)


def test_a_metric_that_gives_another_shape_is_named() -> None:
    class Wrong(Sums):
        frame_shape = ()

    with pytest.raises(
        ValueError,
        match=r"metric sums gave a tensor float32 \(2, 2\); it must give",
    ):
        score_pairs([(numbered(2), numbered(2))], [0], [Wrong(CPU)])

    class Lost(Sums):
        def over_film(self, values: Tensor) -> Tensor:
            return values

    with pytest.raises(
        ValueError,
        match=r"metric sums gave a tensor float32 \(2, 2\); it must give",
    ):
        score_pairs([(numbered(2), numbered(2))], [0], [Lost(CPU)])

    class Number(Sums):
        def __call__(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
            return 3.0  # type: ignore[return-value]

    with pytest.raises(ValueError, match=r"metric sums gave 3.0 \(float\); it must give a tensor"):
        score_pairs([(numbered(2), numbered(2))], [0], [Number(CPU)])


def test_a_lone_frame_is_not_spread_over_many() -> None:
    with pytest.raises(ValueError, match=r"\(1, 3, 4, 4\) against originals \(2, 3, 4, 4\)"):
        score_pairs([(numbered(2), numbered(1))], [0], [Sums(CPU)])


def test_shared_work_is_done_once_a_batch_and_for_the_same_frames_alone() -> None:
    calls = []

    @shared
    def work(frames: Tensor) -> Tensor:
        calls.append(float(frames[0, 0, 0, 0]))
        return frames[:, 0, 0, 0] * 255

    class One(Sums):
        frame_shape = ()

        def __call__(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
            return work(originals) - work(reconstructions)

        def over_film(self, values: Tensor) -> Tensor:
            return values

    class Two(One):
        name = "two"

    batches = [(numbered(2), numbered(2, 5)), (numbered(2, 7), numbered(2, 9))]
    found = score_pairs(batches, [0], [One(CPU), Two(CPU)])
    assert len(calls) == 4
    np.testing.assert_allclose(found["two"], [-5, -5, -2, -2], rtol=1e-5)
    frames = numbered(1)
    work(frames)
    frames = frames + 1
    work(frames)
    assert len(calls) == 6


def test_what_is_not_default_is_measured_when_asked_for() -> None:
    known = registry().metrics
    default = [name for name, metric in known.items() if metric.default]
    assert [metric.name for metric in MetricSet.load(CPU).requested] == default
    opened = MetricSet.load(CPU, "psnr, flicker,psnr")
    assert sorted(metric.name for metric in opened.metrics) == ["flicker", "psnr"]
    assert opened.unavailable == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("psnr,flickr", r"no metric is called 'flickr' \(did you mean 'flicker'\?\)"),
        ("vmaff", "did you mean 'vmaf'"),
        ("defualt", "did you mean 'default'"),
        ("", "no metric is named; there are: "),
        (" , ", "no metric is named"),
    ],
)
def test_a_metric_that_is_not_there_is_bad_input(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        MetricSet.load(CPU, text)


def test_all_opens_every_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"psnr": registry().metrics["psnr"], "sums": Sums, "vmaf": registry().metrics["vmaf"]}
    monkeypatch.setattr(registry(), "metrics", known)
    monkeypatch.setitem(__import__("sys").modules, "vmaf_torch", None)
    everything = MetricSet.load(CPU, "all")
    assert [metric.name for metric in everything.requested] == ["psnr", "sums", "vmaf"]
    assert "needs the extra 'vmaf': `pip install" in everything.unavailable["vmaf"]
    assert [metric.name for metric in MetricSet.load(CPU, "default,vmaf").requested] == list(known)
    assert [metric.name for metric in MetricSet.load(CPU).requested] == ["psnr", "sums"]
