"""Rounding of the weights that are kept, so that a decoder can be shipped in fewer bytes.

The rows of every trained matrix and kernel (what makes one output) have a uniform scale each, from
their lowest weight to their highest. What has one dimension, such as biases, stays as it is, as do
buffers and frozen weights: they are few, or not the model's own.
"""

from __future__ import annotations

from collections.abc import Container

import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder
from zoo.api.recipe import FULL

_SCALE = 8
"""Bytes of a row's lowest weight and step."""


def trained_matrices(model: Autoencoder) -> set[str]:
    """The names of the weights that rounding applies to."""
    return {n for n, p in model.named_parameters() if p.requires_grad and p.dim() > 1}


@torch.no_grad()
def round_weights(model: Autoencoder, names: Container[str], bits: int) -> None:
    """Round some weights of a model to 2 to the `bits` levels in each row; none at 32 bits."""
    if bits == FULL:
        return
    for name, weights in model.named_parameters():
        if name not in names:
            continue
        rows = weights.flatten(1)
        lowest, highest = rows.aminmax(dim=1, keepdim=True)
        step = (highest - lowest) / (2**bits - 1)
        levels = ((rows - lowest) / step.where(step > 0, 1)).round()
        weights.copy_((levels * step + lowest).reshape(weights.shape))


def stored_bytes(weights: Tensor, bits: int) -> int:
    """Bytes of a rounded tensor with its scales."""
    if bits == FULL:
        return weights.numel() * weights.element_size()
    return -(-weights.numel() * bits // 8) + _SCALE * len(weights)
