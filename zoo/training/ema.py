"""Exponential moving average of a model's weights."""

from __future__ import annotations

import math

import torch
from torch import nn

from zoo.api.autoencoder import Autoencoder
from zoo.plugins.model_building import copy_to_keep

WARM_UP_POWER = 2 / 3
"""How fast the memory of the average grows at first: after n steps the decay is 1 - n^-power."""


class WeightAverage:
    """An exponential moving average of trained parameters; all else is copied by `with_buffers`.

    Buffers and frozen parameters that a model changes by itself (statistics, a codebook) keep the
    values that belong together: they are copied, not averaged. torch's `AveragedModel` walks
    frozen pretrained networks in every step, too, which costs as much as averaging the model.
    Modules that only training needs have no average.
    """

    def __init__(self, model: Autoencoder, decay: float) -> None:
        self._model = model
        self._decay = decay
        self.module = copy_to_keep(model).eval().requires_grad_(False)
        """What is kept of the model, with averaged weights, in evaluation mode."""
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
        """The share of the average that stays in `step`: it rises to its final value."""
        return min(self._decay, 1 - max(1, step) ** -WARM_UP_POWER)

    @torch.no_grad()
    def with_buffers(self) -> Autoencoder:
        """The averaged model, after everything that is not trained was copied into it."""
        mine = self._tensors(self.module)
        for name, theirs in self._tensors(self._model).items():
            if name in mine and name not in self._names:
                mine[name].copy_(theirs)
        return self.module

    @staticmethod
    def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
        return dict(model.named_parameters()) | dict(model.named_buffers())


LONGEST_AVERAGE = 0.9999
"""The decay of an average, at most."""


def average_decay(share: float, steps: int | None) -> float:
    """The averaging factor whose memory is a share of so many steps; 0 keeps the last weights."""
    if not share:
        return 0.0
    return min(LONGEST_AVERAGE, math.exp(-1 / max(1.0, share * (steps or 20_000))))
