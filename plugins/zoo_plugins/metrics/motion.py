"""Motion energy, motion correlation and flicker: how frames change from one to the next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from zoo import Metric, TemporalMetric, hookimpl
from zoo_plugins.metrics.luma import ROUNDING, change, energy, energy_ratio

LEAST_ENERGY = 2 * ROUNDING
"""Energy that rounding alone leaves in the difference of two frames."""


class _OfChanges(TemporalMetric, ABC):
    """Base of a metric of how luma changes from one frame to the next."""

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

    def compare(self, original: Tensor, reconstruction: Tensor) -> Tensor:
        """Ratio of the energies, (B,); NaN where the original does not move."""
        return energy_ratio(energy(reconstruction), energy(original), LEAST_ENERGY)


LEAST_VARIANCE = 2 * ROUNDING
"""Variance that rounding alone leaves in the difference of two frames."""
NONE = 1e-8
"""Variance below which only the rounding of sums is left."""


class MotionCorrelation(_OfChanges):
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

    def compare(self, original: Tensor, reconstruction: Tensor) -> Tensor:
        """Correlation over pixels, (B,); NaN where the original does not vary."""
        x, y = _centred(original), _centred(reconstruction)
        x_variance, y_variance = energy(x), energy(y)
        # What does not change, or alike everywhere, has no variance and follows nothing.
        still = y_variance < NONE
        together = (x * y).mean(dim=(1, 2)) / (x_variance * y_variance).sqrt()
        correlation = together.masked_fill(still, 0).clamp(-1, 1)
        return torch.where(x_variance >= LEAST_VARIANCE, correlation, torch.nan)


def _centred(pictures: Tensor) -> Tensor:
    return pictures - pictures.mean(dim=(1, 2), keepdim=True)


class Flicker(_OfChanges):
    """How much more or less mean luma changes than in the original, in 8-bit levels.

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

    def compare(self, original: Tensor, reconstruction: Tensor) -> Tensor:
        """Distance of the mean changes, (B,) from 0 up."""
        return (reconstruction.mean(dim=(1, 2)) - original.mean(dim=(1, 2))).abs()


@hookimpl
def zoo_metrics() -> Sequence[type[Metric]]:
    """Offer motion energy, motion correlation and flicker."""
    return [MotionEnergy, MotionCorrelation, Flicker]
