"""VAE-GAN: a variational autoencoder whose pictures are judged by a discriminator it trains.

Larsen et al., Autoencoding beyond pixels using a learned similarity metric, 2016. Likeness is
the distance between discriminator features, and the adversarial term moves the decoder alone.

What differs from the paper, because the plain objective collapses on films: group norm in place
of batch norm, spectral norm in the discriminator, a pixel term beside the feature distance, and
the non-saturating adversarial loss at a small weight.
"""

from __future__ import annotations

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
from zoo_plugins.gaussian import Posterior
from zoo_plugins.layers import Down, Up, halvings, widths


class Discriminator(nn.Module):
    """Frames (B, 3, H, W) to a logit (B,), high for real frames, and the features of each stage."""

    def __init__(self, size: zoo.FrameSize, width: int) -> None:
        super().__init__()
        channels = [3, *widths(width)]
        self.stages = nn.ModuleList(
            spectral_norm(nn.Conv2d(before, after, 5 if before == 3 else 3, 2, 2 if before == 3 else 1))
            for before, after in zip(channels[:-1], channels[1:], strict=True)
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


class VaeGan(zoo.Autoencoder):
    """Three players: encoder, decoder, discriminator."""

    name: ClassVar[str] = "vaegan"
    summary: ClassVar[str] = "VAE with a learned similarity and an adversary (Larsen et al.)"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"width": 16}}
    opposed: ClassVar[tuple[tuple[str, str], ...]] = (
        ("decoder.adversarial", "discriminator.real_or_drawn"),
    )

    class Options(zoo.Options):
        """Settings of the VAE-GAN."""

        width: int = pydantic.Field(64, ge=4, description="channels of the first stage")
        pixel_sd: float = pydantic.Field(
            0.1, gt=0, description="standard deviation of a pixel; larger weighs KL more"
        )
        feature: float = pydantic.Field(
            1.0, ge=0, description="weight of the distance between discriminator features"
        )
        adversarial: float = pydantic.Field(
            0.1, ge=0, description="weight of the adversarial term against the pixel term"
        )

    options: Options

    def __init__(self, size: zoo.FrameSize, options: Options) -> None:
        super().__init__(size, options)
        self.encoder = Down(size, options.width, 2 * options.latent)
        self.decoder = Up(size, options.width, options.latent)
        self.discriminator = Discriminator(size, options.width)

    def players(self) -> Players:
        """Encoder, decoder and discriminator, each with its own loss."""
        return {
            "encoder": self.encoder.parameters(),
            "decoder": self.decoder.parameters(),
            "discriminator": self.discriminator.parameters(),
        }

    def optimizer(self, player: str) -> Optimizer:
        """Adam without momentum's long memory, as adversaries chase a moving target."""
        return Optimizer(lr=1e-3 if player != "discriminator" else 5e-4, betas=(0.5, 0.99))

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) to the means of their posteriors (B, L)."""
        return Posterior.of(self.encoder(frames)).mean

    def decode(self, latent: Tensor) -> Tensor:
        """Latents (B, L) to frames (B, 3, H, W)."""
        return self.decoder(latent)  # type: ignore[no-any-return]

    def losses(self, frames: Tensor, step: Step) -> Losses:
        """Each player's loss; the engine keeps each from moving another player."""
        options = self.options
        posterior = Posterior.of(self.encoder(frames))
        reconstruction = self.decode(posterior.sample(step))
        dream = self.decode(step.randn_like(posterior.mean))

        # One pass each: a gradient then runs back through the frames it concerns and no others.
        # Cached, because the spectral norm would otherwise be estimated anew for every pass.
        with parametrize.cached():
            real, wanted = self.discriminator(frames)
            redrawn, seen = self.discriminator(reconstruction)
            dreamt, _ = self.discriminator(dream)
        feature_distance = torch.stack(
            [F.mse_loss(a, b.detach()) for a, b in zip(seen, wanted, strict=True)]
        ).mean()
        likeness = {
            "pixel": F.mse_loss(reconstruction, frames),
            "feature": options.feature * feature_distance,
        }
        kl_weight = 2 * options.pixel_sd**2 / (3 * self.size.pixels)
        fool = F.softplus(-redrawn).mean() + F.softplus(-dreamt).mean()
        tell = F.softplus(-real).mean() + 0.5 * (
            F.softplus(redrawn).mean() + F.softplus(dreamt).mean()
        )
        return {
            "encoder": Loss({**likeness, "kl": kl_weight * posterior.kl()}),
            "decoder": Loss({**likeness, "adversarial": options.adversarial * fool}),
            "discriminator": Loss({"real_or_drawn": tell}),
        }


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """The VAE-GAN."""
    return [VaeGan]
