"""Principal components: the best possible linear autoencoder at this latent size.

Short films are solved exactly, from the inner products of their frames. For long films this matrix
would not fit in memory, so subspace iteration over the film is used until it converges (Halko,
Martinsson and Tropp, Finding structure with randomness, 2011). In both cases the film is read from
disk in chunks and is never in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

import zoo
from zoo import BadInput, FrameSize, Options, TrainingFrames, hookimpl

EXACT_UP_TO = 6000
"""Maximum frames for the exact solution; their inner products take 288 MB in double precision."""
OVERSAMPLED = 10
PASSES = 12
SETTLED = 1e-4
CHUNK = 64
"""Frames that are processed at once."""
BLOCK = 8 * CHUNK
"""Frames that are held while their inner products with every other chunk are computed: 226 MB of
floats at 256x144. The film is read once per block."""


class PrincipalComponents(zoo.Autoencoder):
    """PCA: latents are coordinates along the directions in which training frames vary most."""

    name: ClassVar[str] = "pca"
    summary: ClassVar[str] = "principal components of the training frames"
    role = "reference"

    def __init__(self, size: FrameSize, options: Options) -> None:
        super().__init__(size, options)
        self.mean: Tensor
        self.components: Tensor
        values = 3 * size.pixels
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("components", torch.zeros(options.latent, values))

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) to coordinates (B, L)."""
        return (frames.flatten(1) - self.mean) @ self.components.T

    def decode(self, latent: Tensor) -> Tensor:
        """Coordinates (B, L) to frames (B, 3, H, W), clamped to [0, 1]."""
        flat = latent @ self.components + self.mean
        return flat.unflatten(1, (3, self.size.height, self.size.width)).clamp(0, 1)

    def fit(self, frames: TrainingFrames) -> None:
        """Find the components of the training frames.

        Raises BadInput unless there are more training frames than numbers in the latent.
        """
        count = len(frames)
        if count <= self.options.latent:
            few = f"{frames.film} has {count} training frame{'s' * (count != 1)}, too few for"
            if count < 2:
                raise BadInput(f"{few} principal components")
            raise BadInput(
                f"{few} {self.options.latent} principal components; "
                f"use --latent {max(1, count // 10)}"
            )
        total = torch.zeros_like(self.mean, dtype=torch.float64)
        for chunk in self._chunks(frames):
            total += chunk.sum(dim=0, dtype=torch.float64)
        self.mean.copy_(total / count)
        exact = count <= EXACT_UP_TO
        found = self._exact(frames) if exact else self._by_subspace_iteration(frames)
        self.components.copy_(found)

    def _chunks(
        self, frames: TrainingFrames, start: int = 0, stop: int | None = None
    ) -> Iterator[Tensor]:
        """Yield training frames `[start, stop)`, flattened and centred, in chunks."""
        for some in self._frames(frames, start, stop):
            yield some.flatten(1) - self.mean

    def _frames(
        self, frames: TrainingFrames, start: int = 0, stop: int | None = None
    ) -> Iterator[Tensor]:
        """Yield training frames `[start, stop)`, float (B, 3, H, W) in [0, 1], in chunks."""
        return frames.batches(CHUNK, self.mean.device, start, stop)

    def _exact(self, frames: TrainingFrames) -> Tensor:
        """Compute components (L, values) from the eigenvectors of the frames' inner products."""
        count = len(frames)
        products = torch.zeros(count, count, dtype=torch.float64, device=self.mean.device)
        for start in range(0, count, BLOCK):
            block = torch.cat(list(self._chunks(frames, start, start + BLOCK)))
            rows = slice(start, start + len(block))
            at = start
            for chunk in self._chunks(frames, start):
                columns = slice(at, at + len(chunk))
                found = (block @ chunk.T).double()
                products[rows, columns] = found
                products[columns, rows] = found.T
                at += len(chunk)
        _, vectors = torch.linalg.eigh(products)
        leading = vectors[:, -self.options.latent :].flip(1).T.float()
        directions = torch.zeros_like(self.components)
        for weights, chunk in zip(leading.split(CHUNK, dim=1), self._chunks(frames), strict=True):
            directions += weights @ chunk
        return torch.linalg.qr(directions.T).Q.T

    def _by_subspace_iteration(self, frames: TrainingFrames) -> Tensor:
        """Compute components (L, values) by passes over the film until variances converge."""
        wanted = self.options.latent
        generator = torch.Generator(self.mean.device).manual_seed(0)
        start = torch.randn(
            self.mean.numel(), wanted + OVERSAMPLED, generator=generator, device=self.mean.device
        )
        basis = torch.linalg.qr(start).Q
        before = torch.zeros(wanted, device=self.mean.device)
        for _ in range(PASSES):
            image = torch.zeros_like(basis)
            for chunk in self._chunks(frames):
                image += chunk.T @ (chunk @ basis)
            values, rotation = torch.linalg.eigh(basis.T @ image)
            variances = values.flip(0)[:wanted]
            ritz = (basis @ rotation.flip(1))[:, :wanted]
            if (variances - before).abs().sum() <= SETTLED * variances.sum():
                break
            before = variances
            basis = torch.linalg.qr(image).Q
        return ritz.T


@hookimpl
def zoo_references() -> list[type[zoo.Autoencoder]]:
    """PCA at the models' latent size."""
    return [PrincipalComponents]
