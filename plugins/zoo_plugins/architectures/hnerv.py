"""HNeRV: a small network stores a film and decodes every frame from a tiny grid of numbers.

Chen et al., HNeRV: A hybrid neural representation for videos, 2023. A ConvNeXt (Liu et al., A
ConvNet for the 2020s, 2022) encodes a frame into a coarse grid with a few numbers in each cell.
Blocks of a convolution, a sub-pixel shuffle (Shi et al., 2016) and a GELU decode it. Channels
shrink slowly, so that weights are spread over all scales. There is no dense layer.

Unlike in the paper, each stage halves or doubles the sides, so that frames may have any size, and
the grid follows from the latent's size. Group norm comes before each block, because training
without it can end with frames of one colour.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor, nn

import zoo
from zoo import LatentSpec, hookimpl
from zoo_plugins.architectures.ae import SquaredErrorAutoencoder
from zoo_plugins.architectures.blocks.layers import group_norm, halvings

FEWEST_CHANNELS = 8
"""Minimum channels of a grid with several cells; at most one number in nine is unused."""
SHRINKS = 1.2
"""Ratio of the channels of one block to those of the next, as in the paper."""


def stages_to_grid(size: zoo.FrameSize, latent: int) -> int:
    """Count the halvings of the sides down to the finest grid with enough channels per cell."""
    stages = 0
    while True:
        height, width = halvings(size, stages)[-1]
        if height * width * FEWEST_CHANNELS <= latent or height * width == 1:
            return stages
        stages += 1


class ConvNextBlock(nn.Module):
    """A 7x7 depthwise convolution, group norm and two 1x1 convolutions, with a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.GroupNorm(1, channels)
        self.mix = nn.Sequential(
            nn.Conv2d(channels, 4 * channels, 1), nn.GELU(), nn.Conv2d(4 * channels, channels, 1)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w) to maps of the same shape."""
        return maps + self.mix(self.norm(self.around(maps)))


class Encoder(nn.Sequential):
    """Frames (B, 3, H, W) in [0, 1] to a grid (B, C, h, w)."""

    def __init__(self, stages: int, width: int, channels: int) -> None:
        layers: list[nn.Module] = []
        before = 3
        for _ in range(stages):
            layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), ConvNextBlock(width)]
            before = width
        super().__init__(*layers, nn.Conv2d(before, channels, 1))

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) in [0, 1] to a grid (B, C, h, w)."""
        maps = frames * 2 - 1
        for layer in self:
            maps = layer(maps)
        return maps


class Decoder(nn.Module):
    """A grid (B, C, h, w) to frames (B, 3, H, W) in [0, 1]."""

    def __init__(self, size: zoo.FrameSize, stages: int, width: int, channels: int) -> None:
        super().__init__()
        self.sizes = halvings(size, stages)[-2::-1]
        widths = [max(3, round(width / SHRINKS**stage)) for stage in range(stages + 1)]
        self.start = nn.Conv2d(channels, widths[0], 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                group_norm(before),
                nn.Conv2d(before, 4 * after, 3, padding=1),
                nn.PixelShuffle(2),
                nn.GELU(),
            )
            for before, after in itertools.pairwise(widths)
        )
        self.colours = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, grid: Tensor) -> Tensor:
        """A grid (B, C, h, w) to frames (B, 3, H, W) in [0, 1]."""
        maps = self.start(grid)
        for block, (height, width) in zip(self.blocks, self.sizes, strict=True):
            maps = block(maps)[:, :, :height, :width]
        return torch.sigmoid(self.colours(maps))


class Hnerv(SquaredErrorAutoencoder):
    """HNeRV: purely convolutional encoder and decoder, trained on squared error."""

    name: ClassVar[str] = "hnerv"
    summary: ClassVar[str] = "HNeRV: ConvNeXt to a tiny grid, sub-pixel convolutions (Chen et al.)"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"encoder_width": 32, "width": 64, "lr": 2e-3},
        "laptop": {"encoder_width": 32, "width": 64, "lr": 1e-3},
    }

    class Options(SquaredErrorAutoencoder.Options):
        """Settings of HNeRV."""

        width: int = pydantic.Field(160, ge=4, description="channels of the decoder at its grid")
        encoder_width: int = pydantic.Field(64, ge=4, description="channels of the encoder")

    options: Options

    def networks(self) -> tuple[nn.Module, nn.Module]:
        """The encoder and the decoder, with one stage per halving of the sides."""
        options = self.options
        stages = stages_to_grid(self.size, options.latent)
        channels = self.latent_spec().shape[0]
        return (
            Encoder(stages, options.encoder_width, channels),
            Decoder(self.size, stages, options.width, channels),
        )

    @classmethod
    def latent_sizes(cls, size: zoo.FrameSize) -> range:
        """Any size; it is rounded down to a multiple of the grid's cells."""
        return range(1, zoo.ANY)

    def latent_spec(self) -> LatentSpec:
        """A grid (C, h, w) of at most `latent` numbers."""
        latent = self.options.latent
        height, width = halvings(self.size, stages_to_grid(self.size, latent))[-1]
        return LatentSpec((latent // (height * width), height, width))


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """HNeRV."""
    return [Hnerv]
