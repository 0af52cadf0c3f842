"""Encoding by looking for the latent whose drawing comes nearest to a frame.

An encoder guesses; what is drawn from its guess can be held against the frame, and the guess
moved (Kim et al., Semi-amortized variational autoencoders, 2018). Here by a fixed number of steps
down an error, each frame for itself, so that a latent depends on its own frame alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

RATE = 0.5
"""Of a step that would end at the minimum if the drawing were its linear part alone."""
MOMENTUM = 0.5
SHORTENED = 0.3
"""How much of its rate a frame keeps where a step has made it worse."""


def refined(
    error: nn.Module, latent: Tensor, targets: list[Tensor], curvature: Tensor, steps: int
) -> Tensor:
    """Latents (B, L) moved to where `error(latent, *targets)` (B,) is less.

    `curvature` (L,) is about the second derivative of a frame's error with respect to each number;
    a number that has none stays as it is. No frame's error is larger afterwards than before. Works
    under `torch.inference_mode`, on weights and targets that were made in it, too, and leaves the
    weights' gradients alone.
    """
    with torch.inference_mode(False), torch.enable_grad():
        # Autograd refuses tensors that were made in inference mode, but not their copies.
        weights = {
            name: (value.clone() if value.is_inference() else value).detach()
            for name, value in error.state_dict(keep_vars=True).items()
        }
        latent, *targets = (tensor.detach().clone() for tensor in (latent, *targets))
        scale = torch.where(curvature > 0, 1 / curvature, 0.0)

        def error_and_slope(at: Tensor) -> tuple[Tensor, Tensor]:
            at = at.detach().requires_grad_()
            errors = functional_call(error, weights, (at, *targets))
            # Not autograd.grad: with that torch cannot count the operations of a module.
            errors.sum().backward()
            assert at.grad is not None
            return errors.detach()[:, None], at.grad

        best, (least, slope) = latent, error_and_slope(latent)
        rate, momentum = torch.full_like(least, RATE), torch.zeros_like(best)
        for _ in range(steps):
            momentum = MOMENTUM * momentum - rate * scale * slope
            error_there, slope_there = error_and_slope(best + momentum)
            better = error_there < least
            best = torch.where(better, best + momentum, best)
            least = torch.where(better, error_there, least)
            slope = torch.where(better, slope_there, slope)
            rate = torch.where(better, rate, SHORTENED * rate)
            momentum = torch.where(better, momentum, torch.zeros_like(momentum))
    return best
