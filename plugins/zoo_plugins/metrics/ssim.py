"""SSIM: how well structure is kept, window by window."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from zoo import Metric, hookimpl
from zoo_plugins.metrics.structural_similarity import WINDOW, all_scales


class Ssim(Metric):
    """Structural similarity of a frame: 1 for equal ones, about 0 for unlike ones, at least -1.

    Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to
    Structural Similarity", IEEE Transactions on Image Processing 13(4), 2004: Gaussian window
    of 11x11 with sigma 1.5, K1 0.01, K2 0.03, the mean over the windows that lie whole within
    the frame, at the frame's own size. The paper has grey pictures; here it is the mean over
    red, green and blue, so that a wrong colour counts.
    """

    name = "ssim"
    label = "SSIM (RGB)"
    better = "higher"
    digits = 3
    source = (
        "Wang et al., IEEE TIP 13(4), 2004; Gaussian window 11x11, sigma 1.5, no padding, mean "
        "over red, green and blue"
    )

    def __call__(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        """Compare two float (B, 3, H, W) in [0, 1], at least 11x11; float32 (B,) in [-1, 1]."""
        if min(originals.shape[-2:]) < WINDOW:
            raise ValueError(f"SSIM needs frames of at least {WINDOW}x{WINDOW}")
        return all_scales(originals, reconstructions)[:, 0, 0].mean(1)


@hookimpl
def zoo_metrics() -> Sequence[type[Metric]]:
    """Offer SSIM."""
    return [Ssim]
