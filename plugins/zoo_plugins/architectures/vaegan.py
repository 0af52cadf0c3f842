"""VAE-GAN: a variational autoencoder with a discriminator that is trained against its decoder.

Larsen et al., Autoencoding beyond pixels using a learned similarity metric, 2016. Similarity is
the distance between discriminator features, and the adversarial term trains only the decoder.

The paper's objective collapses on films, so this model differs from it: encoder and decoder start
at PCA and have no batch norm, the discriminator has spectral norm, a pixel term is added to the
feature distance, which covers all stages, and the adversarial loss is non-saturating with a small
weight. The paper's choices are available as options; `docs/models.md` describes their effects.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

import zoo
from zoo import Batch, Loss, Losses, Optimizer, Players, Step, hookimpl
from zoo_plugins.architectures.blocks.component_networks import LAPTOP, some_warped
from zoo_plugins.architectures.blocks.gaussian import pixel_nats
from zoo_plugins.architectures.blocks.layers import STAGES, halvings, widths
from zoo_plugins.architectures.blocks.patches import patch, patch_size
from zoo_plugins.architectures.vae import VariationalAutoencoder

PLAYING_FIELD = 0.68 - 0.35, 0.68 + 0.35
"""Range of costs in which nobody pauses: equilibrium and margin of the authors' code."""


