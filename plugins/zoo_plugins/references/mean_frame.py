"""The mean frame: the lowest baseline, which every model should beat."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

import zoo
from zoo import FrameSize, LatentSpec, Options, TrainingFrames, hookimpl


class MeanFrame(zoo.Autoencoder):
    """Reconstructs every frame as the mean of the training frames; its latent has no numbers."""

    name: ClassVar[str] = "mean"
    summary: ClassVar[str] = "the mean of the training frames"
    role = "reference"

    def __init__(self, size: FrameSize, options: Options) -> None:
        super().__init__(size, options)
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(3, size.height, size.width))

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) to empty latents (B, 0)."""
        return frames.new_zeros(frames.shape[0], 0)

    def decode(self, latent: Tensor) -> Tensor:
        """Return the mean frame B times: (B, 3, H, W)."""
        return self.mean.expand(latent.shape[0], -1, -1, -1)

    def latent_spec(self) -> LatentSpec:
        """A latent without numbers."""
        return LatentSpec((0,))

    def fit(self, frames: TrainingFrames) -> None:
        """Average the training frames, one at a time in double precision."""
        total = torch.zeros_like(self.mean, dtype=torch.float64)
        for frame in frames.batches(1, self.mean.device):
            total += frame[0]
        self.mean.copy_(total / len(frames))


@hookimpl
def zoo_references() -> list[type[zoo.Autoencoder]]:
    """The mean frame."""
    return [MeanFrame]
