"""Principal components of a film and of its frames warped: a basis for shots it does not have.

The principal components of a short film hold its very shots and little else. Frames that are also
mirrored, moved and enlarged teach a basis what pictures of such a film look like anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

import zoo
from zoo import FrameSize, TrainingFrames
from zoo_plugins.references.pca import PrincipalComponents

ZOOM_SD = 0.3
"""Of the logarithm of how much larger a frame becomes."""
SHIFT_SD = 0.3
"""In halves of the frame's sides."""
FARTHEST = 2.0
"""Standard deviations at which both are cut off."""
LEAST_ERROR = 1e-6
"""Squared; rounding to 8 bits alone makes as much."""
NEGLIGIBLE = 1e-4
"""Squared; frames with less than this left count alike."""
SAMPLES = 20_000
"""Frames of a long film by which levels are placed."""


def reduced(frames: Tensor, size: FrameSize) -> Tensor:
    """Frames (B, 3, H, W) at another size (B, 3, h, w): means over areas."""
    if frames.shape[-2:] == (size.height, size.width):
        return frames
    return F.interpolate(frames, (size.height, size.width), mode="area")


def warped(frames: Tensor, chance: Tensor) -> Tensor:
    """Frames (B, 3, H, W), each enlarged or reduced, moved, and half of them mirrored.

    `chance` is standard normal, (B, 4). What a frame does not cover is filled by its reflection.
    """
    zoom, right, down = chance[:, :3].clamp(-FARTHEST, FARTHEST).unbind(1)
    scale = torch.exp(-ZOOM_SD * zoom)
    nothing = torch.zeros_like(scale)
    rows = [
        torch.stack([torch.where(chance[:, 3] < 0, -scale, scale), nothing, SHIFT_SD * right], 1),
        torch.stack([nothing, scale, SHIFT_SD * down], 1),
    ]
    # In full precision: of a grid in 16 bits places are off by most of a pixel.
    with torch.autocast(frames.device.type, enabled=False):
        grid = F.affine_grid(torch.stack(rows, dim=1), list(frames.shape), align_corners=False)
        return F.grid_sample(frames, grid, padding_mode="reflection", align_corners=False)


class WarpedComponents(PrincipalComponents):
    """The directions in which training frames and their warped copies differ most.

    Frames are seen at `size`, which may be coarser than the film. A copy counts `share` times what
    its frame counts. The film is read a chunk at a time, and the copies are made anew, and alike,
    in each pass.
    """

    def __init__(self, size: FrameSize, latent: int, share: float) -> None:
        super().__init__(size, zoo.Options(latent=latent))
        self.share = share

    def fit(self, frames: TrainingFrames) -> None:
        """Find the mean of the training frames and the components."""
        total = torch.zeros_like(self.mean, dtype=torch.float64)
        for some in self._frames(frames):
            total += some.flatten(1).sum(dim=0, dtype=torch.float64)
        self.mean.copy_(total / len(frames))
        self.components.copy_(self._by_subspace_iteration(frames))

    def samples(self, frames: TrainingFrames) -> tuple[Tensor, Tensor]:
        """Coordinates (S, L) of frames and copies, and what each counts (S,).

        Scores are means over frames of a logarithm of the error, so a frame counts the more, the
        less the components leave of it. A long film is thinned out.
        """
        thinned = math.ceil(len(frames) / SAMPLES)
        coordinates, counts = [], []
        for chunk, count in self._frames_and_copies(frames):
            some = chunk[::thinned]
            found, left = self._projected(some)
            coordinates.append(found)
            counts.append(count / (left + NEGLIGIBLE))
        return torch.cat(coordinates), torch.cat(counts)

    def typical_error(self, frames: TrainingFrames) -> float:
        """Root of the mean squared error of a training frame's colours: a geometric mean."""
        total = 0.0
        for chunk in super()._chunks(frames):
            total += float(self._projected(chunk)[1].clamp_min(LEAST_ERROR).log().sum())
        return math.exp(0.5 * total / len(frames))

    def _projected(self, chunk: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates (B, L), and the mean squared error of what they leave (B,)."""
        found = chunk @ self.components.T
        return found, (chunk - found @ self.components).square().mean(dim=1)

    def _frames(
        self, frames: TrainingFrames, start: int = 0, stop: int | None = None
    ) -> Iterator[Tensor]:
        """Training frames `[start, stop)` as they are at this size, a chunk at a time."""
        for some in super()._frames(frames, start, stop):
            yield reduced(some, self.size)

    def _frames_and_copies(self, frames: TrainingFrames) -> Iterator[tuple[Tensor, float]]:
        """Chunks of training frames and of their copies by turns, and what a frame in each counts.

        Flattened and centred.
        """
        generator = torch.Generator().manual_seed(0)
        for some in self._frames(frames):
            yield some.flatten(1) - self.mean, 1.0
            if self.share:
                chance = torch.randn(len(some), 4, generator=generator).to(some.device)
                yield warped(some, chance).flatten(1) - self.mean, self.share

    def _chunks(
        self, frames: TrainingFrames, start: int = 0, stop: int | None = None
    ) -> Iterator[Tensor]:
        """Training frames and copies, each as much longer as it counts more: the whole film."""
        assert not start and stop is None, "a part of the copies would not be those of the whole"
        for chunk, count in self._frames_and_copies(frames):
            yield math.sqrt(count) * chunk
