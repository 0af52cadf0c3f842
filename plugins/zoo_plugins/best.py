"""Our own: principal components, redrawn by a convolutional network.

The decoder draws, from coordinates along principal components, the linear picture at a coarse size
and has a network redraw it, which looks at that picture and at the latent. What it adds begins near
zero, so that training starts from the components. Those are of the film and of its frames warped.
The loss is the pixel error, also on blends of mirrored frames, which no film shows, and a distance
between features of a pretrained network, not the one that judges. A frame's latent is its
coordinates, moved by a few steps to where its drawing is nearest to it by both. `docs/models.md`
has what else was tried.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zoo
from zoo import Film, FrameSize, Loss, Losses, Optimizer, Step, hookimpl
from zoo_plugins.gaussian import pixel_nats
from zoo_plugins.layers import STAGES, Block, halvings, widths
from zoo_plugins.perceptual import BACKBONE, LIGHT_BACKBONE, FeatureDistance
from zoo_plugins.refinement import refined
from zoo_plugins.warped_components import WarpedComponents

FEATURE_CURVATURE = 0.1
"""What the feature distance at weight 1 is taken to add to the curvature, over the pixels' own."""


def fade(layer: nn.Module) -> None:
    """Make what a layer adds next to nothing, but not nothing: it still passes gradients on."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(0.01)


class Redraw(nn.Module):
    """A linear picture (B, 3, H, W) and its latent (B, L) to what is missing (B, 3, H, W).

    A U-Net: the picture's maps on the way down meet, on the way up, what is drawn from the latent.
    """

    def __init__(self, size: FrameSize, width: int, latent: int) -> None:
        super().__init__()
        self.sizes = halvings(size)
        channels = widths(width)
        self.down = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1)
            for before, after in itertools.pairwise([3, *channels])
        )
        height, length = self.sizes[-1]
        self.start = nn.Linear(latent, channels[-1] * height * length)
        self.start_shape = channels[-1], height, length
        self.blocks = nn.ModuleList(Block(count) for count in channels)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(after, before, 4, 2, padding=1)
            for before, after in itertools.pairwise([3, *channels])
        )
        fade(self.up[0])

    def forward(self, picture: Tensor, latent: Tensor) -> Tensor:
        """Draw what is to be added to the picture."""
        met, maps = [], picture * 2 - 1
        for layer in self.down:
            maps = F.silu(layer(maps))
            met.append(maps)
        drawn = self.start(latent).unflatten(1, self.start_shape)
        drawn = drawn.contiguous(memory_format=torch.channels_last)
        for stage in reversed(range(STAGES)):
            height, length = self.sizes[stage]
            drawn = self.blocks[stage](drawn + met[stage])
            drawn = self.up[stage](drawn)[:, :, :height, :length]
        return drawn


class Drawing(nn.Module):
    """The decoder: latents (B, L) to frames (B, 3, H, W), not yet cut to [0, 1]."""

    def __init__(self, size: FrameSize, width: int, latent: int, coarse: int) -> None:
        super().__init__()
        self.shape = size.height, size.width
        self.coarse_shape = -(-size.height // coarse), -(-size.width // coarse)
        values = 3 * self.coarse_shape[0] * self.coarse_shape[1]
        self.compose = nn.Linear(latent, values).requires_grad_(False)
        self.redraw = Redraw(size, width, latent)

    @torch.no_grad()
    def start_from(self, directions: Tensor, mean: Tensor) -> None:
        """Make `directions` (l, 3 H W), l at most L, and `mean` (3 H W,) the linear picture."""
        pictures = torch.cat([directions, mean[None]]).unflatten(1, (3, *self.shape))
        coarse = F.interpolate(pictures, self.coarse_shape, mode="area").flatten(1)
        self.compose.weight.zero_()
        self.compose.weight[:, : len(directions)] = coarse[:-1].T
        self.compose.bias.copy_(coarse[-1])

    def forward(self, latent: Tensor) -> Tensor:
        """The linear picture, redrawn."""
        picture = self.compose(latent).unflatten(1, (3, *self.coarse_shape))
        picture = picture.contiguous(memory_format=torch.channels_last)
        if self.coarse_shape != self.shape:
            picture = F.interpolate(picture, self.shape, mode="bilinear", align_corners=False)
        return picture + self.redraw(picture, latent)


class Nearness(nn.Module):
    """How far what is drawn from latents is from frames: the mean squared error, and features."""

    def __init__(self, drawing: Drawing, distance: FeatureDistance) -> None:
        super().__init__()
        self.drawing, self.distance = drawing, distance

    def forward(self, latent: Tensor, frames: Tensor, weight: Tensor, *features: Tensor) -> Tensor:
        """Latents (B, L) and what is to be drawn from them to errors (B,)."""
        drawn = self.drawing(latent).float()
        errors = (drawn - frames).square().mean(dim=(1, 2, 3))
        if features:
            errors = errors + weight * self.distance.to_features(drawn, features)
        return errors


class Best(zoo.Autoencoder):
    """Principal components that stay as they were computed, and a network that redraws."""

    name: ClassVar[str] = "best"
    summary: ClassVar[str] = "principal components, redrawn by a network"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"width": 16, "coarse": 1, "backbone": LIGHT_BACKBONE}
    }

    class Options(zoo.Options):
        """Settings of our own model."""

        width: int = pydantic.Field(48, ge=4, description="channels of the first stage")
        coarse: int = pydantic.Field(
            2, ge=1, le=8, description="how much smaller than the frame the linear picture is"
        )
        lr: float = pydantic.Field(1e-3, gt=0, description="highest learning rate")
        pixel_sd: float = pydantic.Field(
            0.6, gt=0, description="what errors are measured against, over the linear picture's own"
        )
        feature: float = pydantic.Field(
            48.0, ge=0, description="weight of the feature distance beside the pixel error"
        )
        backbone: str = pydantic.Field(
            BACKBONE, description="timm network whose features are compared"
        )
        blend: float = pydantic.Field(
            0.3, ge=0, description="weight of the pixel error on blends of two frames"
        )
        noise: float = pydantic.Field(
            0.05, ge=0, description="noise on latents in training, over their standard deviation"
        )
        warps: float = pydantic.Field(
            0.5, ge=0, description="weight of warped frames in the principal components"
        )
        refine: int = pydantic.Field(
            8, ge=0, description="steps by which a frame's coordinates are moved to its latent"
        )
        refine_feature: float = pydantic.Field(
            2.0, ge=0, description="weight of the feature distance beside the pixel error in them"
        )

    options: Options

    def __init__(self, size: FrameSize, options: Options) -> None:
        super().__init__(size, options)
        self.project = nn.Linear(3 * size.pixels, options.latent).requires_grad_(False)
        self.drawing = Drawing(size, options.width, options.latent, options.coarse)
        self.distance = FeatureDistance(options.backbone, 3, size)
        self.typical_error: Tensor
        self.register_buffer("typical_error", torch.tensor(0.1))

    @torch.no_grad()
    def prepare(self, film: Film) -> None:
        """Start from the components: coordinates vary by 1 over the film and its warped frames."""
        count = min(self.options.latent, len(film.split.seen) - 1)
        linear = WarpedComponents(self.size, count, self.options.warps)
        linear.to(self.project.weight.device).fit(film)
        spreads = linear.spreads(film).clamp_min(1e-6)
        directions = linear.components / spreads[:, None]
        # A film of few frames has few components; what is left over of the latent stays zero.
        self.project.weight.zero_()
        self.project.bias.zero_()
        self.project.weight[:count] = directions
        self.project.bias[:count] = -directions @ linear.mean
        # A film that is easy to draw has small errors, which are to weigh as much beside features.
        self.typical_error.fill_(linear.typical_error(film))
        self.drawing.start_from(linear.components * spreads[:, None], linear.mean)

    def coordinates(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) to where their latents (B, L) are looked for first."""
        return self.project(frames.flatten(1))

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) to latents (B, L)."""
        if not self.options.refine:
            return self.coordinates(frames)
        if not self.options.refine_feature:
            return self._nearest(frames)
        # Kernels round otherwise for other batch sizes, and steps by features make much of it.
        return torch.cat([self._nearest(frame) for frame in frames.split(1)])

    def _nearest(self, frames: Tensor) -> Tensor:
        frames = frames.clone(memory_format=torch.channels_last)
        weight = 2 * self._sd().square() * self.options.refine_feature
        features = self.distance.features(frames) if self.options.refine_feature else []
        # That of the linear picture alone, whose components do not bear on one another.
        curvature = 2 * self.drawing.compose.weight.square().mean(dim=0)
        curvature = (1 + FEATURE_CURVATURE * self.options.refine_feature) * curvature
        return refined(
            Nearness(self.drawing, self.distance),
            self.coordinates(frames),
            [frames, weight, *features],
            curvature,
            self.options.refine,
        )

    def _sd(self) -> Tensor:
        """What errors are measured against, of no dimensions."""
        return self.options.pixel_sd * self.typical_error

    def decode(self, latent: Tensor) -> Tensor:
        """Latents (B, L) to frames (B, 3, H, W)."""
        return self.drawing(latent).clamp(0, 1)

    def optimizer(self, player: str) -> Optimizer:
        """AdamW at the learning rate of the options."""
        return Optimizer(lr=self.options.lr)

    def losses(self, frames: Tensor, step: Step) -> Losses:
        """The pixel error, on blends too, and the distance between features."""
        options = self.options
        blends = self._blends(frames, step)
        latent = self.coordinates(torch.cat([frames, blends]))
        drawn = self.drawing(latent + options.noise * step.randn_like(latent))
        drawn, drawn_blends = drawn.split([len(frames), len(blends)])
        sd = self._sd()
        terms = {"pixel": pixel_nats(drawn, frames, sd)}
        if options.blend:
            terms["blend"] = options.blend * pixel_nats(drawn_blends, blends, sd)
        if options.feature:
            terms["feature"] = options.feature * self.distance(drawn, frames)
        return {"autoencoder": Loss(terms)}

    def _blends(self, frames: Tensor, step: Step) -> Tensor:
        """Mixtures of each frame, mirrored, with another: none where they weigh nothing."""
        if not self.options.blend:
            return frames[:0]
        share = 0.5 + 0.5 * step.randn_like(frames[:, :1, :1, :1])
        mirrored = frames.flip(-1)
        return share * mirrored + (1 - share) * mirrored.roll(1, 0)


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """Our own model."""
    return [Best]
