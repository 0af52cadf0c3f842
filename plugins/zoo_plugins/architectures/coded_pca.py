"""Our own: principal components in few bits each, redrawn by a convolutional network.

A latent's numbers are bytes. A byte has the digits of several coordinates along principal
components, each with as many levels as it is worth. From them the decoder draws the linear picture,
at a coarse size, and has a network redraw it, which looks at that picture and at the coordinates.
What it adds begins near zero, so that training starts from the components.

Components, levels and network learn from the film's frames and from warped copies of them, so that
they can draw what the film does not show. The loss is the error of pixels, of structure (MS-SSIM)
and of features of a pretrained network, not the one that judges. A frame's latent is looked for,
from its coordinates on, where its drawing is nearest to it. `docs/models.md` has what was tried.
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
from zoo_plugins.architectures.blocks.byte_codes import ByteCode, searched
from zoo_plugins.architectures.blocks.component_networks import enlarging
from zoo_plugins.architectures.blocks.layers import STAGES, Block, halvings, widths
from zoo_plugins.architectures.blocks.warped_components import WarpedComponents, reduced, warped
from zoo_plugins.architectures.perceptual import BACKBONE, LIGHT_BACKBONE, FeatureDistance
from zoo_plugins.metrics.ssim import multiscale_similarity

NARROW = 32
"""Channels that are drawn from the coordinates straight away."""
STAGES_COMPARED = 3
"""Of the pretrained network."""
SEARCHED_TOGETHER = 8
"""Frames whose latents are searched at once, always as many."""
LEAST_SPREAD, LEAST_SHARE = 1e-6, 1e-4
"""A coordinate that varies less than this, or than this share of the first, counts for nothing."""
FEATURE_CURVATURE = 0.1
"""What the feature distance at weight 1 is taken to add to the curvature, over the pixels' own."""


