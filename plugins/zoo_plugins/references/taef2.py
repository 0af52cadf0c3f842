"""TAEF2: a general image autoencoder, pretrained on none of the films.

Ollin Boer Bohan distilled it from the autoencoder of FLUX.2 (`madebyollin/taesd`, MIT licence). It
shows whether training on a film is worth it. Its latent is a grid at an eighth of the frame's
width and height, with 32 numbers of 8 bits in each cell. So its bytes depend on the frame size:
18,432 at 256x144.

Encoder and decoder are `nn.Sequential`, with layer indices as the keys in the published files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zoo
from zoo import FrameSize, LatentSpec, Options, TrainingFrames, hookimpl
from zoo.pretrained import PretrainedFile, WeightsUnavailable, pretrained_state

CHANNELS, LATENT_CHANNELS, INSIDE = 64, 32, 256
SHRINKS = 8
"""Width and height of a frame over those of the latent's grid."""
LEVELS = 256
"""Levels of a stored number: 8 bits."""
LARGEST = 3.0
"""Latents are squashed to (-3, 3) before decoding, and the stored levels span this range."""
_ADDRESS = "https://github.com/madebyollin/taesd/raw/5cccb12dc72074a4be35680c3b108548a7c69978"
ENCODER = PretrainedFile(
    "taef2_encoder.pth",
    f"{_ADDRESS}/taef2_encoder.pth",
    "10a4e1021e89d7551eaf161352da8dbd0b1aa83872ae28b150c1df1ce2f147b6",
    2_704_692,
)
DECODER = PretrainedFile(
    "taef2_decoder.pth",
    f"{_ADDRESS}/taef2_decoder.pth",
    "0a44a31e1ae59eb9dbf9359d24942fd3ef5928162c1800d97a28c61d51be0ab5",
    2_704_756,
)


def convolution(before: int, after: int, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    """Make a 3x3 convolution with padding."""
    return nn.Conv2d(before, after, 3, stride, padding=1, bias=bias)


class Block(nn.Module):
    """Three convolutions with a shortcut; if `pooled`, after a path with normalised features."""

    def __init__(self, *, pooled: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            convolution(CHANNELS, CHANNELS),
            nn.ReLU(),
            convolution(CHANNELS, CHANNELS),
            nn.ReLU(),
            convolution(CHANNELS, CHANNELS),
        )
        self.pool = (
            nn.Sequential(
                nn.Conv2d(CHANNELS, INSIDE, 1, bias=False),
                nn.GroupNorm(4, INSIDE),
                nn.ReLU(),
                nn.Conv2d(INSIDE, CHANNELS, 1, bias=False),
            )
            if pooled
            else None
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w) to maps of the same shape."""
        if self.pool is not None:
            maps = maps + self.pool(maps)
        return F.relu(self.conv(maps) + maps)


def encoder() -> nn.Sequential:
    """Make the encoder: frames (B, 3, H, W) to numbers (B, 32, H / 8, W / 8)."""
    layers: list[nn.Module] = [convolution(3, CHANNELS), Block()]
    for scale in range(3):
        layers += [convolution(CHANNELS, CHANNELS, stride=2, bias=False)]
        layers += [Block(pooled=scale == 2) for _ in range(3)]
    return nn.Sequential(*layers, convolution(CHANNELS, LATENT_CHANNELS))


def decoder() -> nn.Sequential:
    """Make the decoder: numbers (B, 32, H / 8, W / 8) to frames (B, 3, H, W)."""
    layers: list[nn.Module] = [Squash(), convolution(LATENT_CHANNELS, CHANNELS), nn.ReLU()]
    for scale in range(3):
        layers += [Block(pooled=scale == 0) for _ in range(3)]
        layers += [nn.Upsample(scale_factor=2), convolution(CHANNELS, CHANNELS, bias=False)]
    return nn.Sequential(*layers, Block(), convolution(CHANNELS, 3))


class Squash(nn.Module):
    """Squashes numbers smoothly into (-3, 3)."""

    def forward(self, numbers: Tensor) -> Tensor:
        """Numbers of any shape to numbers of the same shape."""
        return torch.tanh(numbers / LARGEST) * LARGEST


class TinyAutoencoder(zoo.Autoencoder):
    """TAEF2 with its published encoder and decoder; learns nothing from a film."""

    name: ClassVar[str] = "taef2"
    summary: ClassVar[str] = "general pretrained autoencoder (TAEF2), trained on no film"
    role = "reference"
    pretrained: ClassVar[bool] = True
    waivers: ClassVar[Mapping[str, str]] = {
        "latent as declared": "its latent has a size of its own, whatever --latent says"
    }

    def __init__(self, size: FrameSize, options: Options) -> None:
        super().__init__(size, options)
        self.rows, self.columns = -(-size.height // SHRINKS), -(-size.width // SHRINKS)
        self.encoder = encoder().requires_grad_(False)
        self.decoder = decoder().requires_grad_(False)

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) to stored levels (B, 32, h, w), whole numbers from 0 to 255."""
        below = self.rows * SHRINKS - self.size.height
        beside = self.columns * SHRINKS - self.size.width
        numbers = self.encoder(F.pad(frames, (0, beside, 0, below), mode="replicate"))
        stored = (numbers / (2 * LARGEST) + 0.5).clamp(0, 1)
        return (stored * (LEVELS - 1)).round()

    def decode(self, latent: Tensor) -> Tensor:
        """Stored levels (B, 32, h, w) to frames (B, 3, H, W)."""
        numbers = (latent / (LEVELS - 1) - 0.5) * (2 * LARGEST)
        frames = self.decoder(numbers)[..., : self.size.height, : self.size.width]
        return frames.clamp(0, 1)

    def latent_spec(self) -> LatentSpec:
        """A grid of codes of 8 bits."""
        return LatentSpec((LATENT_CHANNELS, self.rows, self.columns), codes=LEVELS)

    def fit(self, frames: TrainingFrames) -> None:
        """Load the published weights; the frames are not used.

        Raises WeightsUnavailable if they cannot be loaded.
        """
        for network, file in ((self.encoder, ENCODER), (self.decoder, DECODER)):
            state = pretrained_state(file)
            try:
                network.load_state_dict(state)
            except RuntimeError:
                raise WeightsUnavailable(f"{file.name} has other layers than taef2") from None


@hookimpl
def zoo_references() -> list[type[zoo.Autoencoder]]:
    """Offer the pretrained autoencoder."""
    return [TinyAutoencoder]
