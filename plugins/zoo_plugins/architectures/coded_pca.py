"""Coded PCA: principal components in a few bits each, refined by a convolutional network.

A latent consists of bytes. Each byte holds several coordinates along principal components, with
more levels for coordinates that matter more. The decoder computes a coarse linear reconstruction
from the coordinates, and a network refines it, with the reconstruction and the coordinates as its
inputs. The refinement starts near zero, so training starts from the components.

Components, levels and network are fitted to the film's frames and to warped copies, so that they
generalise to unseen frames. The loss combines pixel error, MS-SSIM and features of a pretrained
network, which is not the one of LPIPS. The encoder searches for a frame's latent: it starts at the
digits of its coordinates and improves the reconstruction. `docs/models.md` has ablations.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zoo
from zoo import (
    Batch,
    FrameSize,
    LatentSpec,
    Loss,
    Losses,
    Optimizer,
    Step,
    TrainingFrames,
    hookimpl,
)
from zoo_plugins.architectures.blocks.component_networks import enlarging
from zoo_plugins.architectures.blocks.layers import STAGES, Block, halvings, widths
from zoo_plugins.architectures.blocks.packed_levels import ByteCode, searched
from zoo_plugins.architectures.blocks.warped_components import WarpedComponents, reduced, warped
from zoo_plugins.architectures.perceptual import BACKBONE, LIGHT_BACKBONE, FeatureDistance
from zoo_plugins.metrics.ssim import multiscale_similarity

NARROW = 32
"""Channels of the smallest map, which is made from the coordinates."""
STAGES_COMPARED = 3
"""Number of stages of the pretrained network whose features are compared."""
SEARCHED_TOGETHER = 8
"""Frames whose latents are searched at once; smaller batches are padded to this size."""
LEAST_SPREAD, LEAST_SHARE = 1e-6, 1e-4
"""A coordinate that varies less than this, or less than this share of the largest, is 0."""
FEATURE_CURVATURE = 0.1
"""Assumed curvature of the feature distance at weight 1, relative to the pixel error's."""


