"""Beta-VAE: a VAE with a larger weight on the divergence, so that its latents hold less.

Higgins et al., beta-VAE: Learning basic visual concepts with a constrained variational framework,
2017. Compare it with `vae`, which has a beta of 1, at the same `pixel_sd`.
"""

from __future__ import annotations

from typing import ClassVar

import pydantic
from torch import Tensor

import zoo
from zoo import hookimpl
from zoo_plugins.architectures.blocks.gaussian import Posterior
from zoo_plugins.architectures.vae import VariationalAutoencoder


class BetaVae(VariationalAutoencoder):
    """The variational autoencoder, with its divergence from the prior multiplied by beta."""

    name: ClassVar[str] = "beta_vae"
    summary: ClassVar[str] = "VAE whose divergence from the prior weighs more"

    class Options(VariationalAutoencoder.Options):
        """Settings of the beta-VAE."""

        beta: float = pydantic.Field(
            4.0, ge=0, description="weight of the divergence from the prior; 1 is the plain VAE"
        )

    options: Options

    def evidence_terms(
        self, frames: Tensor, posterior: Posterior, decoded: Tensor
    ) -> dict[str, Tensor]:
        """The VAE's terms, with the divergence times beta, in nats per colour value."""
        terms = super().evidence_terms(frames, posterior, decoded)
        return {**terms, "kl": self.options.beta * terms["kl"]}


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """The beta-VAE."""
    return [BetaVae]
