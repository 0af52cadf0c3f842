"""An autoencoder that learns how likely its codes are, and codes them in as few bits.

A factorised entropy model, after Balle et al., Variational image compression with a scale
hyperprior, 2018: every number of the latent has a distribution over its codes, which is trained
with the autoencoder; the loss weighs distortion against bits. After training the distributions
become whole numbers, with which an arithmetic coder writes the latents of a film. Try it:

    zoo models check examples/zoo_entropy.py
    ZOO_PLUGINS=examples/zoo_entropy.py zoo compare --films bikes --models ae,entropy --preset quick
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Iterator

import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional

import zoo

zoo_contract = 2

CODES = 32
TOTAL = 1 << 16
"""What the frequencies of a number's codes add up to."""


class Coder(nn.Module):
    """How likely the codes of each number are: learned, and then in whole numbers."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(numbers, CODES))
        self.register_buffer("frequencies", torch.full((numbers, CODES), TOTAL // CODES))

    def bits(self, latent: Tensor) -> Tensor:
        """Bits of latents (B, L) that are not yet whole, (B, L), by interpolation."""
        costs = -self.logits.log_softmax(dim=1) / math.log(2)
        below = latent.detach().floor().clamp(0, CODES - 2).long()
        share = latent - below
        rows = torch.arange(latent.shape[1], device=latent.device)
        return costs[rows, below] * (1 - share) + costs[rows, below + 1] * share

    @torch.no_grad()
    def count(self) -> None:
        """Make whole numbers of the distributions; every code remains possible."""
        shares = self.logits.double().softmax(dim=1) * (TOTAL - CODES)
        whole = shares.floor().long() + 1
        whole[torch.arange(len(whole)), whole.argmax(dim=1)] += TOTAL - whole.sum(dim=1)
        self.frequencies.copy_(whole)

    def cumulative(self) -> list[list[int]]:
        """Of each number, where the interval of each code begins, and where the last one ends."""
        return [[0, *itertools.accumulate(row)] for row in self.frequencies.tolist()]


class Entropy(zoo.Autoencoder):
    """Codes of 32 values, each in as many bits as it is surprising."""

    name = "entropy"
    summary = "autoencoder with a learned entropy model"

    class Options(zoo.Options):
        """Settings of the network and of its loss."""

        hidden: int = pydantic.Field(128, ge=8, description="units of the hidden layers")
        rate: float = pydantic.Field(1e-5, ge=0, description="weight of a bit in the loss")

    def __init__(self, size: zoo.FrameSize, options: Options) -> None:
        super().__init__(size, options)
        values, hidden = 3 * size.pixels, options.hidden
        self.encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(values, hidden),
            nn.LayerNorm(hidden),
            nn.SiLU(),
            nn.Linear(hidden, options.latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(options.latent, hidden), nn.SiLU(), nn.Linear(hidden, values), nn.Sigmoid()
        )
        self.coder = Coder(options.latent)

    def latent_spec(self) -> zoo.LatentSpec:
        """Codes, which are stored exactly."""
        return zoo.LatentSpec((self.options.latent,), codes=CODES)

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) to whole numbers from 0 to 31 (B, L)."""
        return self._scaled(frames).round()

    def decode(self, latent: Tensor) -> Tensor:
        """Codes (B, L) to frames (B, 3, H, W)."""
        shape = (3, self.size.height, self.size.width)
        return self.decoder(latent / (CODES - 1) * 2 - 1).unflatten(1, shape)

    def losses(self, batch: zoo.Batch, step: zoo.Step) -> zoo.Losses:
        """Distortion and bits, at latents with noise in place of rounding."""
        latent = self._scaled(batch.frames)
        latent = (latent + step.rand_like(latent) - 0.5).clamp(0, CODES - 1)
        bits = self.coder.bits(latent).sum(dim=1).mean()
        error = functional.mse_loss(self.decode(latent), batch.frames)
        terms = {"pixel": error, "rate": self.options.rate * bits}
        return {"autoencoder": zoo.Loss(terms, logged={"bits": bits.detach()})}

    def optimizer(self, player: str) -> zoo.Optimizer:
        """AdamW, slowly: a frame has many values, which all push the same way."""
        return zoo.Optimizer(lr=1e-3)

    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Called once on the weights that are kept."""
        self.coder.count()

    def compress(self, levels: Tensor, values: int) -> bytes:
        """Code a film's latents, frame by frame."""
        tables = self.coder.cumulative()
        return write(
            (table[code], table[code + 1])
            for row in levels.tolist()
            for table, code in zip(tables, row, strict=True)
        )

    def decompress(self, stream: bytes, count: int, values: int) -> Tensor:
        """The latents again."""
        tables = self.coder.cumulative()
        codes = list(read(stream, itertools.chain.from_iterable(itertools.repeat(tables, count))))
        return torch.tensor(codes, dtype=torch.long).view(count, len(tables))

    def _scaled(self, frames: Tensor) -> Tensor:
        """Latents from 0 to 31 that are not yet whole."""
        return (self.encoder(frames).tanh() + 1) / 2 * (CODES - 1)


BITS = 32
HALF, QUARTER = 1 << (BITS - 1), 1 << (BITS - 2)


def write(intervals: Iterable[tuple[int, int]]) -> bytes:
    """Arithmetic coding (Witten et al., 1987) of intervals of [0, TOTAL)."""
    low, high, pending = 0, 2 * HALF - 1, 0
    bits: list[int] = []

    def put(bit: int) -> None:
        nonlocal pending
        bits.extend([bit, *[1 - bit] * pending])
        pending = 0

    for start, stop in intervals:
        span = high - low + 1
        low, high = low + span * start // TOTAL, low + span * stop // TOTAL - 1
        while True:
            if high < HALF or low >= HALF:
                put(int(low >= HALF))
                low, high = low % HALF, high % HALF
            elif low >= QUARTER and high < HALF + QUARTER:
                pending += 1
                low, high = low - QUARTER, high - QUARTER
            else:
                break
            low, high = 2 * low, 2 * high + 1
    pending += 1
    put(int(low >= QUARTER))
    padded = bits + [0] * (-len(bits) % 8)
    return bytes(int("".join(map(str, padded[i : i + 8])), 2) for i in range(0, len(padded), 8))


def read(stream: bytes, tables: Iterable[list[int]]) -> Iterator[int]:
    """The number of each interval, by the table that it was written with."""
    bits = itertools.chain(
        (byte >> shift & 1 for byte in stream for shift in range(7, -1, -1)), itertools.repeat(0)
    )
    low, high, value = 0, 2 * HALF - 1, 0
    for _ in range(BITS):
        value = 2 * value + next(bits)
    for table in tables:
        span = high - low + 1
        code = bisect.bisect_right(table, ((value - low + 1) * TOTAL - 1) // span) - 1
        yield code
        start, stop = table[code], table[code + 1]
        low, high = low + span * start // TOTAL, low + span * stop // TOTAL - 1
        while True:
            if high < HALF or low >= HALF:
                low, high, value = low % HALF, high % HALF, value % HALF
            elif low >= QUARTER and high < HALF + QUARTER:
                low, high, value = low - QUARTER, high - QUARTER, value - QUARTER
            else:
                break
            low, high, value = 2 * low, 2 * high + 1, 2 * value + next(bits)


@zoo.hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """Return the model."""
    return [Entropy]
