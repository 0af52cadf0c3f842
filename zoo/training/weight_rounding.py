"""Rounding of weights, so that a decoder can be shipped in fewer bytes.

Each row of a matrix or kernel (the weights of one output) gets its own uniform scale, from its
lowest to its highest weight. One-dimensional tensors, such as biases, are small and not rounded. A
recipe rounds the trained matrices of the finished model; a film file those that decoding needs.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder
from zoo.api.recipe_and_events import FULL

_SCALE = 8
"""Bytes per row for its lowest weight and its step."""


def trained_matrices(model: Autoencoder) -> set[str]:
    """The names of the weights that a recipe's rounding applies to."""
    return {n for n, p in model.named_parameters() if p.requires_grad and p.dim() > 1}


def is_matrix(weights: Tensor) -> bool:
    """Whether a tensor can be rounded by its rows: a matrix, or a kernel, of real numbers."""
    return weights.is_floating_point() and weights.dim() > 1 and weights.numel() > 0


def quantise_rows(weights: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return levels of weights (R, ...), from 0 to 2**bits - 1, and each row's scale (R, 2).

    A row's scale is its lowest weight and the step from one level to the next. Levels are whole
    numbers of 8 bits, or of 16 where `bits` is more than 8.
    """
    rows = weights.flatten(1)
    lowest, highest = rows.aminmax(dim=1, keepdim=True)
    step = (highest - lowest) / (2**bits - 1)
    levels = ((rows - lowest) / step.where(step > 0, 1)).round()
    whole = levels.to(torch.uint8 if bits <= 8 else torch.uint16)
    return whole.reshape(weights.shape), torch.cat([lowest, step], 1)


def dequantise_rows(levels: Tensor, scale: Tensor) -> Tensor:
    """Return the weights (R, ...) for levels and scales (R, 2), in the type of the scales."""
    rows = levels.to(scale.dtype).flatten(1)
    return (rows * scale[:, 1:] + scale[:, :1]).reshape(levels.shape)


@torch.no_grad()
def round_weights(model: Autoencoder, names: Container[str], bits: int) -> None:
    """Round the named weights in place to 2**bits levels per row; at 32 bits, do nothing."""
    if bits == FULL:
        return
    for name, weights in _tensors(model):
        if name in names:
            weights.copy_(dequantise_rows(*quantise_rows(weights, bits)))


@contextmanager
def rounded(model: Autoencoder, names: Container[str], bits: int) -> Iterator[None]:
    """Round the named weights within the block, and restore them after it."""
    kept = {name: weights.detach().clone() for name, weights in _tensors(model) if name in names}
    round_weights(model, names, bits)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, weights in _tensors(model):
                if name in kept:
                    weights.copy_(kept[name])


def _tensors(model: Autoencoder) -> Iterator[tuple[str, Tensor]]:
    return chain(model.named_parameters(), model.named_buffers())


def stored_bytes(weights: Tensor, bits: int) -> int:
    """Bytes of a rounded tensor with its scales."""
    if bits == FULL:
        return weights.numel() * weights.element_size()
    return -(-weights.numel() * bits // 8) + _SCALE * len(weights)
