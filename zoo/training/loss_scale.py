"""The scale of losses in 16-bit training, which keeps small gradients from vanishing.

float16 holds nothing below 6e-8, where many gradients lie. So losses are multiplied by a large
number before the backward pass, and gradients divided by it after. A step whose gradients overflow
is skipped and halves the number; after many steps without one it doubles.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

FIRST_SCALE = 2.0**16
STEPS_TO_GROW = 2000
"""Steps in a row without an overflow after which the scale doubles."""
LARGEST_SCALE = 2.0**24


class LossScale:
    """A power of two on the device, adapted without synchronising with it."""

    def __init__(self, device: torch.device) -> None:
        self.value = torch.full((), FIRST_SCALE, device=device)
        self.steps = torch.zeros((), dtype=torch.int32, device=device)
        """Steps since the last overflow or growth."""

    def multiply(self, loss: Tensor) -> Tensor:
        """The scaled loss."""
        return loss * self.value

    @torch.no_grad()
    def divide(self, gradients: list[Tensor]) -> Tensor:
        """Undo the scale in place; returns whether all gradients are finite, on the device."""
        torch._foreach_mul_(gradients, self.value.reciprocal())
        return nn.utils.get_total_norm(gradients).isfinite()

    @torch.no_grad()
    def update(self, finite: Iterable[Tensor]) -> None:
        """Adapt the scale after a step, from what `divide` returned for each player."""
        kept = torch.stack(list(finite)).all()
        steps = torch.where(kept, self.steps + 1, 0)
        grown = (self.value * 2).clamp_max(LARGEST_SCALE)
        held = torch.where(steps >= STEPS_TO_GROW, grown, self.value)
        self.value.copy_(torch.where(kept, held, (self.value / 2).clamp_min(1.0)))
        self.steps.copy_(torch.where(steps >= STEPS_TO_GROW, 0, steps))

    def state(self) -> dict[str, Tensor]:
        """Tensors for a checkpoint."""
        return {"value": self.value, "steps": self.steps}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore from a checkpoint's tensors."""
        self.value.copy_(state["value"])
        self.steps.copy_(state["steps"])
