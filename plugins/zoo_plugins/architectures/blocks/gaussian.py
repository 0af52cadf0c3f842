"""The two terms of a variational autoencoder's evidence lower bound.

Kingma and Welling, Auto-Encoding Variational Bayes, 2014. Both are in nats per colour value (a
frame has 3 H W of them), so that weights keep their meaning at any frame size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo import Step


class Posterior(NamedTuple):
    """A normal distribution with a diagonal covariance: mean and log variance, both (B, L)."""

    mean: Tensor
    log_variance: Tensor

    @classmethod
    def of(cls, heads: Tensor, usual: Tensor | float = 0.0) -> Posterior:
        """Split an encoder's output (B, 2 L) into means and log variances.

        `usual` (L,) is added to the log variances, which are clamped to a safe range for exp.

        The result is in 32 bits at least, because KL is a small difference of large numbers.
        """
        mean, log_variance = heads.to(torch.promote_types(heads.dtype, torch.float32)).chunk(2, 1)
        return cls(mean, (usual + log_variance).clamp(-12, 6))

    def sample(self, step: Step) -> Tensor:
        """Draw latents (B, L) by the reparameterisation trick."""
        return self.mean + torch.exp(0.5 * self.log_variance) * step.randn_like(self.mean)

    def kl(self, values: int) -> Tensor:
        """Divergence from the standard normal, in nats per colour value (`values` per frame)."""
        nats = self.mean.square() + self.log_variance.exp() - 1 - self.log_variance
        return 0.5 * nats.sum(dim=1).mean() / values


def pixel_nats(decoded: Tensor, frames: Tensor, sd: float | Tensor) -> Tensor:
    """Negative log likelihood of frames under normal pixels around `decoded`, up to a constant.

    Both are (B, 3, H, W) in [0, 1]; the result is in nats per colour value.
    """
    return F.mse_loss(decoded, frames) / (2 * sd**2)
