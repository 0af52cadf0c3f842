"""The Gaussian posterior of variational autoencoders.

Kingma and Welling, Auto-Encoding Variational Bayes, 2014.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from zoo import Step


class Posterior(NamedTuple):
    """A normal distribution with a diagonal covariance: mean and log variance, both (B, L)."""

    mean: Tensor
    log_variance: Tensor

    @classmethod
    def of(cls, heads: Tensor) -> Posterior:
        """Split an encoder's output (B, 2 L). Log variances stay within what exp can bear."""
        mean, log_variance = heads.chunk(2, dim=1)
        return cls(mean, log_variance.clamp(-12, 6))

    def sample(self, step: Step) -> Tensor:
        """Draw latents (B, L) by the reparameterisation trick."""
        return self.mean + torch.exp(0.5 * self.log_variance) * step.randn_like(self.mean)

    def kl(self) -> Tensor:
        """Divergence from the standard normal in nats: summed over L, averaged over B."""
        nats = self.mean.square() + self.log_variance.exp() - 1 - self.log_variance
        return 0.5 * nats.sum(dim=1).mean()
