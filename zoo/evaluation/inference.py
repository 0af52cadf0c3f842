"""Inference over a film: every frame is encoded, and decoded from its quantised latent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder
from zoo.api.samples_and_latents import (
    BATCH,
    FilmSamples,
    Indices,
    Sampling,
    flat_frames,
    middle_frames,
)
from zoo.base.errors import BadInput
from zoo.base.safe_text import describe_value
from zoo.evaluation.latents import EncodedFilm, Latents
from zoo.evaluation.model_summary import has_coder
from zoo.films.ingested_film import Film
from zoo.plugins.model_building import latent_spec

Pixels = npt.NDArray[np.uint8]


def film_batch(
    film: Film, indices: slice | Sequence[int] | Indices, device: torch.device
) -> Tensor:
    """Frames of a film: float (B, 3, H, W) in [0, 1], channels last, on the device."""
    frames = torch.from_numpy(np.array(film.store.array[indices]))
    return frames.to(device).permute(0, 3, 1, 2).float() / 255


def batch_slices(film: Film) -> Iterator[slice]:
    """The frame numbers of the whole film in order, one slice per batch."""
    for start in range(0, len(film), BATCH):
        yield slice(start, min(start + BATCH, len(film)))


@torch.inference_mode()
def coded_bytes(model: Autoencoder, latents: Latents) -> float:
    """Bytes per frame of a film's latents after lossless coding, by the model's coder if any.

    Raises BadInput if the model's `compress` returns anything but bytes or None.
    """
    if not has_coder(model):
        return latents.bytes_per_frame
    quantiser = latents.quantiser
    values = quantiser.codes or 2**quantiser.bits
    coded = model.compress(latents.levels.cpu().long(), values)
    if coded is None:
        return latents.bytes_per_frame
    if not isinstance(coded, bytes):
        raise BadInput(f"{model.name}: compress gave {describe_value(coded)}; it must give bytes")
    return len(coded) / max(1, latents.frames)


def samples_of(film: Film, model: Autoencoder) -> FilmSamples:
    """The samples of a film for a model: single frames, or windows."""
    return FilmSamples.of(Sampling.of(model), map(len, film.shots))


def sample_batch(
    film: Film, samples: FilmSamples, which: slice | Indices, device: torch.device
) -> Tensor:
    """Samples of a film as `encode` takes them, float in [0, 1], on the device."""
    frames = film_batch(film, samples.indices[which].reshape(-1), device)
    return samples.sampling.shaped(frames)


def sample_slices(samples: FilmSamples) -> Iterator[slice]:
    """All samples of a film in order, in slices of about 32 frames."""
    count = samples_per_batch(samples.sampling)
    for start in range(0, len(samples), count):
        yield slice(start, min(start + count, len(samples)))


def samples_per_batch(sampling: Sampling) -> int:
    """Return how many samples make up about 32 frames; at least one."""
    return max(1, BATCH // sampling.frames)


def check_latents(model: Autoencoder, latent: Tensor, samples: int) -> Tensor:
    """Check the latents (B, ...) that `encode` returned for B samples; returns (B, L), float32.

    Raises BadInput if they differ from the model's `latent_spec`, or are not finite.
    """
    spec = latent_spec(model)
    given = tuple(latent.shape) if isinstance(latent, Tensor) else type(latent).__name__
    if given != (samples, *spec.shape):
        raise BadInput(
            f"{model.name}: for {samples} samples encode gave {given}; by the shape that its "
            f"latent_spec declares it must be {(samples, *spec.shape)}"
        )
    numbers = latent.float().flatten(1)
    if not numbers.isfinite().all():
        raise BadInput(f"{model.name}: encode gave latents that are not finite")
    if spec.codes is not None and numbers.numel():
        low, high = float(numbers.min()), float(numbers.max())
        if low < 0 or high >= spec.codes or not (numbers == numbers.round()).all():
            raise BadInput(
                f"{model.name}: encode gave numbers from {low:g} to {high:g}; its latent_spec "
                f"declares {spec.codes} codes, whole numbers from 0 to {spec.codes - 1}"
            )
    return numbers


def encode_samples(model: Autoencoder, samples: Tensor) -> Tensor:
    """Encode samples as `encode` takes them: flat latents, float32 (B, L).

    Raises BadInput if they are not what the model declares.
    """
    return check_latents(model, model.encode(samples), len(samples))


@torch.inference_mode()
def encode_batches(
    model: Autoencoder, film: Film, device: torch.device
) -> Iterator[tuple[int, Tensor]]:
    """Encode a film in order; yield (frames encoded so far, flat latents of a batch).

    Raises BadInput if a latent is not what the model declares.
    """
    samples = samples_of(film, model)
    for which in sample_slices(samples):
        numbers = encode_samples(model, sample_batch(film, samples, which, device))
        yield min(len(film), int(samples.indices[which][-1].max()) + 1), numbers


@torch.inference_mode()
def encode_film(model: Autoencoder, film: Film, device: torch.device) -> EncodedFilm:
    """Encode every frame; raises BadInput if a latent differs from what the model declares."""
    parts = [numbers for _, numbers in encode_batches(model, film, device)]
    return EncodedFilm(torch.cat(parts), latent_spec(model).shape, len(film))


@torch.inference_mode()
def reconstruct_frames(
    model: Autoencoder, samples: FilmSamples, frames: slice | Indices, latents: Latents
) -> Tensor:
    """Decode some frames of a film, in ascending order, from the latents of all of its samples.

    Returns float (B, 3, H, W) in [0, 1], rounded to 8 bits. Samples are decoded in batches of at
    most 32 frames. Raises BadInput if a value is NaN: metrics would have no score for that frame,
    and their means would leave it out.
    """
    parts = []
    for which, wanted in samples.decoding_batches(frames):
        decoded = flat_frames(checked_decode(model, latents.dequantised(torch.from_numpy(which))))
        if decoded.isnan().any():
            raise BadInput(f"{model.name}: decode gave frames with values that are not numbers")
        chosen = torch.from_numpy(wanted).to(decoded.device)
        parts.append(round_to_8_bits(decoded if len(wanted) == len(decoded) else decoded[chosen]))
    return torch.cat(parts)


def checked_decode(model: Autoencoder, latents: Tensor) -> Tensor:
    """Decode latents (B, ...) and check the frames: float (B, 3, H, W), or (B, T, 3, H, W).

    Raises BadInput if `decode` returns anything else.
    """
    frames = model.decode(latents)
    window = (model.window,) if model.window > 1 else ()
    expected = (len(latents), *window, 3, model.size.height, model.size.width)
    given = tuple(frames.shape) if isinstance(frames, Tensor) else type(frames).__name__
    if given != expected:
        raise BadInput(
            f"{model.name}: decode gave {given}; for {len(latents)} latents it must be {expected}"
        )
    return frames


def round_to_8_bits(frames: Tensor) -> Tensor:
    """Clamp to [0, 1] and round to 8 bits, as a screen would show it; floats."""
    return (frames.float().clamp(0, 1) * 255).round() / 255


@torch.inference_mode()
def decode_to_pixels(model: Autoencoder, latents: Tensor, *, middle: bool = False) -> Pixels:
    """Decode latents (N, ...) to pixels: uint8 (N, H, W, 3), RGB.

    With a window of T each latent gives T consecutive frames, or with `middle` only the middle one.
    """
    frames = (middle_frames if middle else flat_frames)(checked_decode(model, latents))
    return to_pixels(round_to_8_bits(frames))


def to_pixels(frames: Tensor) -> Pixels:
    """Frames rounded to 8 bits, float (B, 3, H, W), as uint8 (B, H, W, 3)."""
    return (frames * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
