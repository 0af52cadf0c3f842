"""SSIM and MS-SSIM: structural similarity at one scale or at several, as metrics and as a loss.

SSIM: Wang, Bovik, Sheikh and Simoncelli, IEEE Transactions on Image Processing 13(4), 2004.
MS-SSIM: Wang, Simoncelli and Bovik, Asilomar Conference on Signals, Systems and Computers, 2003.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

import zoo
from zoo import Metric, hookimpl
from zoo_plugins.metrics.luma import full_precision

WINDOW, SMALLEST_WINDOW = 11, 5
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2
SCALE_WEIGHTS = 0.0448, 0.2856, 0.3001, 0.2363, 0.1333
"""Exponents of the scales, finest first, as published in 2003."""

LEAST_FACTOR = 1e-4
"""Minimum of a factor of MS-SSIM in a loss: fractional powers have no finite slope at 0."""

_TILE = 32
"""Windows per matrix product; in a larger product, more of the numbers are zeros."""
_PIECE = 2**19
"""Numbers that a CPU processes at a time, so that intermediate results stay in its cache."""


def number_of_scales(height: int, width: int) -> int:
    """The number of scales, at most five, at which the coarsest has room for a window of 5."""
    shortest = min(height, width)
    return max(1, sum(shortest >> scale >= SMALLEST_WINDOW for scale in range(len(SCALE_WEIGHTS))))


def largest_window(side: int) -> int:
    """The largest odd window that fits into a side, at most 11."""
    return min(WINDOW, (side - 1) // 2 * 2 + 1)


def similarities(x: Tensor, y: Tensor, windows: Sequence[int]) -> Tensor:
    """Compare two float (B, C, H, W) in [0, 1] at full size, at half the size, and so on.

    `windows` has the window of each scale. Returns float (B, S, 2, C) for S scales: the similarity,
    and contrast and structure alone, as means over all windows inside the picture. Differentiable.
    """
    # With s = x + y and d = x - y, four filtered pictures are enough instead of five:
    # s² - d² = 4xy and s² + d² = 2(x² + y²), for means, variances and covariance alike.
    pair = torch.stack([x + y, x - y])
    found = []
    with full_precision(x.device):
        for scale, window in enumerate(windows):
            pair = _halved(pair) if scale else pair
            found.append(_similarity(pair, window))
    return torch.stack(found, dim=1)


@zoo.shared
def all_scales(x: Tensor, y: Tensor) -> Tensor:
    """Compute `similarities` at as many scales as fit, each with the largest window that fits.

    The result, float (B, S, 2, 3), is shared by SSIM, which is the first scale, and MS-SSIM.
    """
    height, width = x.shape[-2:]
    scales = range(number_of_scales(height, width))
    windows = [largest_window(min(height, width) >> scale) for scale in scales]
    frames = max(1, _PIECE // x[0].numel()) if x.device.type == "cpu" else len(x)
    pieces = zip(x.float().split(frames), y.float().split(frames), strict=True)
    # Contiguous, because the products multiply rows of one colour.
    return torch.cat([similarities(a.contiguous(), b.contiguous(), windows) for a, b in pieces])


def multiscale(scales: Tensor, floor: float = 0.0) -> Tensor:
    """Combine `similarities` (B, S, 2, C), finest scale first, into MS-SSIM: (B, C) in [floor, 1].

    Uses contrast and structure of every scale, and luminance of the coarsest. With opposite
    contrasts, a mean can be negative and has no fractional power, so it is raised to `floor`. With
    fewer than five scales, exponents are divided by their sum.
    """
    weights = SCALE_WEIGHTS[: scales.shape[1]]
    factors = torch.cat([scales[:, :-1, 1], scales[:, -1:, 0]], dim=1).clamp(min=floor)
    # Exponents as Python numbers: a tensor would be copied to the device in every call.
    exponents = (weight / sum(weights) for weight in weights)
    raised = [one**power for one, power in zip(factors.unbind(1), exponents, strict=True)]
    # Not `torch.prod`: its gradient tests whether a factor is 0, which synchronises a GPU.
    return functools.reduce(torch.mul, raised)


def multiscale_similarity(reconstructions: Tensor, frames: Tensor) -> Tensor:
    """Differentiable MS-SSIM of float (B, 3, H, W) in [0, 1], averaged over colours: (B,).

    It is 1 for equal frames. Sides must be at least 5. Uses as many scales as have room for a
    window of 5, all with the largest window that fits into the coarsest, at most 11.
    """
    scales = number_of_scales(*frames.shape[-2:])
    window = largest_window(min(frames.shape[-2:]) >> (scales - 1))
    found = similarities(reconstructions, frames, [window] * scales)
    return multiscale(found, floor=LEAST_FACTOR).mean(dim=1)


def _similarity(pair: Tensor, window: int) -> Tensor:
    """Similarity, and contrast with structure, of sum and difference (2, B, C, H, W): (B, 2, C)."""
    means, squares = _weighed(pair, window), _weighed(pair * pair, window)
    squared_means = means * means
    s_mean, d_mean = squared_means
    s_variance, d_variance = squares.sub_(squared_means)
    contrast = (s_variance - d_variance).add_(2 * C2)
    contrast = contrast.div_((s_variance + d_variance).add_(2 * C2))
    likeness = (s_mean - d_mean).add_(2 * C1)
    likeness = likeness.div_((s_mean + d_mean).add_(2 * C1)) * contrast
    return torch.stack([likeness.mean(dim=(-1, -2)), contrast.mean(dim=(-1, -2))], dim=1)


def _weighed(pictures: Tensor, window: int) -> Tensor:
    """Filter with the Gaussian, without padding: (..., H, W) to (..., H - w + 1, W - w + 1).

    The Gaussian separates into rows and columns. Each is a product with a band matrix, computed in
    tiles so that few zeros are multiplied. This is much faster than a convolution.
    """
    at = torch.arange(window, device=pictures.device, dtype=torch.float32) - window // 2
    weights = torch.exp(-0.5 * (at / SIGMA).square())
    reach = _TILE + window - 1
    rows = weights.new_zeros(_TILE, reach + 1)
    rows[:, :window] = weights / weights.sum()
    # Flattening rows that are one too long and cutting them shifts each row by one more.
    band = rows.flatten()[: _TILE * reach].view(_TILE, reach)

    def tiles(length: int) -> list[tuple[slice, Tensor]]:
        starts = range(0, length - window + 1, _TILE)
        many = [min(_TILE, length - window + 1 - start) for start in starts]
        return [
            (slice(start, start + n + window - 1), band[:n, : n + window - 1])
            for start, n in zip(starts, many, strict=True)
        ]

    *outer, height, width = pictures.shape
    flat = pictures.reshape(-1, height, width)
    flat = _products(
        [(part.expand(len(flat), -1, -1), flat[:, rows]) for rows, part in tiles(height)], dim=1
    )
    every_row = flat.reshape(1, -1, width)
    weighed = _products(
        [(every_row[..., columns], part.T[None]) for columns, part in tiles(width)], dim=2
    )
    return weighed.view(*outer, height - window + 1, width - window + 1)


def _products(pairs: Sequence[tuple[Tensor, Tensor]], dim: int) -> Tensor:
    """Concatenate matrix products, (M, h, k) by (M, k, w), along `dim` (1 or 2)."""
    if torch.is_grad_enabled() and any(matrix.requires_grad for pair in pairs for matrix in pair):
        return torch.cat([torch.bmm(a, b) for a, b in pairs], dim)
    # Without gradients, each product is written into place, which saves a copy.
    sizes = [(a.shape[1], b.shape[2])[dim - 1] for a, b in pairs]
    shape = [len(pairs[0][0]), pairs[0][0].shape[1], pairs[0][1].shape[2]]
    shape[dim] = sum(sizes)
    joined = pairs[0][0].new_empty(shape)
    for (a, b), place in zip(pairs, joined.split(sizes, dim), strict=True):
        torch.bmm(a, b, out=place)
    return joined


def _halved(pictures: Tensor) -> Tensor:
    """Average 2x2 pixels, without an odd last row or column; faster than torch's pooling."""
    height, width = (side // 2 * 2 for side in pictures.shape[-2:])
    pictures = pictures[..., :height, :width]
    rows = pictures[..., ::2, :] + pictures[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) * 0.25


class Ssim(Metric):
    """Structural similarity of a frame: 1 for equal ones, about 0 for unlike ones, at least -1.

    Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to
    Structural Similarity", IEEE Transactions on Image Processing 13(4), 2004: Gaussian window
    of 11x11 with sigma 1.5, K1 0.01, K2 0.03, mean over all windows inside the frame, without
    scaling the frame. The paper uses grey pictures; here the score is the mean over red, green
    and blue, so that wrong colours count.
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


class MsSsim(Metric):
    """Multiscale structural similarity of a frame: 1 for equal ones, 0 for unlike ones.

    Wang, Simoncelli and Bovik, "Multiscale Structural Similarity for Image Quality Assessment",
    Asilomar 2003: five scales, each half the size of the previous one, with the published
    exponents and the windows of SSIM, 11x11 with sigma 1.5. The score is the mean over red, green
    and blue. Small frames need an adaptation: a scale with a side of less than 11 uses the largest
    odd window that fits, and scales with no room for 5x5 are left out, with the other exponents
    divided by their sum. From a shorter side of 176 on, it is as published; 144 has a window of
    9x9 at the coarsest of five scales, 54 has four scales.
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
    """Offer SSIM and MS-SSIM."""
    return [Ssim, MsSsim]
