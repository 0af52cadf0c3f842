"""Flicker: whether brightness jumps from frame to frame where the film's does not."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from zoo import Metric, TemporalMetric, hookimpl
from zoo_plugins.metrics.luma import change


class Flicker(TemporalMetric):
    """By how much more or less mean luma changes than in the original, in 8-bit levels.

    | change of the reconstruction's mean BT.709 luma since the frame before - the original's |: 0
    where brightness follows the film's, at most 510. Of the whole frame: flicker of a part of it
    counts by its area, and two parts that flicker against each other cancel.
    """

    name = "flicker"
    label = "flicker"
    unit = "levels"
    better = "lower"
    digits = 2
    source = "difference of the changes of mean BT.709 luma between neighbours, without its sign"

    def __call__(  # type: ignore[override]
        self,
        originals: Tensor,
        reconstructions: Tensor,
        earlier_originals: Tensor,
        earlier_reconstructions: Tensor,
    ) -> Tensor:
        """Compare four float (B, 3, H, W) in [0, 1]; float32 (B,) from 0 up."""
        before = change(originals, earlier_originals).mean(dim=(1, 2))
        after = change(reconstructions, earlier_reconstructions).mean(dim=(1, 2))
        return (after - before).abs()


@hookimpl
def zoo_metrics() -> Sequence[type[Metric]]:
    """Offer flicker."""
    return [Flicker]
