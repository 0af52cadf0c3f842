"""Exponential moving average (EMA) of a model's weights."""

from __future__ import annotations

import math

import torch
from torch import nn

from zoo.api.autoencoder import Autoencoder
from zoo.plugins.model_building import inference_copy

WARM_UP_POWER = 2 / 3
"""After n steps the decay is at most 1 - n^-power, so that early weights are soon forgotten."""
LARGEST_EMA_DECAY = 0.9999


class WeightEMA:
    """EMA of trained parameters; buffers and frozen parameters are copied.

    What a model changes by itself (batch statistics, a codebook) consists of values that belong
    together, so it is never averaged. Modules that only training needs have no average.

    torch's `AveragedModel` is not used: it would average frozen networks in every step, which
    costs as much as averaging the model, and copy the modules that only training needs.
    """

    def __init__(self, model: Autoencoder, decay: float) -> None:
        self._model = model
        self._decay = decay
        self.module = inference_copy(model).eval().requires_grad_(False)
        """The model to keep, with averaged weights, in evaluation mode."""
        kept = dict(self.module.named_parameters())
        trained = [
            (name, p) for name, p in model.named_parameters() if p.requires_grad and name in kept
        ]
        self._trained = [p.detach() for _, p in trained]
        self._averaged = [self.module.get_parameter(name).detach() for name, _ in trained]
        self._names = {name for name, _ in trained}

    def update(self, step: int) -> None:
        """Move the average towards the weights as they are after `step`, counted from 0."""
        torch._foreach_lerp_(self._averaged, self._trained, weight=1 - self.decay(step))

    def decay(self, step: int) -> float:
        """The decay at `step`: it rises to its final value."""
        return min(self._decay, 1 - max(1, step) ** -WARM_UP_POWER)

    @torch.no_grad()
    def with_latest_buffers(self) -> Autoencoder:
        """The averaged model, after copying buffers and frozen parameters into it."""
        averaged = self._tensors(self.module)
        for name, tensor in self._tensors(self._model).items():
            if name in averaged and name not in self._names:
                averaged[name].copy_(tensor)
        return self.module

    @staticmethod
    def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
        return dict(model.named_parameters()) | dict(model.named_buffers())


def ema_decay(share: float, steps: int | None) -> float:
    """The decay whose memory is a share of so many steps; 0 keeps the last weights."""
    if not share:
        return 0.0
    return min(LARGEST_EMA_DECAY, math.exp(-1 / max(1.0, share * (steps or 20_000))))
