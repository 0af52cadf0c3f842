"""Luma in full precision and energies of luma, shared by several metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

import zoo

WEIGHTS = 0.2126, 0.7152, 0.0722
"""Weights of R', G' and B' (ITU-R BT.709-6, item 3.2), applied without linearising."""
ROUNDING = sum(weight**2 for weight in WEIGHTS) / 12
"""Variance of luma from rounding red, green and blue to whole levels, in levels²."""
LEAST_RATIO, MOST_RATIO = 1e-3, 1e3
"""Limits of energy ratios (30 dB up or down), so that every ratio has a logarithm."""


@zoo.shared
def luma(frames: Tensor) -> Tensor:
    """BT.709 luma of float (B, 3, H, W) in [0, 1], in 8-bit levels: float32 (B, H, W), 0 to 255."""
    # Filled on the device: a tensor made on the host would be copied in every call.
    filled = [
        frames.new_full((1, 1, 1, 1), 255 * weight, dtype=torch.float32) for weight in WEIGHTS
    ]
    weights = torch.cat(filled, dim=1)
    with full_precision(frames.device):
        # A convolution works in either memory format, channels first or last.
        return torch.conv2d(frames.float(), weights).squeeze(1)


@zoo.shared
def change(frames: Tensor, earlier: Tensor) -> Tensor:
    """Change of luma since the earlier frames, in 8-bit levels: float32 (B, H, W)."""
    return luma(frames) - luma(earlier)


def energy(pictures: Tensor) -> Tensor:
    """Mean square of each picture in (B, H, W): (B,)."""
    return torch.linalg.vector_norm(pictures, dim=(1, 2)).square() / pictures[0].numel()


def energy_ratio(reconstructions: Tensor, originals: Tensor, least: float) -> Tensor:
    """Ratio of energies (B,), clipped to 0.001 to 1000; NaN if the original's is under `least`."""
    ratio = (reconstructions / originals).clamp(LEAST_RATIO, MOST_RATIO)
    return torch.where(originals >= least, ratio, torch.nan)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Use full 32-bit products and convolutions: no autocast, no TF32, no bfloat16."""
    with ExitStack() as stack:
        stack.enter_context(torch.autocast(device.type, enabled=False))
        if hasattr(torch.backends.cudnn, "conv"):
            cuda, cudnn, mkldnn = _backends()
            for switch in (cuda.matmul, cudnn.conv, mkldnn.matmul, mkldnn.conv):
                stack.callback(setattr, switch, "fp32_precision", switch.fp32_precision)
                switch.fp32_precision = "ieee"
        else:  # torch before 2.9: one switch for cuDNN, one for matrix products
            flags = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
            stack.enter_context(flags)
            before = torch.get_float32_matmul_precision()
            stack.callback(torch.set_float32_matmul_precision, before)
            torch.set_float32_matmul_precision("highest")
        yield


def _backends() -> tuple[Any, Any, Any]:
    # torch's type stubs lack some of these attributes.
    return torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn
