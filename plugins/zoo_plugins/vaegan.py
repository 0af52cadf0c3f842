"""VAE-GAN: a variational autoencoder whose pictures are judged by a discriminator it trains.

Larsen et al., Autoencoding beyond pixels using a learned similarity metric, 2016. Likeness is
the distance between discriminator features, and the adversarial term moves the decoder alone.

What differs from the paper, because the plain objective collapses on films: group norm in place
of batch norm, spectral norm in the discriminator, a pixel term beside the feature distance, and
the non-saturating adversarial loss at a small weight.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

import zoo
from zoo import Loss, Losses, Optimizer, Players, Step, hookimpl
from zoo_plugins.gaussian import pixel_nats
from zoo_plugins.layers import halvings, widths
from zoo_plugins.vae import VariationalAutoencoder


class Discriminator(nn.Module):
    """Frames (B, 3, H, W) to a logit (B,), high for real frames, and the features of each stage."""

    def __init__(self, size: zoo.FrameSize, width: int) -> None:
        super().__init__()
        channels = [3, *widths(width)]
        kernels = [5, *[3] * (len(channels) - 2)]
        self.stages = nn.ModuleList(
            spectral_norm(nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2))
            for (before, after), kernel in zip(itertools.pairwise(channels), kernels, strict=True)
        )
        height, length = halvings(size)[-1]
        self.judge = spectral_norm(nn.Linear(channels[-1] * height * length, 1))

    def forward(self, frames: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits (B,) and a list of features (B, C, h, w)."""
        maps, features = frames * 2 - 1, []
        for stage in self.stages:
            maps = F.leaky_relu(stage(maps), 0.2)
            features.append(maps)
        return self.judge(maps.flatten(1)).squeeze(1), features


class VaeGan(VariationalAutoencoder):
    """Three players: encoder, decoder, discriminator."""

    name: ClassVar[str] = "vaegan"
    summary: ClassVar[str] = "VAE with a learned similarity and an adversary (Larsen et al.)"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"width": 16, "lr": 4e-3}}
    opposed: ClassVar[tuple[tuple[str, str], ...]] = (
        ("decoder.adversarial", "discriminator.real_or_drawn"),
    )

    class Options(VariationalAutoencoder.Options):
        """Settings of the VAE-GAN."""

        feature: float = pydantic.Field(
            2.0, ge=0, description="weight of the distance between discriminator features"
        )
        adversarial: float = pydantic.Field(
            0.05, ge=0, description="weight of the adversarial term against the evidence bound"
        )

    options: Options

    def __init__(self, size: zoo.FrameSize, options: Options) -> None:
        super().__init__(size, options)
        self.discriminator = Discriminator(size, options.width)

    def players(self) -> Players:
        """Encoder, decoder and discriminator, each with its own loss."""
        return {
            "encoder": self.encoder.parameters(),
            "decoder": self.decoder.parameters(),
            "discriminator": self.discriminator.parameters(),
        }

    def optimizer(self, player: str) -> Optimizer:
        """Short momentum, as adversaries chase a moving target; a slower discriminator."""
        slower = 0.5 if player == "discriminator" else 1.0
        return Optimizer(lr=slower * self.options.lr, betas=(0.5, 0.99))

    def losses(self, frames: Tensor, step: Step) -> Losses:
        """Each player's loss; the engine keeps each from moving another player."""
        options = self.options
        posterior = self.posterior(frames)
        drawn = self.decode(posterior.sample(step))
        dream = self.decode(step.randn_like(posterior.mean))

        # One pass each: a gradient then runs back through the frames it concerns and no others.
        # Cached, because the spectral norm would otherwise be estimated anew for every pass.
        with parametrize.cached():
            on_real, wanted = self.discriminator(frames)
            on_drawn, seen = self.discriminator(drawn)
            on_dream, _ = self.discriminator(dream)

        evidence = self.evidence_terms(frames, posterior, drawn)
        distances = [
            pixel_nats(a, b.detach(), options.pixel_sd) for a, b in zip(seen, wanted, strict=True)
        ]
        feature = options.feature * torch.stack(distances).mean()
        fool = 0.5 * (F.softplus(-on_drawn).mean() + F.softplus(-on_dream).mean())
        tell = F.softplus(-on_real).mean() + 0.5 * (
            F.softplus(on_drawn).mean() + F.softplus(on_dream).mean()
        )
        return {
            "encoder": Loss({**evidence, "feature": feature}),
            "decoder": Loss(
                {
                    "pixel": evidence["pixel"],
                    "feature": feature,
                    "adversarial": options.adversarial * fool,
                }
            ),
            "discriminator": Loss({"real_or_drawn": tell}),
        }


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """The VAE-GAN."""
    return [VaeGan]
