"""Samples, the frames that a model encodes into one latent, and the specification of a latent.

A sample is a frame, a frame and its neighbours (`context`) or consecutive frames (`window`).
It never crosses a cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from zoo.base.errors import BadInput
from zoo.base.option_validation import names_its_fields

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from zoo.api.autoencoder import Autoencoder


Indices = npt.NDArray[np.int64]
LARGEST = 256
"""Largest number of frames in a sample."""
BATCH = 32
"""Number of frames that a model encodes or decodes at once."""


@dataclass(frozen=True)
class Sampling:
    """The frames that make up a sample: a window or a context."""

    window: int = 1
    """Frames that share a latent."""
    before: int = 0
    """Frames before a frame that are encoded with it."""
    after: int = 0
    """Frames after a frame that are encoded with it."""

    @classmethod
    def of(cls, architecture: type[Autoencoder] | Autoencoder) -> Sampling:
        """The sampling that an architecture declares; raises BadInput if it is invalid."""
        window, context = architecture.window, architecture.context
        name = architecture.name
        if type(window) is not int or not 1 <= window <= LARGEST:
            raise BadInput(f"{name}: a window must have from 1 to {LARGEST} frames; not {window!r}")
        if not (
            isinstance(context, tuple)
            and len(context) == 2
            and all(type(side) is int and 0 <= side < LARGEST // 2 for side in context)
        ):
            raise BadInput(
                f"{name}: a context must be (frames before, frames after), such as (1, 1), each "
                f"from 0 to {LARGEST // 2 - 1}; not {context!r}"
            )
        if window > 1 and context != (0, 0):
            raise BadInput(f"{name}: a model may have a window or a context, not both")
        return cls(window, *context)

    @property
    def stills(self) -> bool:
        """Whether a sample is a single frame."""
        return self.frames == 1

    @property
    def frames(self) -> int:
        """Frames in one sample."""
        return self.window if self.window > 1 else self.before + 1 + self.after

    def samples_in(self, batch: int) -> int:
        """The number of samples in a batch of `batch` frames, at least one."""
        return max(1, batch // self.window)

    def frames_in(self, batch: int) -> int:
        """The number of frames that a batch of `batch` frames reconstructs in whole samples."""
        return self.samples_in(batch) * self.window

    def samples(self, shots: Iterable[range]) -> Indices:
        """The samples that cover every frame of some shots once: frame numbers (M, K), in order.

        A shot's last window is padded with its last frame. In a context, the first and last frame
        of a shot replace missing neighbours.
        """
        parts = [self._of_shot(np.arange(shot.start, shot.stop), self.window) for shot in shots]
        return np.concatenate(parts) if parts else np.empty((0, self.frames), dtype=np.int64)

    def to_train_on(self, runs: Iterable[range]) -> Indices:
        """All samples that runs of training frames contain: frame numbers (M, K).

        A window starts at every frame from which a whole window fits; a run shorter than a window
        gives one padded window.
        """
        parts = [self._of_shot(np.arange(run.start, run.stop), 1) for run in runs]
        return np.concatenate(parts) if parts else np.empty((0, self.frames), dtype=np.int64)

    def _of_shot(self, numbers: Indices, apart: int) -> Indices:
        if self.window > 1:
            whole = len(numbers) - self.window if apart == 1 else len(numbers) - 1
            starts = np.arange(0, max(0, whole) + 1, apart)
            offsets = np.arange(self.window)
        else:
            starts, offsets = np.arange(len(numbers)), np.arange(-self.before, self.after + 1)
        at = np.clip(starts[:, None] + offsets, 0, len(numbers) - 1)
        return numbers[at]

    def shaped(self, frames: Tensor) -> Tensor:
        """Reshape the frames of samples, (M * K, 3, H, W), to the shape that `encode` takes."""
        return frames if self.stills else frames.unflatten(0, (-1, self.frames))

    def target_frame(self, samples: Tensor) -> Tensor:
        """One frame of each sample: the middle of a window, or the one with a context around it."""
        if self.stills:
            return samples
        return samples[:, self.window // 2 if self.window > 1 else self.before]

    def target_frames(self, samples: Tensor) -> Tensor:
        """The frames that a model reconstructs from these samples: (B * window, 3, H, W)."""
        if self.stills:
            return samples
        return samples.flatten(0, 1) if self.window > 1 else samples[:, self.before]


STILLS = Sampling()
"""The sampling in which a sample is a single frame."""


@dataclass(frozen=True)
class FilmSamples:
    """A film's samples, and which of them reconstructs each frame."""

    sampling: Sampling
    indices: Indices
    """Numbers of the frames in each sample, (M, K)."""
    places: Indices
    """Position of each frame among the reconstructions of all samples, (N,), ascending."""

    @classmethod
    def of(cls, sampling: Sampling, lengths: Iterable[int]) -> FilmSamples:
        """The samples of a film whose consecutive shots have these lengths."""
        ends = np.cumsum([0, *lengths])
        shots = [range(a, b) for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]
        indices = sampling.samples(shots)
        window = sampling.window
        starts = np.cumsum([0, *(-(-len(shot) // window) * window for shot in shots)])
        places = [
            np.arange(len(shot)) + start for shot, start in zip(shots, starts[:-1], strict=True)
        ]
        empty = np.empty(0, dtype=np.int64)
        return cls(sampling, indices, np.concatenate([empty, *places]).astype(np.int64))

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.indices)

    def decoding_batches(self, frames: slice | Indices) -> Iterator[tuple[Indices, Indices]]:
        """Yield the samples that reconstruct some ascending frames, in batches of about 32 frames.

        Each item: the samples' numbers, and the positions of these frames in their reconstructions.
        """
        window = self.sampling.window
        owners, place_in_window = np.divmod(self.places[frames], window)
        which = np.unique(owners)
        count = max(1, BATCH // window)
        for at in range(0, len(which), count):
            some = which[at : at + count]
            here = (owners >= some[0]) & (owners <= some[-1])
            yield some, np.searchsorted(some, owners[here]) * window + place_in_window[here]

    def samples_of(self, frames: Indices) -> Indices:
        """The number of the sample that reconstructs each of these frames, (F,)."""
        found: Indices = self.places[frames] // self.sampling.window
        return found


def flat_frames(decoded: Tensor) -> Tensor:
    """Flatten the result of `decode`, (B, 3, H, W) or (B, T, 3, H, W), to one frame per row."""
    return decoded.flatten(0, 1) if decoded.dim() == 5 else decoded


def middle_frames(decoded: Tensor) -> Tensor:
    """One frame of each sample, (B, 3, H, W): for a window, the middle one."""
    return decoded[:, decoded.shape[1] // 2] if decoded.dim() == 5 else decoded


def noise(count: int, sampling: Sampling, width: int, height: int, device: torch.device) -> Tensor:
    """Samples of noise, with the shape and memory layout of a film's samples."""
    import torch

    frames = torch.rand(count * sampling.frames, height, width, 3, device=device)
    return sampling.shaped(frames.permute(0, 3, 1, 2))


BITS = 8
"""Bits per real latent number, at which every score is measured unless stated otherwise."""
MOST_CODES = 1 << 24
"""Largest number of codes: float32 represents every whole number up to here."""


def code_bits(codes: int) -> int:
    """Bits needed to store one of `codes` values, at least one."""
    return max(1, (codes - 1).bit_length())


@names_its_fields
@dataclass(frozen=True)
class LatentSpec:
    """The specification of a latent: its shape, and whether its numbers are real or codes.

    Real numbers are stored in 8 bits each, on a scale per dimension. Codes are whole numbers from
    0 to `codes` - 1 and are stored exactly, in as many bits as they need.
    """

    shape: tuple[int, ...]
    """Shape of what `encode` returns for one sample."""
    codes: int | None = None
    """Number of values that a code can have, from 1 to 16,777,216; None for real numbers."""

    def __post_init__(self) -> None:
        if self.codes is not None and not 1 <= self.codes <= MOST_CODES:
            raise ValueError(f"a latent must have from 1 to {MOST_CODES:,} codes; not {self.codes}")

    @property
    def numbers(self) -> int:
        """Numbers in one latent."""
        return math.prod(self.shape)

    @property
    def bits_per_number(self) -> int:
        """Bits in which one number is stored: 8 for a real number."""
        return BITS if self.codes is None else code_bits(self.codes)

    @property
    def bits(self) -> int:
        """Bits in which one latent is stored, before lossless coding."""
        return self.numbers * self.bits_per_number
