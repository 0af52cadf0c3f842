"""Encoding by looking for the latent whose drawing comes nearest to a frame.

An encoder guesses; what is drawn from its guess can be held against the frame, and the guess
moved (Kim et al., Semi-amortized variational autoencoders, 2018). Here by a fixed number of steps
down the squared error, each frame for itself, so that a latent depends on its own frame alone.
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
    drawing: nn.Module, latent: Tensor, frames: Tensor, curvature: Tensor, steps: int
) -> Tensor:
    """Latents (B, L) moved to where `drawing` draws nearer to the frames (B, 3, H, W).

    `curvature` (L,) is about the second derivative of a frame's mean squared error with respect to
    each number; a number that has none stays as it is. No frame's error is larger afterwards than
    before. Works under `torch.inference_mode`, on weights that were made in it, too, and leaves
    their gradients alone.
    """
    with torch.inference_mode(False), torch.enable_grad():
        # Autograd refuses tensors that were made in inference mode, but not their copies.
        weights = {
            name: (value.clone() if value.is_inference() else value).detach()
            for name, value in drawing.state_dict(keep_vars=True).items()
        }
        latent, frames = latent.detach().clone(), frames.detach().clone()
        scale = torch.where(curvature > 0, 1 / curvature, 0.0)

        def error_and_slope(at: Tensor) -> tuple[Tensor, Tensor]:
            at = at.detach().requires_grad_()
            drawn = functional_call(drawing, weights, (at,))
            error = (drawn.float() - frames).square().mean(dim=(1, 2, 3))
            # Not autograd.grad: with that torch cannot count the operations of a module.
            error.sum().backward()
            assert at.grad is not None
            return error.detach()[:, None], at.grad

        best, (error, slope) = latent, error_and_slope(latent)
        rate, momentum = torch.full_like(error, RATE), torch.zeros_like(best)
        for _ in range(steps):
            momentum = MOMENTUM * momentum - rate * scale * slope
            error_there, slope_there = error_and_slope(best + momentum)
            better = error_there < error
            best = torch.where(better, best + momentum, best)
            error = torch.where(better, error_there, error)
            slope = torch.where(better, slope_there, slope)
            rate = torch.where(better, rate, SHORTENED * rate)
            momentum = torch.where(better, momentum, torch.zeros_like(momentum))
    return best
