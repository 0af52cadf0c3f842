"""Encoding by search: the code whose drawing comes nearest to a frame.

The levels nearest to a frame's coordinates are not those from which a network draws it best. From
there digits are moved, to the next level up or down, wherever the slope of the error and about what
its curvature is say that a move pays; many at once, fewer where that was too many. It is coordinate
descent over whole numbers, in parallel. A guess that is moved by what its drawing lacks is known of
real latents (Kim et al., Semi-amortized variational autoencoders, 2018).
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from zoo_plugins.architectures.blocks.byte_code import ByteCode

WORTHWHILE = 0.3
"""Digits are moved that gain at least this share of what the best move of their frame does."""


def deterministic() -> AbstractContextManager[None]:
    """Kernels of cuDNN that round alike every time: a search makes much of the least difference."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)


def searched(
    error: nn.Module,
    code: ByteCode,
    digits: Tensor,
    targets: list[Tensor],
    curvature: Tensor,
    steps: int,
) -> Tensor:
    """Digits (B, N), moved to where `error(coordinates, *targets)` (B,) is less.

    `curvature` (N,) is about the second derivative of a frame's error with respect to each
    coordinate. No frame's error is larger afterwards than before. Works under
    `torch.inference_mode`, on weights and targets that were made in it, too, and leaves the
    weights' gradients alone.
    """
    with torch.inference_mode(False), torch.enable_grad(), deterministic():
        # Autograd refuses tensors that were made in inference mode, but not their copies.
        weights = {
            name: (value.clone() if value.is_inference() else value).detach()
            for name, value in error.state_dict(keep_vars=True).items()
        }
        best, *targets = (tensor.detach().clone() for tensor in (digits, *targets))

        def error_and_slope(at: Tensor) -> tuple[Tensor, Tensor]:
            place = code.levels_of(at).detach().clone().requires_grad_()
            errors = functional_call(error, weights, (place, *targets))
            # Not autograd.grad: with that torch cannot count the operations of a module.
            errors.sum().backward()
            assert place.grad is not None
            return errors.detach()[:, None], place.grad

        least, slope = error_and_slope(best)
        share = torch.full_like(least, WORTHWHILE)
        for _ in range(steps):
            moved = _moved(code, best, slope, curvature, share)
            error_there, slope_there = error_and_slope(moved)
            better = error_there < least
            best = torch.where(better, moved, best)
            least = torch.where(better, error_there, least)
            slope = torch.where(better, slope_there, slope)
            share = torch.where(better, share, (1 + share) / 2)
    return best


def _moved(
    code: ByteCode, digits: Tensor, slope: Tensor, curvature: Tensor, share: Tensor
) -> Tensor:
    """Digits (B, N) after those moves by one that seem to gain enough."""
    ways = [(digits - 1).clamp_min(0), torch.minimum(digits + 1, code.base - 1)]
    lengths = torch.stack([code.levels_of(way) for way in ways]) - code.levels_of(digits)
    gains = -(slope + 0.5 * curvature * lengths) * lengths
    gain, way = gains.max(dim=0)
    enough = (gain > 0) & (gain >= share * gain.amax(dim=1, keepdim=True))
    return torch.where(enough, torch.where(way == 0, ways[0], ways[1]), digits)
