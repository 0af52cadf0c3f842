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
from zoo import Film, FrameSize
from zoo_plugins.pca import PrincipalComponents

ZOOM_SD = 0.3
"""Of the logarithm of how much larger a frame becomes."""
SHIFT_SD = 0.3
"""In halves of the frame's sides."""
FARTHEST = 2.0
"""Standard deviations at which both are cut off."""
LEAST_ERROR = 1e-6
"""Squared; rounding to 8 bits alone makes as much."""


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
    grid = F.affine_grid(torch.stack(rows, dim=1), list(frames.shape), align_corners=False)
    return F.grid_sample(frames, grid, padding_mode="reflection", align_corners=False)


class WarpedComponents(PrincipalComponents):
    """The directions in which training frames and their warped copies differ most.

    A copy counts `share` times what its frame counts. The film is read a chunk at a time, and the
    copies are made anew, and alike, in each pass.
    """

    def __init__(self, size: FrameSize, latent: int, share: float) -> None:
        super().__init__(size, zoo.Options(latent=latent))
        self.share = share

    def fit(self, film: Film) -> None:
        """Find the mean of the training frames and the components."""
        total = torch.zeros_like(self.mean, dtype=torch.float64)
        for chunk in super()._chunks(film):
            total += chunk.sum(dim=0, dtype=torch.float64)
        self.mean.copy_(total / len(film.split.seen))
        self.components.copy_(self._by_subspace_iteration(film))

    def spreads(self, film: Film) -> Tensor:
        """Standard deviation of each coordinate (L,), over frames and copies."""
        total = torch.zeros(len(self.components), device=self.mean.device)
        for chunk in self._chunks(film):
            total += (chunk @ self.components.T).square().sum(dim=0)
        return (total / (len(film.split.seen) * (1 + self.share))).sqrt()

    def typical_error(self, film: Film) -> float:
        """Root of the mean squared error of a training frame's colours: a geometric mean."""
        total = 0.0
        for chunk in super()._chunks(film):
            missing = chunk - (chunk @ self.components.T) @ self.components
            errors = missing.square().mean(dim=1).clamp_min(LEAST_ERROR)
            total += float(errors.log().sum())
        return math.exp(0.5 * total / len(film.split.seen))

    def _chunks(self, film: Film, start: int = 0, stop: int | None = None) -> Iterator[Tensor]:
        """Training frames and their copies, flattened, centred and weighted, a chunk at a time."""
        generator = torch.Generator().manual_seed(0)
        shape = 3, self.size.height, self.size.width
        for chunk in super()._chunks(film, start, stop):
            yield chunk
            if self.share:
                chance = torch.randn(len(chunk), 4, generator=generator).to(chunk.device)
                copies = warped((chunk + self.mean).unflatten(1, shape), chance).flatten(1)
                yield math.sqrt(self.share) * (copies - self.mean)
