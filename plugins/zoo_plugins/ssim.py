"""SSIM: how well structure is kept, window by window."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zoo import Metric, hookimpl

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03


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

    @torch.no_grad()
    def __call__(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        """Compare two float (B, 3, H, W) in [0, 1], at least 11x11; float32 (B,) in [-1, 1]."""
        if originals.shape != reconstructions.shape:
            raise ValueError(f"{tuple(originals.shape)} against {tuple(reconstructions.shape)}")
        if min(originals.shape[-2:]) < WINDOW:
            raise ValueError(f"SSIM needs frames of at least {WINDOW}x{WINDOW}")
        # With s = x + y and d = x - y, four blurred pictures do the work of five:
        # s² - d² = 4xy and s² + d² = 2(x² + y²), for means, variances and covariance alike.
        x, y = originals.float(), reconstructions.float()
        s, d = x + y, x - y
        s_mean, d_mean = _blurred(s).square_(), _blurred(d).square_()
        s_variance, d_variance = _blurred(s * s).sub_(s_mean), _blurred(d * d).sub_(d_mean)
        c1, c2 = 2 * K1**2, 2 * K2**2
        likeness = (s_mean - d_mean + c1) * (s_variance - d_variance + c2)
        likeness /= (s_mean + d_mean + c1) * (s_variance + d_variance + c2)
        return likeness.flatten(1).mean(1)


def _blurred(pictures: Tensor) -> Tensor:
    """Weigh every whole window by the Gaussian: (B, C, H, W) gives (B, C, H - 10, W - 10).

    The Gaussian separates into a row and a column. Sums of shifted pictures and not a
    convolution: faster here on a CPU, and always in full precision (no TF32, no autocast).
    """
    half = WINDOW // 2
    weights = [math.exp(-((offset / SIGMA) ** 2) / 2) for offset in range(-half, half + 1)]
    total = sum(weights)
    for axis in (-1, -2):
        length = pictures.shape[axis] - 2 * half
        blurred = pictures.narrow(axis, half, length) * (weights[half] / total)
        for offset in (offset for offset in range(WINDOW) if offset != half):
            part = pictures.narrow(axis, offset, length)
            blurred.add_(part, alpha=weights[offset] / total)
        pictures = blurred
    return pictures


@hookimpl
def zoo_metrics() -> Sequence[type[Metric]]:
    """Offer SSIM."""
    return [Ssim]
