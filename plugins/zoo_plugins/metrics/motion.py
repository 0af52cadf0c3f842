"""Motion energy, motion correlation and flicker: metrics of changes between frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from zoo import Metric, TemporalMetric, hookimpl
from zoo_plugins.metrics.luma import ROUNDING, change, energy, energy_ratio

LEAST_ENERGY = 2 * ROUNDING
"""Energy of the difference of two frames from rounding alone."""


class _OfChanges(TemporalMetric, ABC):
    """Base of metrics of the change of luma between consecutive frames."""

    def __call__(  # type: ignore[override]
        self,
        originals: Tensor,
        reconstructions: Tensor,
        earlier_originals: Tensor,
        earlier_reconstructions: Tensor,
    ) -> Tensor:
        """Compare four float (B, 3, H, W) in [0, 1]; float32 (B,), or NaN."""
        return self.compare(
            change(originals, earlier_originals),
            change(reconstructions, earlier_reconstructions),
        )

    @abstractmethod
    def compare(self, original: Tensor, reconstruction: Tensor) -> Tensor:
        """Compare two changes (B, H, W), in 8-bit levels: (B,)."""


class MotionEnergy(_OfChanges):
    """Ratio of motion, reconstruction to original: 1 is equal, less is frozen, more is restless.

    Motion is the mean square over pixels of the change of BT.709 luma since the previous frame.
    The ratio is clipped to 0.001 to 1000. Undefined if the original changes by no more than 8-bit
    rounding. It measures how much changes, but not where: see motion correlation.
    """

    name = "motion_energy"
    label = "motion energy"
    better = "one"
    digits = 2
    source = (
        "mean square of the change of BT.709 luma between neighbours, reconstruction over original"
    )

    def compare(self, original: Tensor, reconstruction: Tensor) -> Tensor:
        """Ratio of the energies (B,); NaN if the original does not move."""
        return energy_ratio(energy(reconstruction), energy(original), LEAST_ENERGY)


LEAST_VARIANCE = 2 * ROUNDING
"""Variance of the difference of two frames from rounding alone."""
NONE = 1e-8
"""Variance below which a value can be a rounding error of sums."""


class MotionCorrelation(_OfChanges):
    """Correlation of motion in the reconstruction with motion in the original: -1 to 1.

    Pearson's correlation over pixels of the change of BT.709 luma since the previous frame. It is
    1 if the reconstruction changes in the same places and ways as the film, and 0 if it changes
    elsewhere or not at all. Undefined if the original's change varies over pixels by no more than
    8-bit rounding: if nothing moves, or if the whole frame brightens equally. It does not measure
    how much changes: see motion energy.
    """

    name = "motion_correlation"
    label = "motion correlation"
    better = "higher"
    digits = 3
    source = "Pearson correlation over pixels of the change of BT.709 luma between neighbours"

    def compare(self, original: Tensor, reconstruction: Tensor) -> Tensor:
        """Correlation over pixels (B,); NaN if the original's change does not vary."""
        x, y = _centred(original), _centred(reconstruction)
        x_variance, y_variance = energy(x), energy(y)
        # A change that is the same everywhere, or 0, has no variance: it correlates with nothing.
        still = y_variance < NONE
        together = (x * y).mean(dim=(1, 2)) / (x_variance * y_variance).sqrt()
        correlation = together.masked_fill(still, 0).clamp(-1, 1)
        return torch.where(x_variance >= LEAST_VARIANCE, correlation, torch.nan)


def _centred(pictures: Tensor) -> Tensor:
    return pictures - pictures.mean(dim=(1, 2), keepdim=True)


class Flicker(_OfChanges):
    """Error in the change of a frame's mean luma since the previous frame, in 8-bit levels.

    The absolute difference between the changes of mean BT.709 luma in the reconstruction and in
    the original: 0 if brightness follows the film, at most 510. It measures the whole frame: if a
    part flickers, it counts by its area, and parts that flicker in opposite ways cancel out.
    """

    name = "flicker"
    label = "flicker"
    unit = "levels"
    better = "lower"
    digits = 2
    source = "difference of the changes of mean BT.709 luma between neighbours, without its sign"

    def compare(self, original: Tensor, reconstruction: Tensor) -> Tensor:
        """Absolute difference of the mean changes: (B,), at least 0."""
        return (reconstruction.mean(dim=(1, 2)) - original.mean(dim=(1, 2))).abs()


@hookimpl
def zoo_metrics() -> Sequence[type[Metric]]:
    """Offer motion energy, motion correlation and flicker."""
    return [MotionEnergy, MotionCorrelation, Flicker]
