"""A vector-quantised autoencoder: its latent is a grid of codes, the indices of codebook vectors.

Van den Oord et al., Neural discrete representation learning, 2017, with its codebook of running
means. Rarely used codes are moved next to busy ones, like the splitting of codes in Linde, Buzo and
Gray, 1980. The grid is as fine as the latent's bits allow.
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
from zoo import Batch, LatentSpec, Loss, Losses, Step, TrainingFrames, hookimpl
from zoo.base.extras import missing_extra
from zoo_plugins.architectures.ae import PIXEL_SD, SquaredErrorAutoencoder
from zoo_plugins.architectures.blocks.gaussian import pixel_nats
from zoo_plugins.architectures.blocks.layers import Block, Up, group_norm, halvings, widths

PREPARED = 20
"""Vectors per code for the initial codebook, or up to twice as many, if there are enough."""
SQUARE = 1.1
"""Exponent that weighs the squareness of a grid's cells against their number."""
APART = 0.1
"""Distance of a moved code from the busy one, as a share of the codebook's spread."""


def finest_grid(size: zoo.FrameSize, most: int) -> tuple[int, int]:
    """Choose the height and width of the best grid for a frame, with at most `most` cells.

    A grid is better the more cells it has and the closer they are to squares.
    """

    def suits(grid: tuple[int, int]) -> float:
        height, width = grid
        across, down = width * size.height, height * size.width
        return height * width * (min(across, down) / max(across, down)) ** SQUARE

    grids = []
    for height in range(1, min(most, size.height) + 1):
        square = height * size.width // size.height
        widest = min(most // height, size.width)
        grids += [(height, max(1, min(width, widest))) for width in (square, square + 1)]
    return max(grids, key=suits)


class Mixer(nn.Module):
    """A residual block, followed by mixing of all cells of a grid (Tolstikhin et al., 2021).

    Mixes along columns, then along rows, so weights grow with the grid's sides, not its area.
    """

    def __init__(self, channels: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.block = Block(channels)
        self.norm = group_norm(channels)
        self.columns = nn.Linear(grid[0], grid[0])
        self.rows = nn.Linear(grid[1], grid[1])

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w) to maps of the same shape."""
        maps = self.block(maps)
        return maps + self.rows(self.columns(self.norm(maps).mT).mT)


class ToGrid(nn.Module):
    """The encoder: frames (B, 3, H, W) in [0, 1] to a vector per grid cell, (B, D, h, w)."""

    def __init__(self, size: zoo.FrameSize, width: int, grid: tuple[int, int], depth: int) -> None:
        super().__init__()
        self.grid = grid
        channels = widths(width, stages_to(size, grid))
        layers: list[nn.Module] = [nn.Conv2d(3, channels[0], 5, 2, padding=2)]
        for before, after in itertools.pairwise(channels):
            layers += [group_norm(before), nn.SiLU(), nn.Conv2d(before, after, 3, 2, padding=1)]
        self.down = nn.Sequential(*layers)
        self.mixer = Mixer(channels[-1], grid)
        self.last = nn.Conv2d(channels[-1], depth, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) in [0, 1] to (B, D, h, w)."""
        maps = self.down(frames * 2 - 1)
        return self.last(self.mixer(resized(maps, self.grid)))


class FromGrid(nn.Module):
    """The decoder: a vector per grid cell, (B, D, h, w), to frames (B, 3, H, W) in [0, 1]."""

    def __init__(self, size: zoo.FrameSize, width: int, grid: tuple[int, int], depth: int) -> None:
        super().__init__()
        stages = stages_to(size, grid)
        channels = widths(width, stages)[::-1]
        self.sizes = halvings(size, stages)[::-1]
        self.first = nn.Conv2d(depth, channels[0], 3, padding=1)
        self.places = nn.Parameter(torch.zeros(channels[0], *grid))
        """Learned features of each cell that are the same in every frame."""
        self.mixer = Mixer(channels[0], grid)
        self.stages = nn.ModuleList(
            Up.stage(before, after)
            for before, after in zip(channels, [*channels[1:], 3], strict=True)
        )

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors (B, D, h, w) to frames (B, 3, H, W) in [0, 1]."""
        maps = resized(self.mixer(self.first(vectors) + self.places), self.sizes[0])
        for stage, (height, length) in zip(self.stages, self.sizes[1:], strict=True):
            maps = stage(maps)[:, :, :height, :length]
        return torch.sigmoid(maps)


def stages_to(size: zoo.FrameSize, grid: tuple[int, int]) -> int:
    """Count the halvings of a frame's sides, at least one, down to about the grid's size."""
    stages = 1
    while all(a >= b for a, b in zip(halvings(size, stages + 1)[-1], grid, strict=True)):
        stages += 1
        if halvings(size, stages)[-1] == (1, 1):
            break
    return stages


def resized(maps: Tensor, sides: tuple[int, int]) -> Tensor:
    """Resize maps (B, C, h, w) to another height and width."""
    if maps.shape[2:] == sides:
        return maps
    return F.interpolate(maps, size=sides, mode="bilinear")


class Codebook(nn.Module):
    """K vectors of D numbers, each the running mean of the vectors that were assigned to it.

    Stored as running sums, which can be averaged over processes and parts of a batch.
    """

    def __init__(self, codes: int, depth: int) -> None:
        super().__init__()
        self.counts: Tensor
        self.sums: Tensor
        self.register_buffer("counts", torch.ones(codes))
        self.register_buffer("sums", torch.randn(codes, depth))

    @property
    def vectors(self) -> Tensor:
        """The codebook (K, D)."""
        return self.sums / self.counts[:, None].clamp_min(1e-6)

    @property
    def perplexity(self) -> Tensor:
        """The effective number of codes: as many equally used codes have the same entropy."""
        share = self.counts / self.counts.sum()
        return torch.special.entr(share).sum().exp()

    def nearest(self, vectors: Tensor) -> Tensor:
        """Find the codes (...) whose codebook vectors are nearest to vectors (..., D)."""
        book = self.vectors
        # In 32 bits, because distances to a thousand codes differ only slightly.
        with torch.autocast(book.device.type, enabled=False):
            return (book.square().sum(dim=1) - 2 * vectors.to(book.dtype) @ book.T).argmin(dim=-1)

    def forward(self, codes: Tensor) -> Tensor:
        """Look up the vectors (..., D) of codes (...)."""
        return self.vectors[codes]

    @torch.no_grad()
    def begin(self, vectors: Tensor) -> None:
        """Initialise the codebook from vectors (N, D) by k-means."""
        # Imported here, because it takes longer to load than the rest of film-zoo.
        try:
            from vector_quantize_pytorch.vector_quantize_pytorch import kmeans
        except ImportError:
            raise zoo.BadInput(missing_extra("fsq", "vqvae")) from None

        means, counts = kmeans(vectors[None], len(self.counts))
        self.counts.copy_(counts[0].clamp_min(0.1) / counts.float().mean())
        self.sums.copy_(means[0] * self.counts[:, None])

    @torch.no_grad()
    def gather(self, vectors: Tensor, codes: Tensor, decay: float) -> None:
        """Move the running means towards vectors (N, D), given their nearest codes (N,)."""
        chosen = F.one_hot(codes, len(self.counts)).to(self.sums.dtype)
        scale = len(self.counts) / len(codes)
        self.counts.lerp_(scale * chosen.sum(dim=0), 1 - decay)
        with torch.autocast(vectors.device.type, enabled=False):
            self.sums.lerp_(scale * (chosen.T @ vectors.to(self.sums.dtype)), 1 - decay)

    @torch.no_grad()
    def revive(self, least: float, step: Step) -> None:
        """Move codes that are used less than `least` times the mean next to busy codes.

        All processes use the same noise, so that they move codes in the same way.
        """
        book = self.vectors
        dead = self.counts < least * self.counts.mean()
        cumulative = self.counts.cumsum(dim=0)
        chosen = step.rand(len(cumulative)) * cumulative[-1]
        busy = torch.searchsorted(cumulative, chosen).clamp_max(len(cumulative) - 1)
        moved = book[busy] + APART * book.std(dim=0) * step.randn(*book.shape)
        counts = torch.where(dead, torch.full_like(self.counts, 2 * least), self.counts)
        self.sums.copy_(torch.where(dead[:, None], moved, book) * counts[:, None])
        self.counts.copy_(counts)


class VectorQuantisedAutoencoder(SquaredErrorAutoencoder):
    """A convolutional autoencoder with a grid of codes; gradients pass straight through."""

    name: ClassVar[str] = "vqvae"
    summary: ClassVar[str] = "autoencoder with a grid of codes from one codebook"
    extras: ClassVar[Mapping[str, str]] = {"vector_quantize_pytorch": "fsq"}
    unequal_terms: ClassVar[tuple[str, ...]] = (
        *SquaredErrorAutoencoder.unequal_terms,
        "its first codebook is made from training frames outside of the budget.",
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"width": 16, "lr": 4e-3},
        "laptop": {"width": 16, "lr": 2e-3},
    }

    class Options(SquaredErrorAutoencoder.Options):
        """Settings of the vector-quantised autoencoder."""

        latent: int = pydantic.Field(
            200, ge=2, description="numbers of 8 bits whose bits a frame's codes may take"
        )
        codes: int = pydantic.Field(1024, ge=2, le=65_536, description="vectors in the codebook")
        depth: int = pydantic.Field(32, ge=1, description="numbers in a vector of the codebook")
        commitment: float = pydantic.Field(
            0.25, ge=0, description="weight of the vectors' distance to their codes"
        )
        decay: float = pydantic.Field(
            0.98, ge=0, lt=1, description="share of the running means that a step leaves"
        )
        dead: float = pydantic.Field(
            0.1,
            ge=0,
            description="codes used less than this share of the mean are moved",
        )
        kmeans: bool = pydantic.Field(
            True, description="begin with a codebook by k-means from training frames"
        )

    options: Options

    @classmethod
    def latent_sizes(cls, size: zoo.FrameSize) -> range:
        """At least two: a code from the largest codebook takes the bits of two numbers."""
        return range(2, zoo.ANY)

    def networks(self) -> tuple[nn.Module, nn.Module]:
        """The convolutional encoder to the grid, and the decoder from it."""
        options = self.options
        bits = LatentSpec((1,), codes=options.codes).bits
        self.grid = finest_grid(self.size, 8 * options.latent // bits)
        self.codebook = Codebook(options.codes, options.depth)
        rest = self.size, options.width, self.grid, options.depth
        return ToGrid(*rest), FromGrid(*rest)

    def latent_spec(self) -> LatentSpec:
        """A grid with one code per cell."""
        return LatentSpec(self.grid, codes=self.options.codes)

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) to codes (B, h, w): whole numbers, 0 and up."""
        return self.codebook.nearest(self.encoder(frames).movedim(1, -1)).float()

    def decode(self, latent: Tensor) -> Tensor:
        """Codes (B, h, w), rounded to whole numbers here, to frames (B, 3, H, W)."""
        vectors = self.codebook(self._whole(latent))
        return self.decoder(vectors.movedim(-1, 1))

    def to_coordinates(self, numbers: Tensor) -> Tensor:
        """Codes (N, L), rounded to whole numbers here, to their vectors (N, L D)."""
        return self.codebook(self._whole(numbers)).flatten(1)

    def from_coordinates(self, coordinates: Tensor) -> Tensor:
        """Coordinates (N, L D) to the codes (N, L) of the nearest vectors."""
        return self.codebook.nearest(coordinates.unflatten(1, (-1, self.options.depth))).float()

    def _whole(self, numbers: Tensor) -> Tensor:
        return numbers.round().long().clamp(0, self.options.codes - 1)

    def prepare(self, frames: TrainingFrames) -> None:
        """Initialise the codebook from the untrained encoder's vectors of training frames."""
        if not self.options.kmeans:
            return
        codes, places = self.options.codes, self.grid[0] * self.grid[1]
        every = max(1, len(frames) * places // (PREPARED * codes))
        device = self.codebook.counts.device
        with torch.no_grad():
            found = [
                self.encoder(some[::every]).movedim(1, -1).flatten(0, -2)
                for some in frames.batches(16 * every, device)
            ]
        self.codebook.begin(torch.cat(found))

    def losses(self, batch: Batch, step: Step) -> Losses:
        """Squared error of colour values, and distance of vectors to their codes."""
        frames, options = batch.frames, self.options
        if self.training and options.dead:
            self.codebook.revive(options.dead, step)
        vectors = self.encoder(frames).movedim(1, -1).to(self.codebook.sums.dtype)
        codes = self.codebook.nearest(vectors.detach())
        quantised = self.codebook(codes)
        decoded = self.decoder((vectors + (quantised - vectors).detach()).movedim(-1, 1))
        if self.training:
            self.codebook.gather(vectors.detach().flatten(0, -2), codes.flatten(), options.decay)
        terms = {
            "pixel": pixel_nats(decoded, frames, PIXEL_SD),
            "commitment": options.commitment * F.mse_loss(vectors, quantised),
        }
        return {"autoencoder": Loss(terms, logged={"perplexity": self.codebook.perplexity})}


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """The vector-quantised autoencoder."""
    return [VectorQuantisedAutoencoder]
