"""Building blocks that architectures share: a convolutional encoder and a convolutional decoder.

Frames may have any size: each stage of the encoder halves the sides, rounded up, and the decoder
crops to the same sizes in reverse. Normalisation is group norm, so that a frame does not depend on
other frames in its batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from zoo import BadInput, FrameSize

STAGES = 4
MOST_CHANNELS = 1 << 20


def halvings(size: FrameSize, stages: int = STAGES) -> list[tuple[int, int]]:
    """Heights and widths from the frame itself down to the smallest map, `stages` + 1 of them."""
    return [
        (math.ceil(size.height / 2**stage), math.ceil(size.width / 2**stage))
        for stage in range(stages + 1)
    ]


def widths(width: int, stages: int = STAGES) -> list[int]:
    """Channels per stage: doubled from stage to stage, up to eight times the first."""
    return [width * min(2**stage, 8) for stage in range(stages)]


def group_norm(channels: int) -> nn.GroupNorm:
    """Make a group norm with eight channels per group, or the next larger divisor.

    Raises BadInput on more than `MOST_CHANNELS`, because the number can be untrusted input.
    """
    if channels > MOST_CHANNELS:
        raise BadInput(f"a layer has at most {MOST_CHANNELS:,} channels; not {channels:,}")
    groups = next(g for g in range(max(1, channels // 8), 0, -1) if channels % g == 0)
    return nn.GroupNorm(groups, channels)


class Block(nn.Module):
    """Two convolutions with group norm and a shortcut (He et al., 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            group_norm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            group_norm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w) to maps of the same shape."""
        return maps + self.body(maps)


class Down(nn.Sequential):
    """A convolutional encoder: frames (B, 3, H, W) in [0, 1] to numbers (B, outputs)."""

    def __init__(self, size: FrameSize, width: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        channels = 3
        for stage, wider in enumerate(widths(width)):
            layers += self.stage(channels, wider, kernel=5 if stage == 0 else 3)
            channels = wider
        height, length = halvings(size)[-1]
        layers += [nn.Flatten(), nn.Linear(channels * height * length, outputs)]
        super().__init__(*layers)

    @staticmethod
    def stage(before: int, after: int, kernel: int) -> list[nn.Module]:
        """Maps (B, before, h, w) to maps (B, after, h / 2, w / 2), sides rounded up."""
        return [
            nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2),
            group_norm(after),
            nn.SiLU(),
        ]

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) in [0, 1] to (B, outputs)."""
        maps = frames * 2 - 1
        for layer in self:
            maps = layer(maps)
        return maps


class Up(nn.Module):
    """A convolutional decoder: latents (B, inputs) to frames (B, 3, H, W) in [0, 1]."""

    def __init__(self, size: FrameSize, width: int, inputs: int) -> None:
        super().__init__()
        self.sizes = halvings(size)[::-1]
        channels = widths(width)[::-1]
        self.start = nn.Linear(inputs, channels[0] * self.sizes[0][0] * self.sizes[0][1])
        self.start_shape = (channels[0], *self.sizes[0])
        self.stages = nn.ModuleList(
            self.stage(before, after)
            for before, after in zip(channels, [*channels[1:], 3], strict=True)
        )

    @staticmethod
    def stage(before: int, after: int) -> nn.Module:
        """Maps (B, before, h, w) to maps (B, after, 2 h, 2 w).

        The last stage returns colours directly: normalisation and activation at full frame size
        would cost as much as all smaller stages together.
        """
        return nn.Sequential(
            group_norm(before), nn.SiLU(), nn.ConvTranspose2d(before, after, 4, 2, padding=1)
        )

    def forward(self, latent: Tensor) -> Tensor:
        """Latents (B, inputs) to frames (B, 3, H, W) in [0, 1]."""
        maps = self.start(latent).unflatten(1, self.start_shape)
        # The linear layer gives channels first; convolutions are faster with channels last.
        maps = maps.contiguous(memory_format=torch.channels_last)
        for stage, (height, length) in zip(self.stages, self.sizes[1:], strict=True):
            maps = stage(maps)[:, :, :height, :length]
        return torch.sigmoid(maps)