def fade(layer: nn.Module) -> None:
    """Make what a layer adds next to nothing, but not nothing: it still passes gradients on."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(0.01)


class Redraw(nn.Module):
    """A linear picture (B, 3, H, W) and its coordinates (B, N) to what is missing (B, 3, H, W).

    A U-Net: the picture's maps on the way down meet, on the way up, what is drawn from coordinates.
    """

    def __init__(self, size: FrameSize, width: int, coordinates: int) -> None:
        super().__init__()
        self.sizes = halvings(size)
        channels = widths(width)
        self.down = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1)
            for before, after in itertools.pairwise([3, *channels])
        )
        # Few channels for all coordinates at all places: most of the weights would be here.
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

    def forward(self, picture: Tensor, coordinates: Tensor) -> Tensor:
        """Draw what is to be added to the picture."""
        met, maps = [], picture * 2 - 1
        for layer in self.down:
            maps = F.silu(layer(maps))
            met.append(maps)
        start = self.start(coordinates).unflatten(1, self.start_shape)
        drawn = self.widened(start.contiguous(memory_format=torch.channels_last))
        for stage in reversed(range(STAGES)):
            height, length = self.sizes[stage]
            drawn = self.blocks[stage](drawn + met[stage])
            drawn = self.up[stage](drawn)[:, :, :height, :length]
        return drawn


class Drawing(nn.Module):
    """The decoder: coordinates (B, N) to frames (B, 3, H, W), not yet cut to [0, 1]."""

    def __init__(self, size: FrameSize, coarse: FrameSize, width: int, coordinates: int) -> None:
        super().__init__()
        self.shape = size.height, size.width
        self.coarse_shape = coarse.height, coarse.width
        self.compose = nn.Linear(coordinates, 3 * coarse.pixels).requires_grad_(False)
        # Matrices: the gradient of torch's own enlarging is not the same twice on a GPU, and a
        # search makes much of the least difference.
        self.rows: Tensor
        self.columns: Tensor
        for name, few, many in zip(("rows", "columns"), self.coarse_shape, self.shape, strict=True):
            self.register_buffer(name, enlarging(few, many))
        self.redraw = Redraw(size, width, coordinates)

    def forward(self, coordinates: Tensor) -> Tensor:
        """The linear picture, redrawn."""
        picture = self.compose(coordinates).unflatten(1, (3, *self.coarse_shape))
        picture = picture.contiguous(memory_format=torch.channels_last)
        if self.coarse_shape != self.shape:
            picture = self.rows @ picture @ self.columns.T
            picture = picture.contiguous(memory_format=torch.channels_last)
        return picture + self.redraw(picture, coordinates)


class Nearness(nn.Module):
    """How far what is drawn from coordinates is from frames: mean squared error, and features."""

    def __init__(self, drawing: Drawing, distance: FeatureDistance) -> None:
        super().__init__()
        self.drawing, self.distance = drawing, distance

    def forward(
        self, coordinates: Tensor, frames: Tensor, weight: Tensor, *features: Tensor
    ) -> Tensor:
        """Coordinates (B, N) and what is to be drawn from them to errors (B,)."""
        drawn = self.drawing(coordinates).float().clamp(0, 1)
        errors = (drawn - frames).square().mean(dim=(1, 2, 3))
        if features:
            errors = errors + weight * self.distance.to_features(drawn, features)
        return errors


class CodedPCA(zoo.Autoencoder):
    """Principal components, coded in bytes, and a network that redraws what they draw."""

    name: ClassVar[str] = "coded_pca"
    summary: ClassVar[str] = "principal components in few bits each, redrawn by a network"
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
        """Settings of our own model."""

        width: int = pydantic.Field(72, ge=4, description="channels of the first stage")
        coordinates_per_number: int = pydantic.Field(
            3, ge=1, le=8, description="coordinates for each number of the latent"
        )
        coarse: int = pydantic.Field(
            4, ge=1, le=8, description="how much smaller than the frame the linear picture is"
        )
        lr: float = pydantic.Field(1e-3, gt=0, description="highest learning rate")
        pixel_sd: float = pydantic.Field(
            0.6, gt=0, description="what errors are measured against, over the linear picture's own"
        )
        feature: float = pydantic.Field(
            32.0, ge=0, description="weight of the feature distance beside the pixel error"
        )
        structure: float = pydantic.Field(
            24.0, ge=0, description="weight of what MS-SSIM lacks of 1, beside the pixel error"
        )
        backbone: str = pydantic.Field(
            BACKBONE, description="timm network whose features are compared"
        )
        warps: float = pydantic.Field(
            0.4, ge=0, description="what a warped frame counts, beside a frame of the film"
        )
        noise: float = pydantic.Field(
            0.05,
            ge=0,
            description="noise on coordinates in training, over their standard deviation",
        )
        search: int = pydantic.Field(
            6, ge=0, description="steps by which digits are moved to where a frame is drawn best"
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
        self.drawing = Drawing(size, self.coarse, options.width, count)
        self.distance = FeatureDistance(options.backbone, STAGES_COMPARED, size)
        self.typical_error: Tensor
        self.register_buffer("typical_error", torch.tensor(0.1))

    def latent_spec(self) -> LatentSpec:
        """Bytes."""
        return LatentSpec((self.options.latent,), codes=256)

    @torch.no_grad()
    def prepare(self, frames: TrainingFrames) -> None:
        """Start from the components; weighed as levels are, coordinates vary by 1."""
        # Few frames, and small ones, have few components; coordinates left over stay zero.
        shown = len(frames) * (2 if self.options.warps else 1)
        count = max(1, min(self.code.coordinates, shown - 1, 3 * self.coarse.pixels))
        linear = WarpedComponents(self.coarse, count, self.options.warps)
        linear.to(self.project.weight.device).fit(frames)
        values, weights = linear.samples(frames)
        spreads = (weights / weights.sum() @ values.square()).sqrt()
        # What hardly varies is rounding, and is left out.
        varies = spreads > max(LEAST_SPREAD, LEAST_SHARE * float(spreads.max()))
        spreads = torch.where(varies, spreads, 0.0)
        scale = torch.where(varies, 1 / spreads, 0.0)
        directions = linear.components * scale[:, None]
        self.project.weight.zero_()
        self.project.bias.zero_()
        self.project.weight[:count] = directions
        self.project.bias[:count] = -directions @ linear.mean
        compose = self.drawing.compose
        compose.weight.zero_()
        compose.weight[:, :count] = linear.components.T * spreads
        compose.bias.copy_(linear.mean)
        rest = 0, self.code.coordinates - count
        self.code.fit(F.pad(values * scale, rest), weights, F.pad(spreads.square(), rest))
        # A film that is easy to draw has small errors, which are to weigh as much beside features.
        self.typical_error.fill_(linear.typical_error(frames))

    def projected(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) to coordinates along the components (B, N)."""
        # In full precision: a coordinate may have a hundred levels and more.
        with torch.autocast(frames.device.type, enabled=False):
            return self.project(reduced(frames, self.coarse).flatten(1))

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) to latents (B, L): whole numbers from 0 to 255."""
        # Always as many at once: kernels round otherwise for other batch sizes, and a search by
        # slopes makes much of it, so that a latent would depend on the frames beside it.
        digits = []
        for some in frames.split(SEARCHED_TOGETHER):
            missing = SEARCHED_TOGETHER - len(some)
            full = torch.cat([some, some[-1:].expand(missing, -1, -1, -1)]) if missing else some
            digits.append(self._searched(full)[: len(some)])
        return self.code.pack(torch.cat(digits))

    def _searched(self, frames: Tensor) -> Tensor:
        """The digits (B, N) from which frames are drawn best, as far as steps lead to them."""
        options = self.options
        digits = self.code.nearest(self.projected(frames))
        if not options.search:
            return digits
        frames = frames.clone(memory_format=torch.channels_last)
        weight = 2 * self._sd().square() * options.search_feature
        features = self.distance.features(frames) if options.search_feature else []
        # That of the linear picture alone, whose components do not bear on one another.
        curvature = 2 * self.drawing.compose.weight.square().mean(dim=0)
        curvature = (1 + FEATURE_CURVATURE * options.search_feature) * curvature
        error = Nearness(self.drawing, self.distance)
        return searched(
            error, self.code, digits, [frames, weight, *features], curvature, options.search
        )

    def _sd(self) -> Tensor:
        """What errors are measured against, of no dimensions."""
        return self.options.pixel_sd * self.typical_error

    def decode(self, latent: Tensor) -> Tensor:
        """Latents (B, L), within a half of whole, to frames (B, 3, H, W)."""
        return self.drawing(self.to_coordinates(latent)).clamp(0, 1)

    def to_coordinates(self, numbers: Tensor) -> Tensor:
        """The coordinates (N, M) that the digits of latents (N, L) name."""
        return self.code.levels_of(self.code.unpack(numbers))

    def from_coordinates(self, coordinates: Tensor) -> Tensor:
        """The latents (N, L) of the levels nearest to coordinates (N, M)."""
        return self.code.pack(self.code.nearest(coordinates))

    def optimizer(self, player: str) -> Optimizer:
        """AdamW at the learning rate of the options."""
        return Optimizer(lr=self.options.lr)

    def losses(self, batch: Batch, step: Step) -> Losses:
        """Errors of pixels, structure and features, of frames and of warped copies."""
        frames = batch.frames
        copies = self._copies(frames, step)
        shown = torch.cat([frames, copies])
        drawn = self.drawing(self.code.levels_of(self._noisy_digits(frames, copies, step)))
        counts = shown.new_ones(len(frames)), shown.new_full((len(copies),), self.options.warps)
        weights = torch.cat(counts)
        share = weights / weights.sum()
        errors = self._errors(drawn, shown)
        return {"autoencoder": Loss({name: (share * each).sum() for name, each in errors.items()})}

    def _copies(self, frames: Tensor, step: Step) -> Tensor:
        """Each frame warped: none where they count nothing."""
        if not self.options.warps:
            return frames[:0]
        chance = step.randn_like(frames.flatten(1)[:, :4])
        return warped(frames, chance).contiguous(memory_format=torch.channels_last)

    def _noisy_digits(self, frames: Tensor, copies: Tensor, step: Step) -> Tensor:
        """Digits near those of frames and copies (B, N), since a search moves them, too."""
        found = []
        # Apart, so that a frame's noise is the same however many ranks share a batch.
        for shown in (frames, copies):
            if len(shown):
                coordinates = self.projected(shown)
                noise = self.options.noise * step.randn_like(coordinates)
                found.append(self.code.nearest(coordinates + noise))
        return torch.cat(found)

    def _errors(self, drawn: Tensor, shown: Tensor) -> dict[str, Tensor]:
        """What a drawing lacks of what was shown, by kind (B,)."""
        options = self.options
        with torch.autocast(shown.device.type, enabled=False):
            pixel = (drawn - shown).square().mean(dim=(1, 2, 3)) / (2 * self._sd().square())
            errors = {"pixel": pixel}
            if options.structure:
                unlike = 1 - multiscale_similarity(drawn.float(), shown.float())
                errors["structure"] = options.structure * unlike
        if options.feature:
            with torch.no_grad():
                features = self.distance.features(shown)
            errors["feature"] = options.feature * self.distance.to_features(drawn, features)
        return errors


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """Our own model."""
    return [CodedPCA]
