"""A variational autoencoder with a loss on features of a network trained on photographs.

Hou et al., Deep feature consistent variational autoencoder, 2017. Features are normalised to unit
length at each position, as in LPIPS (Zhang et al., 2018). They come from a different network than
the metric's, so that the metric's network is not trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zoo
from zoo import Batch, Loss, Losses, Step, hookimpl
from zoo.pretrained import feature_network
from zoo_plugins.architectures.blocks.component_networks import LAPTOP, STARTS_AT_PCA, some_warped
from zoo_plugins.architectures.blocks.patches import patch, patch_size
from zoo_plugins.architectures.vae import VariationalAutoencoder

BACKBONE = "vgg16"
LIGHT_BACKBONE = "tf_efficientnet_lite0"
"""A network that is nearly as good as `BACKBONE` at a tenth of the computation."""


class FeatureDistance(nn.Module):
    """Distance between the features of two batches of frames in a frozen pretrained network.

    Raises BadInput if timm has no such network or the network does not accept frames of this size,
    and ZooError if its weights are not available.
    """

    def __init__(self, backbone: str, stages: int, size: zoo.FrameSize) -> None:
        super().__init__()
        self.network = feature_network(backbone, stages)
        self.requires_grad_(False)
        normal = self.network.default_cfg
        self.mean: Tensor
        self.sd: Tensor
        self.register_buffer("mean", torch.tensor(normal["mean"]).view(1, 3, 1, 1))
        self.register_buffer("sd", torch.tensor(normal["std"]).view(1, 3, 1, 1))
        self.eval()
        try:
            self.features(torch.zeros(1, 3, size.height, size.width))
        except (AssertionError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise zoo.BadInput(f"{backbone} cannot look at frames of {size}: {reason}") from None

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, because batch statistics would make the features drift."""
        return super().train(False)

    def features(self, frames: Tensor) -> list[Tensor]:
        """Unit-length features (B, C, h, w) of frames (B, 3, H, W) in [0, 1], finest first."""
        maps = self.network((frames - self.mean) / self.sd)
        return [F.normalize(m, dim=1) for m in maps]

    def forward(self, reconstructions: Tensor, frames: Tensor) -> Tensor:
        """Mean squared distance, averaged over stages: a scalar tensor."""
        with torch.no_grad():
            targets = self.features(frames)
        return self.to_features(reconstructions, targets).mean()

    def to_features(self, reconstructions: Tensor, targets: Sequence[Tensor]) -> Tensor:
        """Distances (B,) of reconstructions (B, 3, H, W) to the features of their frames."""
        distances = [
            (decoded - target).square().sum(dim=1).mean(dim=(1, 2))
            for decoded, target in zip(self.features(reconstructions), targets, strict=True)
        ]
        return torch.stack(distances).mean(dim=0)


class PerceptualVae(VariationalAutoencoder):
    """The variational autoencoder, with a distance between pretrained features in its loss."""

    name: ClassVar[str] = "perceptual"
    summary: ClassVar[str] = "VAE with a loss on features of a pretrained network"
    unequal_terms: ClassVar[tuple[str, ...]] = (
        STARTS_AT_PCA,
        "the loss contains the squared error that PSNR is computed from.",
        "the loss compares features of a network pretrained on photographs, as LPIPS does with "
        "another network.",
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"width": 16, "coarse": 1, "lr": 4e-3, "backbone": LIGHT_BACKBONE},
        "laptop": {
            **LAPTOP,
            "lr": 2e-3,
            "backbone": LIGHT_BACKBONE,
            "feature": 0.25,
            "patch": 0.5,
        },
    }

    class Options(VariationalAutoencoder.Options):
        """Settings of the perceptual VAE."""

        feature: float = pydantic.Field(
            16.0, ge=0, description="weight of the feature distance beside the evidence bound"
        )
        backbone: str = pydantic.Field(
            BACKBONE, description="timm network whose features are compared"
        )
        stages: int = pydantic.Field(
            3, ge=1, le=5, description="stages of the backbone that are compared, finest first"
        )
        patch: float = pydantic.Field(
            1.0,
            gt=0,
            le=1,
            description="sides of the part of a frame whose features are compared in a step, over "
            "the frame's",
        )

    options: Options
    distance: FeatureDistance

    def training_modules(self) -> Mapping[str, nn.Module]:
        """The network whose features are compared."""
        options = self.options
        size = patch_size(self.size, options.patch)
        return {"distance": FeatureDistance(options.backbone, options.stages, size)}

    def losses(self, batch: Batch, step: Step) -> Losses:
        """The VAE's terms and the feature distance."""
        frames = some_warped(batch.frames, self.options.warps, step)
        posterior = self.posterior(frames)
        decoded = self.decoder(posterior.sample(step))
        terms = self.evidence_terms(frames, posterior, decoded)
        share = self.options.patch
        compared = patch(decoded, share, step.number), patch(frames, share, step.number)
        terms["feature"] = self.options.feature * self.distance(*compared)
        return {"autoencoder": Loss(terms)}


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """The perceptual VAE."""
    return [PerceptualVae]
