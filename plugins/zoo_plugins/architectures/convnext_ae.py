"""A residual autoencoder: a modern encoder from timm, and a decoder of residual blocks.

The encoder is a ConvNeXt (Liu et al., A ConvNet for the 2020s, 2022), or any other timm network
with features at several scales, trained from scratch. ConvNeXt's layer norm does not depend on the
batch. The decoder enlarges by sub-pixel convolution (Shi et al., 2016) between residual blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor, nn

import zoo
from zoo import hookimpl
from zoo_plugins.architectures.ae import SquaredErrorAutoencoder
from zoo_plugins.architectures.blocks.layers import Block, Up, group_norm


class Trunk(nn.Module):
    """The encoder: frames (B, 3, H, W) in [0, 1] to `outputs` numbers (B, outputs)."""

    def __init__(self, size: zoo.FrameSize, network: str, outputs: int) -> None:
        super().__init__()
        # Imported here, because it takes longer to load than everything else together.
        import timm

        if network not in timm.list_models():
            raise zoo.BadInput(f"timm has no network called {network!r}")
        # Without the last stage, which has too few positions for a small frame.
        self.network = timm.create_model(network, features_only=True, out_indices=(2,))
        try:
            with torch.no_grad():
                maps = self.network.eval()(torch.zeros(1, 3, size.height, size.width))[0]
        except (AssertionError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise zoo.BadInput(f"{network} cannot look at frames of {size}: {reason}") from None
        self.network.train()
        self.head = nn.Linear(maps.numel(), outputs)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) in [0, 1] to (B, outputs)."""
        return self.head(self.network(frames * 4 - 2)[0].flatten(1))


class ResidualUp(Up):
    """The decoder, with a residual block and a sub-pixel convolution in each stage."""

    @staticmethod
    def stage(before: int, after: int) -> nn.Module:
        """Maps (B, before, h, w) to maps (B, after, 2 h, 2 w)."""
        return nn.Sequential(
            Block(before),
            group_norm(before),
            nn.SiLU(),
            nn.Conv2d(before, 4 * after, 3, padding=1),
            nn.PixelShuffle(2),
        )


class ConvNextAutoencoder(SquaredErrorAutoencoder):
    """A residual encoder from timm and a residual decoder, trained on squared error."""

    name: ClassVar[str] = "convnext_ae"
    summary: ClassVar[str] = "residual autoencoder with an encoder from timm"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"width": 16, "lr": 2e-3, "encoder": "convnext_atto"},
        "laptop": {"width": 16, "lr": 1e-3, "encoder": "convnext_atto"},
    }

    class Options(SquaredErrorAutoencoder.Options):
        """Settings of the residual autoencoder."""

        encoder: str = pydantic.Field(
            "convnext_tiny", description="timm network that encodes; one that ignores the batch"
        )

    options: Options

    def networks(self) -> tuple[nn.Module, nn.Module]:
        """The timm encoder with a linear head, and the decoder of residual blocks."""
        latent = self.options.latent
        return (
            Trunk(self.size, self.options.encoder, latent),
            ResidualUp(self.size, self.options.width, latent),
        )


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """The residual autoencoder."""
    return [ConvNextAutoencoder]
