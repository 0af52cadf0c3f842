"""The average of a model's weights over the last part of its training."""

from __future__ import annotations

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn


class WeightAverage(ModelEmaV3):  # type: ignore[misc]
    """timm's average, which rises to its decay as training goes on, without looking names up.

    timm walks both state dicts in every step, which takes as long as averaging a small model.
    Parameters never change places, so pairs of them are found once; a buffer may be assigned
    anew by its model and is fetched by name. What is not trained is equal to begin with.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, decay=decay, use_warmup=True)
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self._trained = [p.detach() for _, p in trained]
        self._averaged = [self.module.get_parameter(name).detach() for name, _ in trained]
        kept = model.state_dict()
        self._buffer_names = [name for name, _ in model.named_buffers() if name in kept]

    def apply_update_(self, model: nn.Module, decay: float) -> None:
        """Move the average towards the weights as they are now."""
        torch._foreach_lerp_(self._averaged, self._trained, weight=1 - decay)
        for name in self._buffer_names:
            mine, theirs = self.module.get_buffer(name), model.get_buffer(name)
            if mine.is_floating_point():
                mine.lerp_(theirs, weight=1 - decay)
            else:
                mine.copy_(theirs)
