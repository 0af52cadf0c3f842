"""Motion correlation: whether the same places change from frame to frame as in the film."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo import Metric, TemporalMetric, hookimpl
from zoo_plugins.metrics.luma import ROUNDING, change, energy

LEAST = 2 * ROUNDING
"""Variance that rounding alone leaves in the difference of two frames."""
NONE = 1e-8
"""Variance below which only the rounding of sums is left."""


class MotionCorrelation(TemporalMetric):
    """Pearson's correlation, over pixels, of frame differences with the original's: -1 to 1.

    Of the change of BT.709 luma since the frame before: 1 where the reconstruction changes where
    and as the film does, 0 where it changes elsewhere or not at all. Not defined where the
    original's change varies over pixels by no more than rounding to 8 bits would leave: where
    nothing moves, or all grows brighter alike. It says nothing of how much changes: see motion
    energy.
    """

    name = "motion_correlation"
    label = "motion correlation"
    better = "higher"
    digits = 3
    source = "Pearson correlation over pixels of the change of BT.709 luma between neighbours"

    def __call__(  # type: ignore[override]
        self,
        originals: Tensor,
        reconstructions: Tensor,
        earlier_originals: Tensor,
        earlier_reconstructions: Tensor,
    ) -> Tensor:
        """Compare four float (B, 3, H, W) in [0, 1]; float32 (B,), or NaN."""
        x = _centred(change(originals, earlier_originals))
        y = _centred(change(reconstructions, earlier_reconstructions))
        x_variance, y_variance = energy(x), energy(y)
        # What does not change, or alike everywhere, has no variance and follows nothing.
        still = y_variance < NONE
        together = (x * y).mean(dim=(1, 2)) / (x_variance * y_variance).sqrt()
        correlation = together.masked_fill(still, 0).clamp(-1, 1)
        return torch.where(x_variance >= LEAST, correlation, torch.nan)


def _centred(pictures: Tensor) -> Tensor:
    return pictures - pictures.mean(dim=(1, 2), keepdim=True)


@hookimpl
def zoo_metrics() -> Sequence[type[Metric]]:
    """Offer motion correlation."""
    return [MotionCorrelation]
