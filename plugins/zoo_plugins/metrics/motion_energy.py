"""Motion energy: whether as much changes from frame to frame as in the film."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from zoo import Metric, TemporalMetric, hookimpl
from zoo_plugins.metrics.luma import ROUNDING, change, energy, energy_ratio

LEAST = 2 * ROUNDING
"""Energy that rounding alone leaves in the difference of two frames."""


class MotionEnergy(TemporalMetric):
    """Energy of frame differences, reconstruction over original: less is frozen, more is restless.

    The mean square over pixels of the change of BT.709 luma since the frame before, one over the
    other, within 0.001 to 1000. Not defined where the original changes by no more than rounding to
    8 bits would leave. It says how much changes, and not where: see motion correlation.
    """

    name = "motion_energy"
    label = "motion energy"
    better = "one"
    digits = 2
    source = (
        "mean square of the change of BT.709 luma between neighbours, reconstruction over original"
    )

    def __call__(  # type: ignore[override]
        self,
        originals: Tensor,
        reconstructions: Tensor,
        earlier_originals: Tensor,
        earlier_reconstructions: Tensor,
    ) -> Tensor:
        """Compare four float (B, 3, H, W) in [0, 1]; float32 (B,), or NaN."""
        before = energy(change(originals, earlier_originals))
        after = energy(change(reconstructions, earlier_reconstructions))
        return energy_ratio(after, before, LEAST)


@hookimpl
def zoo_metrics() -> Sequence[type[Metric]]:
    """Offer motion energy."""
    return [MotionEnergy]
