"""MS-SSIM: how well structure is kept, coarse and fine."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from zoo import Metric, hookimpl
from zoo_plugins.metrics.structural_similarity import SMALLEST_WINDOW, all_scales, multiscale


class MsSsim(Metric):
    """Multiscale structural similarity of a frame: 1 for equal ones, 0 for unlike ones.

    Wang, Simoncelli and Bovik, "Multiscale Structural Similarity for Image Quality Assessment",
    Asilomar 2003: five scales, each half the size of the one before, with the published
    exponents, and windows as SSIM has them, 11x11 with sigma 1.5. The mean over red, green and
    blue. Frames of films may be too small for that: where the shorter side of a scale is less
    than 11, the window there is the widest odd one that fits, and scales on which not even 5x5
    fits are left out, with the other exponents divided by their sum. From a shorter side of 176
    on it is as published; 144 has 9x9 at the coarsest of five scales, 54 has four scales.
    """

    name = "ms_ssim"
    label = "MS-SSIM (RGB)"
    better = "higher"
    digits = 3
    source = (
        "Wang et al., Asilomar 2003; windows 11x11, at a coarse scale of a small frame the widest "
        "that fits; as many of five scales as have room for 5x5; mean over red, green and blue"
    )

    def __call__(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        """Compare two float (B, 3, H, W) in [0, 1], at least 5x5; float32 (B,) in [0, 1]."""
        if min(originals.shape[-2:]) < SMALLEST_WINDOW:
            raise ValueError(f"MS-SSIM needs sides of at least {SMALLEST_WINDOW}")
        return multiscale(all_scales(originals, reconstructions)).mean(1)


@hookimpl
def zoo_metrics() -> Sequence[type[Metric]]:
    """Offer MS-SSIM."""
    return [MsSsim]
