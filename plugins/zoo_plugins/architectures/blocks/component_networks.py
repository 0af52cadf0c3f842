"""An encoder and a decoder that start as the principal components of the training frames.

Each is a fixed linear path, computed from the training frames before training, plus a convolutional
correction whose last layer starts near zero. Training therefore starts at the reconstructions of
PCA. Latents are whitened: over the training frames each number has mean 0 and variance 1.

Corrections work at a quarter of the frame's width and height and below, down to a map of about 8x5
or 16x9, so their depth depends on the frame size. There is no normalisation: residual blocks start
near the identity, and maps keep their scale, dtype and memory format (channels last).

An architecture uses them like this:

    self.encoder = ComponentEncoder(size, options, outputs=options.latent)
    self.decoder = ComponentDecoder(size, options)

    def prepare(self, frames):
        start_from_components(self.encoder, self.decoder, frames)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zoo
from zoo import BadInput, FrameSize, Step, TrainingFrames
from zoo_plugins.architectures.blocks.layers import MOST_CHANNELS
from zoo_plugins.architectures.blocks.warped_components import (
    WarpedComponents,
    reduced,
    warped,
)

STARTS_AT_PCA = (
    "before training, up to 15 passes over the training frames compute its components, outside of "
    "the budget."
)
"""The sentence for the `unequal_terms` of a model that starts from components."""
PATCH = 4
"""Corrections read and write patches of 4x4 pixels."""
MOST_FRAMES = 5000
"""Maximum frames for computing components; of a longer film they are evenly spread."""
LEAST_SHARE = 1e-4
"""Components that vary less than this share of the first are rounding errors, left at 0."""


LAPTOP: Mapping[str, Any] = MappingProxyType(
    {"width": 32, "smallest": 16, "dense": 96, "warps": 0.02}
)
"""Option values in the preset `laptop` of every model that starts from components."""


class ComponentOptions(zoo.Options):
    """Settings of networks that start from components."""

    width: int = pydantic.Field(64, ge=4, description="channels at half the frame's size")
    start: Literal["components", "scratch"] = pydantic.Field(
        "components",
        description="components: training starts at PCA of the training frames; scratch: random "
        "weights, and no linear path",
    )
    coarse: Literal[1, 2, 4] = pydantic.Field(
        4, description="how much smaller than the frame the linear reconstruction is"
    )
    gain: float = pydantic.Field(
        1.0,
        gt=0,
        le=1,
        description="factor behind the corrections' last layers, whose first weights are as much "
        "larger: a step of training moves the corrections by as much less",
    )
    smallest: Literal[8, 16] = pydantic.Field(
        8, description="columns of a correction's smallest map, which is next to the latent"
    )
    dense: int = pydantic.Field(
        32, ge=1, description="channels of that map that the decoder makes of a latent"
    )
    warps: float = pydantic.Field(
        0.1,
        ge=0,
        le=1,
        description="share of the frames in a training step that are moved, enlarged or mirrored",
    )

    def coarse_size(self, size: FrameSize) -> FrameSize:
        """The size of the linear reconstruction."""
        return FrameSize(-(-size.width // self.coarse), -(-size.height // self.coarse))


def map_sizes(size: FrameSize, smallest: int) -> list[tuple[int, int]]:
    """Heights and widths of maps, from a quarter of the frame to about `smallest` columns."""
    rows = math.ceil(smallest * 9 / 16)
    halvings = max(2, round(math.log2(max(size.width / smallest, size.height / rows))))
    return [
        (math.ceil(size.height / 2**halving), math.ceil(size.width / 2**halving))
        for halving in range(2, halvings + 1)
    ]


def map_channels(first: int, count: int) -> list[int]:
    """Channels of each map: doubled from map to map, up to four times the first.

    Raises BadInput on more than `MOST_CHANNELS`, because the width can be untrusted input.
    """
    if first > MOST_CHANNELS // 4:
        raise BadInput(f"a layer has at most {MOST_CHANNELS:,} channels; not {4 * first:,}")
    return [first * min(2**n, 4) for n in range(count)]


def convolution(before: int, after: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Make a convolution whose output is about as large as its input, after a rectifier."""
    layer = nn.Conv2d(before, after, kernel, stride, padding=kernel // 2)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def scale_weights(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, factor: float) -> None:
    """Multiply a layer's initial weights by a factor."""
    with torch.no_grad():
        layer.weight.mul_(factor)


class Pointwise(nn.Linear):
    """A 1x1 convolution as one matrix product, which is faster with channels last."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after)
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        nn.init.zeros_(self.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w) to maps (B, C', h, w)."""
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """A 3x3 convolution to half the channels and a 1x1 back, with a shortcut (He et al., 2016).

    The block starts near the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        last = Pointwise(inner, channels)
        scale_weights(last, 0.1)
        self.body = nn.Sequential(nn.SiLU(), convolution(channels, inner, 3), nn.SiLU(), last)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w) to maps of the same shape."""
        return maps + self.body(maps)


class ComponentEncoder(nn.Module):
    """Frames (B, 3, H, W) to `outputs` numbers (B, outputs).

    The first `options.latent` numbers start as the frame's coordinates along the components, the
    others near zero.
    """

    def __init__(self, size: FrameSize, options: ComponentOptions, outputs: int) -> None:
        super().__init__()
        self.coarse = options.coarse_size(size)
        self.others = outputs - options.latent
        self.project = nn.Linear(3 * self.coarse.pixels, options.latent).requires_grad_(False)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        sizes = map_sizes(size, options.smallest)
        channels = map_channels(options.width, len(sizes))
        layers: list[nn.Module] = [convolution(3, channels[0], 7, PATCH), nn.SiLU()]
        for before, after in itertools.pairwise(channels):
            layers += [convolution(before, after, 3, stride=2), nn.SiLU()]
        self.maps = nn.Sequential(*layers)
        self.dense = nn.Linear(channels[-1] * math.prod(sizes[-1]), outputs)
        self.gain = options.gain
        scale_weights(self.dense, (0.01 if options.start == "components" else 1) / self.gain)

    def forward(self, frames: Tensor) -> Tensor:
        """Coordinates along the components, corrected."""
        # In 32 bits: quantisation distinguishes 256 levels of a coordinate.
        with torch.autocast(frames.device.type, enabled=False):
            numbers = self.project(reduced(frames, self.coarse).flatten(1))
        correction = self.gain * self.dense(self.maps(frames * 2 - 1).flatten(1))
        return F.pad(numbers, (0, self.others)) + correction


class Correction(nn.Module):
    """Corrections (B, 3, H, W) to linear reconstructions (B, 3, h, w) of latents (B, L)."""

    def __init__(self, size: FrameSize, options: ComponentOptions) -> None:
        super().__init__()
        self.shape = size.height, size.width
        self.sizes = map_sizes(size, options.smallest)
        channels = map_channels(2 * options.width, len(self.sizes))
        self.smallest = *self.sizes[-1], min(options.dense, channels[-1])
        self.dense = nn.Linear(options.latent, math.prod(self.smallest))
        self.widen = Pointwise(self.smallest[-1], channels[-1])
        stride = PATCH // options.coarse
        self.picture = convolution(3, channels[0], {1: 3, 2: 5, 4: 7}[stride], stride)
        self.blocks = nn.ModuleList(ResidualBlock(count) for count in channels)
        self.enlarge = nn.ModuleList(
            nn.Sequential(nn.SiLU(), Pointwise(coarser, 4 * finer), nn.PixelShuffle(2))
            for finer, coarser in itertools.pairwise(channels)
        )
        # Patches overlap by half, so that their edges are not visible.
        self.colours = nn.ConvTranspose2d(channels[0], 3, 2 * PATCH, PATCH, padding=PATCH // 2)
        nn.init.normal_(self.colours.weight, std=(2 * channels[0]) ** -0.5)
        assert self.colours.bias is not None
        nn.init.zeros_(self.colours.bias)
        self.gain = options.gain
        scale_weights(self.colours, (0.003 if options.start == "components" else 1) / self.gain)

    def forward(self, latent: Tensor, linear: Tensor) -> Tensor:
        """The correction to the linear reconstruction."""
        # Unflattened to channels last, which needs no copy.
        maps = self.widen(self.dense(latent).unflatten(1, self.smallest).permute(0, 3, 1, 2))
        for stage in reversed(range(len(self.sizes))):
            if stage == 0:
                maps = maps + self.picture(linear * 2 - 1)
            maps = self.blocks[stage](maps)
            if stage:
                height, width = self.sizes[stage - 1]
                maps = self.enlarge[stage - 1](maps)[:, :, :height, :width]
        height, width = self.shape
        return self.gain * self.colours(F.silu(maps))[:, :, :height, :width]


class ComponentDecoder(nn.Module):
    """Latents (B, L) to frames (B, 3, H, W), not clamped: losses include errors beyond [0, 1]."""

    def __init__(self, size: FrameSize, options: ComponentOptions) -> None:
        super().__init__()
        coarse = options.coarse_size(size)
        self.linear_shape = 3, coarse.height, coarse.width
        self.compose = nn.Linear(options.latent, 3 * coarse.pixels).requires_grad_(False)
        nn.init.zeros_(self.compose.weight)
        nn.init.constant_(self.compose.bias, 0.5)
        # Matrices, because the gradient of torch's bilinear resizing varies between GPU runs.
        self.rows: Tensor
        self.columns: Tensor
        for name, few, many in (
            ("rows", coarse.height, size.height),
            ("columns", coarse.width, size.width),
        ):
            self.register_buffer(name, enlarging(few, many))
        self.correct = Correction(size, options)

    def forward(self, latent: Tensor) -> Tensor:
        """The linear reconstruction, corrected."""
        with torch.autocast(latent.device.type, enabled=False):
            picture = self.compose(latent.to(self.compose.weight.dtype))
            picture = picture.unflatten(1, self.linear_shape)
            full = picture
            if len(self.rows) != picture.shape[2] or len(self.columns) != picture.shape[3]:
                full = self.rows @ picture @ self.columns.T
        layout = torch.channels_last
        correction = self.correct(latent, picture.contiguous(memory_format=layout))
        return full.contiguous(memory_format=layout) + correction


def some_warped(frames: Tensor, share: float, step: Step) -> Tensor:
    """Warp a random share of frames (B, 3, H, W); return all frames, warped or not.

    The number of images per step does not change. Components fit warped frames badly, so training
    on these makes corrections more careful on held-out frames.
    """
    if not share:
        return frames
    chance = step.randn_like(frames[:, 0, 0, :1].expand(-1, 4))
    chosen = step.rand_like(frames[:, :1, :1, :1]) < share
    mixed = torch.where(chosen, warped(frames, chance), frames)
    return mixed.contiguous(memory_format=torch.channels_last)


def enlarging(few: int, many: int) -> Tensor:
    """The matrix (`many`, `few`) that enlarges a row of pixels by linear interpolation."""
    each = torch.eye(few)[None]
    return F.interpolate(each, many, mode="linear", align_corners=False)[0].T.contiguous()


class SpreadFrames(TrainingFrames):
    """At most `MOST_FRAMES` training frames, evenly spread over the film."""

    def __init__(self, frames: TrainingFrames) -> None:
        self._frames = frames
        step = -(-len(frames) // MOST_FRAMES)
        self._positions = range(0, len(frames), step)

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, which: Any) -> Any:
        positions = self._positions[which]
        return self._frames[list(positions) if isinstance(positions, range) else positions]


@torch.no_grad()
def start_from_components(
    encoder: ComponentEncoder, decoder: ComponentDecoder, frames: TrainingFrames
) -> Tensor:
    """Set the linear paths to the training frames' components, largest variance first.

    Returns how much of a frame each number of the latent explains (L,), as a sum of squares over
    colour values. It is 0 for components that the frames are too few or too similar to have. Reads
    the frames in chunks, at the size of the linear reconstruction, at most 15 times.
    """
    project, compose = encoder.project, decoder.compose
    coarse, device = encoder.coarse, project.weight.device
    frames = SpreadFrames(frames)
    count = max(1, min(project.out_features, len(frames) - 1, 3 * coarse.pixels))
    linear = WarpedComponents(coarse, count, share=0.0).to(device)
    linear.fit(frames)
    variances = torch.zeros(project.out_features, dtype=torch.float64, device=device)
    for some in frames.batches(64, device):
        values = reduced(some, coarse).flatten(1) - linear.mean
        variances[:count] += (values @ linear.components.T).square().sum(0, dtype=torch.float64)
    spreads = (variances / len(frames)).sqrt().float()
    spreads[spreads <= LEAST_SHARE * spreads[0]] = 0
    scales = torch.where(spreads > 0, 1 / spreads, 0)[:count, None]
    for weights in (project.weight, project.bias, compose.weight):
        weights.zero_()
    project.weight[:count] = scales * linear.components
    project.bias[:count] = -project.weight[:count] @ linear.mean
    compose.weight[:, :count] = linear.components.T * spreads[:count]
    compose.bias.copy_(linear.mean)
    pixels_each = len(decoder.rows) * len(decoder.columns) / coarse.pixels
    return spreads.square() * pixels_each