class Discriminator(nn.Module):
    """Frames (B, 3, H, W) to a logit (B,), high for real frames, and features of each stage."""

    def __init__(self, size: zoo.FrameSize, width: int, spectral: bool) -> None:
        super().__init__()
        channels = [3, *widths(width)]
        bounded = spectral_norm if spectral else nn.Identity()
        self.stages = nn.ModuleList(
            bounded(nn.Conv2d(before, after, 3, stride=2, padding=1))
            for before, after in itertools.pairwise(channels)
        )
        height, length = halvings(size)[-1]
        self.head = bounded(nn.Linear(channels[-1] * height * length, 1))

    def forward(self, frames: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits (B,) and a list of features (B, C, h, w)."""
        maps, features = frames * 2 - 1, []
        for stage in self.stages:
            maps = F.leaky_relu(stage(maps), 0.2)
            features.append(maps)
        return self.head(maps.flatten(1)).squeeze(1), features


class VaeGan(VariationalAutoencoder):
    """VAE-GAN with three players: encoder, decoder and discriminator."""

    name: ClassVar[str] = "vaegan"
    summary: ClassVar[str] = "VAE with a learned similarity and an adversary (Larsen et al.)"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"width": 16, "coarse": 1, "lr": 2e-3},
        "laptop": {
            **LAPTOP,
            "lr": 1e-3,
            "adversarial": 0.01,
            "patch": 0.5,
            "prior_samples": 0.25,
        },
    }
    opposed: ClassVar[tuple[tuple[str, str], ...]] = (
        ("decoder.adversarial", "discriminator.real_or_fake"),
    )

    class Options(VariationalAutoencoder.Options):
        """Settings of the VAE-GAN."""

        pixel: float = pydantic.Field(
            1.0, ge=0, description="weight of the pixel error; 0 in the paper"
        )
        feature: float = pydantic.Field(
            8.0, ge=0, description="weight of the distance between discriminator features"
        )
        feature_stage: int = pydantic.Field(
            0, ge=0, le=STAGES, description="stage compared; 0 is the mean of all, the paper has 3"
        )
        feature_scaled: bool = pydantic.Field(
            False, description="divide each stage's distance by the features' own mean square"
        )
        adversarial: float = pydantic.Field(
            0.05, ge=0, description="weight of the adversarial term against the evidence bound"
        )
        saturating: bool = pydantic.Field(
            False, description="the paper's adversarial loss, which fades as the adversary wins"
        )
        warm_up: float = pydantic.Field(
            0.0, ge=0, le=1, description="share of training over which the adversarial term rises"
        )
        fakes: Literal["both", "prior"] = pydantic.Field(
            "both",
            description="fake frames: reconstructions and prior samples, or prior samples alone",
        )
        prior_samples: float = pydantic.Field(
            1.0, gt=0, le=1, description="prior samples in a step, over its frames"
        )
        patch: float = pydantic.Field(
            1.0,
            gt=0,
            le=1,
            description="sides of the part of a frame that the discriminator sees in a step, over "
            "the frame's",
        )
        gated: bool = pydantic.Field(
            False, description="the side that is ahead is not trained, as in the authors' code"
        )
        spectral: bool = pydantic.Field(
            True, description="spectral norm in the discriminator (Miyato et al., 2018)"
        )
        r1: float = pydantic.Field(
            0.0, ge=0, description="penalty on its gradient at real frames (Mescheder et al., 2018)"
        )
        discriminator_lr_ratio: float = pydantic.Field(
            0.5, gt=0, description="the discriminator's learning rate over the others'"
        )

    options: Options
    discriminator: Discriminator

    def training_modules(self) -> Mapping[str, nn.Module]:
        """The discriminator."""
        options = self.options
        size = patch_size(self.size, options.patch)
        return {"discriminator": Discriminator(size, options.width, options.spectral)}

    def players(self) -> Players:
        """Encoder, decoder and discriminator, each with its own loss."""
        return {
            "encoder": [p for p in self.encoder.parameters() if p.requires_grad],
            "decoder": [p for p in self.decoder.parameters() if p.requires_grad],
            "discriminator": self.discriminator.parameters(),
        }

    def optimizer(self, player: str) -> Optimizer:
        """AdamW with low momentum, as usual for GANs; the discriminator learns more slowly."""
        ratio = self.options.discriminator_lr_ratio if player == "discriminator" else 1.0
        return Optimizer(lr=ratio * self.options.lr, betas=(0.5, 0.99))

    def losses(self, batch: Batch, step: Step) -> Losses:
        """Each player's loss; the engine applies its gradients to that player only."""
        options = self.options
        frames = some_warped(batch.frames, options.warps, step)
        posterior = self.posterior(frames)
        decoded = self.decoder(posterior.sample(step))
        count = math.ceil(options.prior_samples * len(frames))
        from_prior = self.decoder(step.randn_like(posterior.mean)[:count])
        real, *fake = (
            patch(pictures, options.patch, step.number)
            for pictures in (frames, decoded, from_prior)
        )
        if options.r1:
            real = real.detach().requires_grad_()

        # Separate passes, so that each gradient runs back only through the frames of its own loss.
        # Cached, because otherwise every pass would update the estimate of the spectral norm.
        with parametrize.cached():
            real_logits, real_features = self.discriminator(real)
            decoded_logits, decoded_features = self.discriminator(fake[0])
            prior_logits, _ = self.discriminator(fake[1])
        fakes = [decoded_logits, prior_logits] if options.fakes == "both" else [prior_logits]

        evidence = self.evidence_terms(frames, posterior, decoded)
        evidence["pixel"] = options.pixel * evidence["pixel"]
        feature = options.feature * self._feature_distance(decoded_features, real_features)
        real_cost = F.softplus(-real_logits).mean()
        fake_cost = torch.stack([F.softplus(logits).mean() for logits in fakes]).mean()
        discriminated = {"real_or_fake": real_cost + fake_cost}
        if options.r1:
            discriminated["r1"] = options.r1 * _gradient_penalty(real_logits, real)

        if options.saturating:
            generator_cost = -fake_cost
        else:
            generator_cost = torch.stack([F.softplus(-logits).mean() for logits in fakes]).mean()
        rise = (step.progress / options.warm_up).clamp(max=1) if options.warm_up else 1.0
        adversarial = options.adversarial * rise * generator_cost
        decoder_plays, discriminator_plays = (
            _gates(torch.stack([real_cost, fake_cost])) if options.gated else (None, None)
        )
        return {
            "encoder": Loss({**evidence, "feature": feature}),
            "decoder": Loss(
                {"pixel": evidence["pixel"], "feature": feature, "adversarial": adversarial},
                active=decoder_plays,
            ),
            "discriminator": Loss(discriminated, active=discriminator_plays),
        }

    def _feature_distance(self, decoded: list[Tensor], real: list[Tensor]) -> Tensor:
        """Distance between the discriminator's features, in the units of the pixel error."""
        pairs = [(a, b.detach()) for a, b in zip(decoded, real, strict=True)]
        if self.options.feature_stage:
            pairs = pairs[self.options.feature_stage - 1 :][:1]
        distances = [pixel_nats(a, b, self.options.pixel_sd) for a, b in pairs]
        if self.options.feature_scaled:
            distances = [
                distance / b.square().mean()
                for distance, (_, b) in zip(distances, pairs, strict=True)
            ]
        return torch.stack(distances).mean()


def _gradient_penalty(logits: Tensor, frames: Tensor) -> Tensor:
    """Half the squared norm of the logits' gradient at the frames, averaged over frames."""
    (gradient,) = torch.autograd.grad(logits.sum(), frames, create_graph=True)
    return 0.5 * gradient.square().flatten(1).sum(dim=1).mean()


def _gates(costs: Tensor) -> tuple[Tensor, Tensor]:
    """Decide whether decoder and discriminator train, from the discriminator's costs (2,).

    The discriminator pauses if its cost is too low on real or on fake frames, the decoder if a cost
    is too high. If both would pause, both train.
    """
    low, high = PLAYING_FIELD
    discriminator_rests, decoder_rests = (costs < low).any(), (costs > high).any()
    both = discriminator_rests & decoder_rests
    return ~decoder_rests | both, ~discriminator_rests | both


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """The VAE-GAN."""
    return [VaeGan]