def fade(layer: nn.Module) -> None:
    """Scale a layer's weights by 0.01, so that it adds little but still passes gradients on."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(0.01)


class Refinement(nn.Module):
    """Refines a linear reconstruction (B, 3, H, W) of coordinates (B, N): (B, 3, H, W).

    A U-Net whose smallest map is made from the coordinates.
    """

    def __init__(self, size: FrameSize, width: int, coordinates: int) -> None:
        super().__init__()
        self.sizes = halvings(size)
        channels = widths(width)
        self.down = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1)
            for before, after in itertools.pairwise([3, *channels])
        )
        # Few channels, because a layer from all coordinates to all positions has many weights.
        narrow = min(NARROW, channels[-1])
        self.start_shape = narrow, *self.sizes[-1]
        self.start = nn.Linear(coordinates, math.prod(self.start_shape))
        self.widened = nn.Conv2d(narrow, channels[-1], 1)
        self.blocks = nn.ModuleList(Block(count) for count in channels)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(after, before, 4, 2, padding=1)
            for before, after in itertools.pairwise([3, *channels])
        )
        fade(self.up[0])

    def forward(self, linear: Tensor, coordinates: Tensor) -> Tensor:
        """The refinement, to be added to the linear reconstruction."""
        skips, maps = [], linear * 2 - 1
        for layer in self.down:
            maps = F.silu(layer(maps))
            skips.append(maps)
        start = self.start(coordinates).unflatten(1, self.start_shape)
        maps = self.widened(start.contiguous(memory_format=torch.channels_last))
        for stage in reversed(range(STAGES)):
            height, length = self.sizes[stage]
            maps = self.blocks[stage](maps + skips[stage])
            maps = self.up[stage](maps)[:, :, :height, :length]
        return maps


class Decoder(nn.Module):
    """Coordinates (B, N) to frames (B, 3, H, W), not yet clamped to [0, 1]."""

    def __init__(self, size: FrameSize, coarse: FrameSize, width: int, coordinates: int) -> None:
        super().__init__()
        self.shape = size.height, size.width
        self.coarse_shape = coarse.height, coarse.width
        self.compose = nn.Linear(coordinates, 3 * coarse.pixels).requires_grad_(False)
        # Matrices, because the gradient of torch's interpolation is not reproducible on a GPU, and
        # a search amplifies small differences.
        self.rows: Tensor
        self.columns: Tensor
        for name, few, many in zip(("rows", "columns"), self.coarse_shape, self.shape, strict=True):
            self.register_buffer(name, enlarging(few, many))
        self.refinement = Refinement(size, width, coordinates)

    def forward(self, coordinates: Tensor) -> Tensor:
        """The linear reconstruction, refined."""
        linear = self.compose(coordinates).unflatten(1, (3, *self.coarse_shape))
        linear = linear.contiguous(memory_format=torch.channels_last)
        if self.coarse_shape != self.shape:
            linear = self.rows @ linear @ self.columns.T
            linear = linear.contiguous(memory_format=torch.channels_last)
        return linear + self.refinement(linear, coordinates)


class CoordinateError(nn.Module):
    """The error of decoded coordinates: mean squared error plus distance of features."""

    def __init__(self, decoder: Decoder, distance: FeatureDistance) -> None:
        super().__init__()
        self.decoder, self.distance = decoder, distance

    def forward(
        self, coordinates: Tensor, frames: Tensor, weight: Tensor, *features: Tensor
    ) -> Tensor:
        """Errors (B,) of coordinates (B, N) against the frames (B, 3, H, W) that they encode."""
        decoded = self.decoder(coordinates).float().clamp(0, 1)
        errors = (decoded - frames).square().mean(dim=(1, 2, 3))
        if features:
            errors = errors + weight * self.distance.to_features(decoded, features)
        return errors


class CodedPCA(zoo.Autoencoder):
    """Coded PCA: principal components coded in bytes, and a network that refines them."""

    name: ClassVar[str] = "coded_pca"
    summary: ClassVar[str] = "principal components in few bits each, refined by a network"
    unequal_terms: ClassVar[tuple[str, ...]] = (
        "each step also trains on as many warped copies of its frames, so on twice as many images "
        "as other models.",
        "before training, up to 15 passes over the training frames compute its components, outside "
        "of the budget.",
        "the loss contains the squared error that PSNR is computed from, MS-SSIM, and features of "
        "a network pretrained on photographs, as LPIPS does with another network.",
    )
    tuned_on: ClassVar[tuple[str, ...]] = (
        *("bikes", "bigbuckbunny", "carphone"),
        *("tears", "tears6", "sintel", "popeye", "bunny"),
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"width": 24, "coarse": 1, "lr": 3e-3, "backbone": LIGHT_BACKBONE},
        "laptop": {"width": 16, "coarse": 4, "lr": 2e-3, "backbone": LIGHT_BACKBONE},
    }

    class Options(zoo.Options):
        """Settings of coded PCA."""

        width: int = pydantic.Field(72, ge=4, description="channels of the first stage")
        coordinates_per_number: int = pydantic.Field(
            3, ge=1, le=8, description="coordinates for each number of the latent"
        )
        coarse: int = pydantic.Field(
            4,
            ge=1,
            le=8,
            description="how much smaller than the frame the linear reconstruction is",
        )
        lr: float = pydantic.Field(1e-3, gt=0, description="highest learning rate")
        pixel_sd: float = pydantic.Field(
            0.6,
            gt=0,
            description="scale of pixel errors, over the error of the linear reconstruction",
        )
        feature: float = pydantic.Field(
            32.0, ge=0, description="weight of the feature distance beside the pixel error"
        )
        structure: float = pydantic.Field(
            24.0, ge=0, description="weight of 1 - MS-SSIM beside the pixel error"
        )
        backbone: str = pydantic.Field(
            BACKBONE, description="timm network whose features are compared"
        )
        warps: float = pydantic.Field(
            0.4, ge=0, description="weight of a warped frame beside a frame of the film"
        )
        noise: float = pydantic.Field(
            0.05,
            ge=0,
            description="noise on coordinates in training, over their standard deviation",
        )
        search: int = pydantic.Field(
            6, ge=0, description="steps of the search for the digits that reconstruct a frame best"
        )
        search_feature: float = pydantic.Field(
            2.0, ge=0, description="weight of the feature distance beside the pixel error in them"
        )

    options: Options

    def __init__(self, size: FrameSize, options: Options) -> None:
        super().__init__(size, options)
        count = options.coordinates_per_number * options.latent
        self.coarse = FrameSize(-(-size.width // options.coarse), -(-size.height // options.coarse))
        self.project = nn.Linear(3 * self.coarse.pixels, count).requires_grad_(False)
        self.code = ByteCode(count, options.latent)
        self.decoder = Decoder(size, self.coarse, options.width, count)
        self.distance = FeatureDistance(options.backbone, STAGES_COMPARED, size)
        self.typical_error: Tensor
        self.register_buffer("typical_error", torch.tensor(0.1))

    def latent_spec(self) -> LatentSpec:
        """L codes of 256 values each: bytes."""
        return LatentSpec((self.options.latent,), codes=256)

    @torch.no_grad()
    def prepare(self, frames: TrainingFrames) -> None:
        """Start from the components; scale coordinates to a weighted variance of 1."""
        # Few or small frames have few components; the remaining coordinates stay zero.
        shown = len(frames) * (2 if self.options.warps else 1)
        count = max(1, min(self.code.coordinates, shown - 1, 3 * self.coarse.pixels))
        linear = WarpedComponents(self.coarse, count, self.options.warps)
        linear.to(self.project.weight.device).fit(frames)
        values, weights = linear.samples(frames)
        spreads = (weights / weights.sum() @ values.square()).sqrt()
        # Coordinates that hardly vary are rounding errors, and are left out.
        varies = spreads > max(LEAST_SPREAD, LEAST_SHARE * float(spreads.max()))
        spreads = torch.where(varies, spreads, 0.0)
        scale = torch.where(varies, 1 / spreads, 0.0)
        directions = linear.components * scale[:, None]
        self.project.weight.zero_()
        self.project.bias.zero_()
        self.project.weight[:count] = directions
        self.project.bias[:count] = -directions @ linear.mean
        compose = self.decoder.compose
        compose.weight.zero_()
        compose.weight[:, :count] = linear.components.T * spreads
        compose.bias.copy_(linear.mean)
        rest = 0, self.code.coordinates - count
        self.code.fit(F.pad(values * scale, rest), weights, F.pad(spreads.square(), rest))
        # The scale of pixel errors, so that they weigh as much on films with small errors.
        self.typical_error.fill_(linear.typical_error(frames))

    def projected(self, frames: Tensor) -> Tensor:
        """Project frames (B, 3, H, W) onto the components: coordinates (B, N)."""
        # In full precision, because a coordinate can have more than a hundred levels.
        with torch.autocast(frames.device.type, enabled=False):
            return self.project(reduced(frames, self.coarse).flatten(1))

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) to latents (B, L): whole numbers from 0 to 255."""
        # Always the same batch size: kernels round differently at other sizes, and a search by
        # gradients amplifies this, so that a latent would depend on the other frames of its batch.
        digits = []
        for some in frames.split(SEARCHED_TOGETHER):
            missing = SEARCHED_TOGETHER - len(some)
            full = torch.cat([some, some[-1:].expand(missing, -1, -1, -1)]) if missing else some
            digits.append(self._searched(full)[: len(some)])
        return self.code.pack(torch.cat(digits))

    def _searched(self, frames: Tensor) -> Tensor:
        """Search for the digits (B, N) that reconstruct frames best."""
        options = self.options
        digits = self.code.nearest(self.projected(frames))
        if not options.search:
            return digits
        frames = frames.clone(memory_format=torch.channels_last)
        weight = 2 * self._sd().square() * options.search_feature
        features = self.distance.features(frames) if options.search_feature else []
        # The curvature of the linear reconstruction alone, whose components are orthogonal.
        curvature = 2 * self.decoder.compose.weight.square().mean(dim=0)
        curvature = (1 + FEATURE_CURVATURE * options.search_feature) * curvature
        error = CoordinateError(self.decoder, self.distance)
        return searched(
            error, self.code, digits, [frames, weight, *features], curvature, options.search
        )

    def _sd(self) -> Tensor:
        """The scale of pixel errors: a scalar tensor."""
        return self.options.pixel_sd * self.typical_error

    def decode(self, latent: Tensor) -> Tensor:
        """Latents (B, L), rounded to whole numbers here, to frames (B, 3, H, W)."""
        return self.decoder(self.to_coordinates(latent)).clamp(0, 1)

    def to_coordinates(self, numbers: Tensor) -> Tensor:
        """Latents (N, L) to the coordinates (N, M) of their digits."""
        return self.code.levels_of(self.code.unpack(numbers))

    def from_coordinates(self, coordinates: Tensor) -> Tensor:
        """Coordinates (N, M) to the latents (N, L) of the nearest levels."""
        return self.code.pack(self.code.nearest(coordinates))

    def optimizer(self, player: str) -> Optimizer:
        """AdamW at the learning rate of the options."""
        return Optimizer(lr=self.options.lr)

    def losses(self, batch: Batch, step: Step) -> Losses:
        """Errors of pixels, structure and features, on frames and on warped copies."""
        frames = batch.frames
        copies = self._copies(frames, step)
        shown = torch.cat([frames, copies])
        decoded = self.decoder(self.code.levels_of(self._noisy_digits(frames, copies, step)))
        counts = shown.new_ones(len(frames)), shown.new_full((len(copies),), self.options.warps)
        weights = torch.cat(counts)
        share = weights / weights.sum()
        errors = self._errors(decoded, shown)
        return {"autoencoder": Loss({name: (share * each).sum() for name, each in errors.items()})}

    def _copies(self, frames: Tensor, step: Step) -> Tensor:
        """A warped copy of each frame; empty if the weight of copies is 0."""
        if not self.options.warps:
            return frames[:0]
        chance = step.randn_like(frames.flatten(1)[:, :4])
        return warped(frames, chance).contiguous(memory_format=torch.channels_last)

    def _noisy_digits(self, frames: Tensor, copies: Tensor, step: Step) -> Tensor:
        """Digits (B, N) of frames and copies with noise, because the search moves digits too."""
        found = []
        # Separately, so that a frame's noise does not depend on the number of ranks.
        for shown in (frames, copies):
            if len(shown):
                coordinates = self.projected(shown)
                noise = self.options.noise * step.randn_like(coordinates)
                found.append(self.code.nearest(coordinates + noise))
        return torch.cat(found)

    def _errors(self, decoded: Tensor, shown: Tensor) -> dict[str, Tensor]:
        """Errors (B,) of reconstructions of the frames in `shown`, by kind."""
        options = self.options
        with torch.autocast(shown.device.type, enabled=False):
            pixel = (decoded - shown).square().mean(dim=(1, 2, 3)) / (2 * self._sd().square())
            errors = {"pixel": pixel}
            if options.structure:
                unlike = 1 - multiscale_similarity(decoded.float(), shown.float())
                errors["structure"] = options.structure * unlike
        if options.feature:
            with torch.no_grad():
                features = self.distance.features(shown)
            errors["feature"] = options.feature * self.distance.to_features(decoded, features)
        return errors


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """Coded PCA."""
    return [CodedPCA]
