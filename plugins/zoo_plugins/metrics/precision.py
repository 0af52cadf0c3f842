"""Measures are taken with all 32 bits, whatever precision their caller works in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Multiply and convolve with all 32 bits: no autocast, no TF32, no bfloat16 in their place."""
    with ExitStack() as stack:
        stack.enter_context(torch.autocast(device.type, enabled=False))
        if hasattr(torch.backends.cudnn, "conv"):
            cuda, cudnn, mkldnn = _backends()
            for switch in (cuda.matmul, cudnn.conv, mkldnn.matmul, mkldnn.conv):
                stack.callback(setattr, switch, "fp32_precision", switch.fp32_precision)
                switch.fp32_precision = "ieee"
        else:  # torch before 2.9 has a switch for all of cuDNN and one for every product.
            flags = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
            stack.enter_context(flags)
            before = torch.get_float32_matmul_precision()
            stack.callback(torch.set_float32_matmul_precision, before)
            torch.set_float32_matmul_precision("highest")
        yield


def _backends() -> tuple[Any, Any, Any]:
    # torch's own types do not know all of their switches.
    return torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn
