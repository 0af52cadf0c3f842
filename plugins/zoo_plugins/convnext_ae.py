"""A residual autoencoder: a modern encoder from timm, and a decoder of residual blocks.

The encoder is a ConvNeXt (Liu et al., A ConvNet for the 2020s, 2022) or any other network of timm
that gives features at several scales, trained from the start; layer norm keeps it from looking at
the batch. The decoder enlarges by sub-pixel convolution (Shi et al., 2016) between residual blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor, nn

import zoo
from zoo import Loss, Losses, Optimizer, Step, hookimpl
from zoo_plugins.ae import PIXEL_SD
from zoo_plugins.gaussian import pixel_nats
from zoo_plugins.layers import Block, Up, group_norm


class Trunk(nn.Module):
    """Frames (B, 3, H, W) in [0, 1] to `outputs` numbers (B, outputs)."""

    def __init__(self, size: zoo.FrameSize, network: str, outputs: int) -> None:
        super().__init__()
        # Imported where it is used: it takes longer to load than everything else together.
        import timm

        if network not in timm.list_models():
            raise zoo.BadInput(f"timm has no network called {network!r}")
        # Without the last stage, which leaves too few places of a small frame.
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
    """The way up with a residual block and a sub-pixel convolution in each stage."""

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


class ConvNextAutoencoder(zoo.Autoencoder):
    """Squared error on pixels, between two residual networks."""

    name: ClassVar[str] = "convnext_ae"
    summary: ClassVar[str] = "residual autoencoder with an encoder from timm"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"width": 16, "lr": 2e-3, "encoder": "convnext_atto"}
    }

    class Options(zoo.Options):
        """Settings of the residual autoencoder."""

        width: int = pydantic.Field(64, ge=4, description="channels of the decoder's last stage")
        lr: float = pydantic.Field(1e-3, gt=0, description="highest learning rate")
        encoder: str = pydantic.Field(
            "convnext_tiny", description="timm network that encodes; one that ignores the batch"
        )

    options: Options

    def __init__(self, size: zoo.FrameSize, options: Options) -> None:
        super().__init__(size, options)
        self.encoder = Trunk(size, options.encoder, options.latent)
        self.decoder = ResidualUp(size, options.width, options.latent)

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) to latents (B, L)."""
        return self.encoder(frames)

    def decode(self, latent: Tensor) -> Tensor:
        """Latents (B, L) to frames (B, 3, H, W)."""
        return self.decoder(latent)

    def optimizer(self, player: str) -> Optimizer:
        """AdamW at the learning rate of the options."""
        return Optimizer(lr=self.options.lr)

    def losses(self, frames: Tensor, step: Step) -> Losses:
        """Squared error on colour values, in the units that the other models use too."""
        drawn = self.decode(self.encode(frames))
        return {"autoencoder": Loss({"pixel": pixel_nats(drawn, frames, PIXEL_SD)})}


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """The residual autoencoder."""
    return [ConvNextAutoencoder]
