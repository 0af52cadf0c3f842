"""An autoencoder of clips: four consecutive frames share one latent, which can encode motion.

Convolutions are factorised (Tran et al., A closer look at spatiotemporal convolutions for action
recognition, 2018): spatial ones within each frame alternate with ones along time. The temporal ones
start at zero, so that at the start of training every frame is processed on its own.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

import zoo
from zoo import hookimpl
from zoo_plugins.architectures.ae import SquaredErrorAutoencoder
from zoo_plugins.architectures.blocks.layers import Down, Up, group_norm

FRAMES = 4


class AlongTime(nn.Module):
    """A convolution over three frames at each position, with a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.mix = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))
        for weights in self.mix.parameters():
            nn.init.zeros_(weights)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B * T, C, h, w) to maps of the same shape."""
        height, width = maps.shape[2:]
        places = F.silu(self.norm(maps)).unflatten(0, (-1, FRAMES))
        # A picture whose rows are frames and whose columns are positions.
        places = places.permute(0, 2, 1, 3, 4).flatten(3)
        mixed = self.mix(places).unflatten(3, (height, width))
        return maps + mixed.permute(0, 2, 1, 3, 4).flatten(0, 1)


class ClipDown(Down):
    """The encoder: clips (B, T, 3, H, W) in [0, 1] to `outputs` numbers per frame, joined."""

    @staticmethod
    def stage(before: int, after: int, kernel: int) -> list[nn.Module]:
        """Maps (B * T, before, h, w) to maps (B * T, after, h / 2, w / 2)."""
        down = Down.stage(before, after, kernel)
        return down if before == 3 else [*down, AlongTime(after)]

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (B, T, 3, H, W) in [0, 1] to (B, T * outputs)."""
        return super().forward(clips.flatten(0, 1)).unflatten(0, (-1, FRAMES)).flatten(1)


class ClipUp(Up):
    """The decoder: latents with `inputs` numbers per frame to clips (B, T, 3, H, W) in [0, 1]."""

    @staticmethod
    def stage(before: int, after: int) -> nn.Module:
        """Maps (B * T, before, h, w) to maps (B * T, after, 2 h, 2 w)."""
        up = Up.stage(before, after)
        return up if after == 3 else nn.Sequential(AlongTime(before), up)

    def forward(self, latent: Tensor) -> Tensor:
        """Latents (B, T * inputs) to clips (B, T, 3, H, W) in [0, 1]."""
        frames = super().forward(latent.unflatten(1, (FRAMES, -1)).flatten(0, 1))
        return frames.unflatten(0, (-1, FRAMES))


class ClipAutoencoder(SquaredErrorAutoencoder):
    """A convolutional autoencoder of clips of four frames, trained on squared error."""

    name: ClassVar[str] = "clip_ae"
    summary: ClassVar[str] = "autoencoder of clips: four frames in a row share a latent"
    window: ClassVar[int] = FRAMES

    def networks(self) -> tuple[nn.Module, nn.Module]:
        """The encoder and the decoder: four stages each, with convolutions along time."""
        width, latent = self.options.width, self.options.latent
        return ClipDown(self.size, width, latent), ClipUp(self.size, width, latent)


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """Offer the autoencoder of clips."""
    return [ClipAutoencoder]
