"""Sharpness: how much fine detail a reconstruction has, whether correct or not."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from zoo import Metric, hookimpl
from zoo_plugins.metrics.luma import ROUNDING, energy, energy_ratio, luma

LEAST = 20 * ROUNDING
"""Energy from rounding alone: the squared coefficients of the Laplacian sum to 20."""


class Sharpness(Metric):
    """Ratio of fine detail, reconstruction to original: 1 is equal, less than 1 is blurred.

    Detail is the mean square of the Laplacian (4 at the pixel, -1 at its four neighbours, inside
    the frame) of BT.709 luma, after the focus measure of Subbarao, Choi and Nikzad, "Focusing
    techniques", Optical Engineering 32(11), 1993. Clipped to 0.001 to 1000. Undefined if the
    original has no more detail than 8-bit rounding: black, grey, white. Noise counts as detail.
    """

    name = "sharpness"
    label = "sharpness"
    better = "one"
    digits = 2
    source = (
        "energy of the Laplacian of BT.709 luma, reconstruction over original, after Subbarao et "
        "al., Optical Engineering 32(11), 1993"
    )

    def __call__(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        """Compare two float (B, 3, H, W) in [0, 1], at least 3x3; float32 (B,), or NaN."""
        before, after = (energy(_laplacian(luma(f))) for f in (originals, reconstructions))
        return energy_ratio(after, before, LEAST)


def _laplacian(pictures: Tensor) -> Tensor:
    """Laplacian of pictures (B, H, W), without padding: (B, H - 2, W - 2)."""
    middle = pictures[:, 1:-1, 1:-1] * 4
    middle.sub_(pictures[:, :-2, 1:-1]).sub_(pictures[:, 2:, 1:-1])
    return middle.sub_(pictures[:, 1:-1, :-2]).sub_(pictures[:, 1:-1, 2:])


@hookimpl
def zoo_metrics() -> Sequence[type[Metric]]:
    """Offer sharpness."""
    return [Sharpness]
