"""Every metric over a film that streams by once, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo.api.metric import Metric, TemporalMetric, one_batch
from zoo.base.text import named


@torch.inference_mode()
def score_pairs(
    pairs: Iterable[tuple[Tensor, Tensor]], firsts: Sequence[int], metrics: Sequence[Metric]
) -> dict[str, npt.NDArray[np.float64]]:
    """Every metric on every frame: float64 (N,) a metric, NaN where it is not defined.

    `pairs` are batches of originals and reconstructions in the film's order, float (B, 3, H, W)
    in [0, 1]; `firsts` are the first frames of its shots. Raises ValueError if a batch has other
    reconstructions than originals, or a metric another shape than it should.
    """
    found: dict[str, list[Tensor]] = {metric.name: [] for metric in metrics}
    temporal = any(isinstance(metric, TemporalMetric) for metric in metrics)
    last: tuple[Tensor, ...] = ()
    for originals, drawn in pairs:
        if originals.shape != drawn.shape:
            raise ValueError(
                f"reconstructions {tuple(drawn.shape)} against originals {tuple(originals.shape)}"
            )
        # One layout for both: sums and differences of two layouts are slow, and so is LPIPS in
        # any but this one.
        frames = tuple(f.contiguous(memory_format=torch.channels_last) for f in (originals, drawn))
        if temporal:
            last = last or tuple(f[:1] for f in frames)
            earlier = tuple(torch.cat([b, f[:-1]]) for b, f in zip(last, frames, strict=True))
            last = tuple(f[-1:] for f in frames)
        with one_batch():
            for metric in metrics:
                here = (*frames, *earlier) if isinstance(metric, TemporalMetric) else frames
                values = metric(*here)
                _check(metric, values, (len(originals), *metric.frame_shape))
                found[metric.name].append(values)
    return {metric.name: _whole(metric, found[metric.name], firsts) for metric in metrics}


def _whole(
    metric: Metric, parts: Sequence[Tensor], firsts: Sequence[int]
) -> npt.NDArray[np.float64]:
    values = torch.cat(list(parts))
    if isinstance(metric, TemporalMetric):
        values[list(firsts)] = float("nan")
    one_a_frame = metric.over_film(values)
    _check(metric, one_a_frame, (len(values),))
    return one_a_frame.double().cpu().numpy()


def _check(metric: Metric, values: object, expected: tuple[int, ...]) -> None:
    if not isinstance(values, Tensor):
        raise ValueError(
            f"the metric {metric.name} gave {named(values)}; it gives a tensor of shape {expected}"
        )
    if tuple(values.shape) != expected or not values.is_floating_point():
        shown = f"{values.dtype} {tuple(values.shape)}".removeprefix("torch.")
        raise ValueError(
            f"the metric {metric.name} gave a tensor {shown}; it gives floats of shape {expected}"
        )
