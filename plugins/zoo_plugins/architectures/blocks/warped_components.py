"""Principal components of a film's frames and of warped copies, a basis for unseen shots as well.

The principal components of a short film represent its own shots and little else. With copies that
are mirrored, moved and enlarged, the basis also fits similar pictures in other positions.
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
"""Standard deviation of the logarithm of the zoom factor."""
SHIFT_SD = 0.3
"""Standard deviation of the shift, in halves of the frame's sides."""
FARTHEST = 2.0
"""Standard deviations at which zoom and shift are clipped."""
LEAST_ERROR = 1e-6
"""Minimum mean squared error; about what rounding to 8 bits alone causes."""
NEGLIGIBLE = 1e-4
"""Mean squared error below which all frames have about the same weight."""
SAMPLES = 20_000
"""Maximum number of frames from which levels are placed."""


def reduced(frames: Tensor, size: FrameSize) -> Tensor:
    """Reduce frames (B, 3, H, W) to another size (B, 3, h, w), averaging over areas."""
    if frames.shape[-2:] == (size.height, size.width):
        return frames
    return F.interpolate(frames, (size.height, size.width), mode="area")


def warped(frames: Tensor, chance: Tensor) -> Tensor:
    """Enlarge or reduce, and move, frames (B, 3, H, W) at random, and mirror half of them.

    `chance` is standard normal, (B, 4). Areas outside a frame are filled with its reflection.
    """
    zoom, right, down = chance[:, :3].clamp(-FARTHEST, FARTHEST).unbind(1)
    scale = torch.exp(-ZOOM_SD * zoom)
    nothing = torch.zeros_like(scale)
    rows = [
        torch.stack([torch.where(chance[:, 3] < 0, -scale, scale), nothing, SHIFT_SD * right], 1),
        torch.stack([nothing, scale, SHIFT_SD * down], 1),
    ]
    # In full precision: positions in a 16-bit grid are off by most of a pixel.
    with torch.autocast(frames.device.type, enabled=False):
        grid = F.affine_grid(torch.stack(rows, dim=1), list(frames.shape), align_corners=False)
        return F.grid_sample(frames, grid, padding_mode="reflection", align_corners=False)


class WarpedComponents(PrincipalComponents):
    """PCA of training frames and their warped copies.

    Frames are reduced to `size`, which may be smaller than the film's. The weight of a copy is
    `share` times that of its frame. The film is read in chunks, and every pass makes the same
    copies again.
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
        """Coordinates (S, L) of frames and copies, and the weight of each (S,).

        Scores are means over frames of a logarithm of the error, so a frame weighs more the smaller
        its error after projection is. Of a long film only every n-th frame is used.
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
        """Geometric mean over training frames of the root mean square error of colours."""
        total = 0.0
        for chunk in super()._chunks(frames):
            total += float(self._projected(chunk)[1].clamp_min(LEAST_ERROR).log().sum())
        return math.exp(0.5 * total / len(frames))

    def _projected(self, chunk: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates (B, L), and the mean squared error of the projection (B,)."""
        found = chunk @ self.components.T
        return found, (chunk - found @ self.components).square().mean(dim=1)

    def _frames(
        self, frames: TrainingFrames, start: int = 0, stop: int | None = None
    ) -> Iterator[Tensor]:
        """Yield training frames `[start, stop)`, reduced to this size, in chunks."""
        for some in super()._frames(frames, start, stop):
            yield reduced(some, self.size)

    def _frames_and_copies(self, frames: TrainingFrames) -> Iterator[tuple[Tensor, float]]:
        """Yield chunks of training frames and of their copies in turn, with the weight of a frame.

        Frames are flattened and centred.
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
        """Yield all training frames and copies, scaled by the square root of their weights."""
        assert not start and stop is None, "a part of the copies would not be those of the whole"
        for chunk, count in self._frames_and_copies(frames):
            yield math.sqrt(count) * chunk
