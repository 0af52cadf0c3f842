"""Promises about encoding and decoding. Each raises `Broken` with what it saw if not kept."""

from __future__ import annotations

import torch
from safetensors.torch import load, save
from torch import Tensor

from zoo.conformance.fake_gpu import built, losses_on_gpu, round_trip_on_gpu
from zoo.conformance.subject import LATENT, SIZES, Subject, extremes, scene
from zoo.conformance.verdict import Broken, expect
from zoo.plain_text import one_line
from zoo.presets import PRESETS

NEEDS_A_DRIVER = "hasPrimaryContext"
"""In what torch says where a backward pass on a GPU finds no driver."""
LATENT_TOLERANCE = 1e-3
"""How far a latent may move, relative to its spread, when a frame is encoded in company."""
PIXELS_THAT_MAY_DIFFER = 1e-3
"""Share of colour values that may differ by one 8-bit level between kernels or batch sizes."""


@torch.inference_mode()
def shapes_and_range(subject: Subject) -> None:
    """At any even size, frames come back in their own shape, finite and in [0, 1]."""
    for size in SIZES:
        model = subject.build(size).eval()
        for frames in (scene(3, size), scene(1, size), extremes(size)):
            latent = model.encode(frames)
            expect(
                latent.shape[0] == len(frames),
                f"{size}: {len(frames)} frames gave latents of shape {tuple(latent.shape)}",
            )
            expect(latent.isfinite().all(), f"{size}: latents are not finite")
            drawn = model.decode(latent)
            expect(
                drawn.shape == frames.shape,
                f"{size}: {tuple(frames.shape)} came back as {tuple(drawn.shape)}",
            )
            expect(drawn.isfinite().all(), f"{size}: reconstructions are not finite")
            low, high = float(drawn.min()), float(drawn.max())
            expect(low >= 0 and high <= 1, f"{size}: reconstructions span {low:.3f} to {high:.3f}")


@torch.inference_mode()
def latent_size(subject: Subject) -> None:
    """A latent has as many numbers as the option `latent` says; a reference's may have fewer."""
    for size in SIZES:
        for wanted in (LATENT, 2 * LATENT - 1):
            numbers = subject.build(size, wanted).eval().encode(scene(1, size)).numel()
            fewer = subject.architecture.role == "reference" and numbers < wanted
            expect(
                numbers == wanted or fewer,
                f"{size}: latent={wanted} gave {numbers} numbers a frame",
            )


@torch.inference_mode()
def deterministic(subject: Subject) -> None:
    """In evaluation mode the same frames give the same latents and the same frames."""
    model = subject.after_training()
    frames = scene(4, model.size)
    first, second = model.encode(frames), model.encode(frames)
    expect(torch.equal(first, second), "encoding the same frames twice gave two latents")
    drawn = torch.equal(model.decode(first), model.decode(first))
    expect(drawn, "decoding the same latent twice gave two frames")


@torch.inference_mode()
def batch_invariant(subject: Subject) -> None:
    """A frame encodes and decodes alone as it does in company."""
    model = subject.after_training()
    frames = torch.cat([scene(4, model.size), extremes(model.size)])
    together = model.encode(frames)
    alone = torch.cat([model.encode(frame[None]) for frame in frames])
    spread = float(together.float().std()) if together.numel() else 1.0
    moved = float((together - alone).abs().max()) if together.numel() else 0.0
    expect(
        moved <= LATENT_TOLERANCE * max(spread, 1e-6),
        f"a frame's latent moved by {moved:.2g} in company, where latents spread by {spread:.2g}",
    )
    expect_same_picture(
        model.decode(together),
        torch.cat([model.decode(latent[None]) for latent in together]),
        "a frame decoded in a batch differs from the same frame decoded alone",
    )


@torch.inference_mode()
def reloads_to_the_bit(subject: Subject) -> None:
    """Weights written and read into new instances give the very same reconstructions in each."""
    model = subject.after_training()
    frames = scene(2, model.size)
    stored = save({name: t.contiguous().clone() for name, t in model.state_dict().items()})
    drawn = []
    for seed in (1, 2):
        again = subject.unfitted(seed=seed)
        again.load_state_dict(load(stored))
        drawn.append(again.eval().decode(again.encode(frames)))
    what = "after saving and loading, the same frames come back differently"
    # Two loaded instances have one memory layout; weights set by `prepare` may have had another.
    expect(torch.equal(*drawn), what)
    expect_same_picture(model.decode(model.encode(frames)), drawn[0], what)


@torch.inference_mode()
def comes_back_from_coordinates(subject: Subject) -> None:
    """Latents that are turned into coordinates come back from them as they were."""
    model = subject.after_training()
    numbers = model.encode(scene(4, model.size)).flatten(1)
    again = model.from_coordinates(model.to_coordinates(numbers))
    expect(
        again.shape == numbers.shape,
        f"latents of shape {tuple(numbers.shape)} come back as {tuple(again.shape)}",
    )
    spread = float(numbers.std()) if numbers.numel() else 1.0
    moved = float((again - numbers).abs().max()) if numbers.numel() else 0.0
    expect(
        moved <= LATENT_TOLERANCE * max(spread, 1e-6),
        f"by way of coordinates a latent moved by {moved:.2g}; latents spread by {spread:.2g}",
    )


@torch.inference_mode()
def draws_from_the_latent_alone(subject: Subject) -> None:
    """A new instance with the same weights draws the same from a latent it never encoded."""
    model = subject.after_training()
    frames = scene(8, model.size)
    latent = model.encode(frames[:2])
    drawn = model.decode(latent)
    stranger = subject.unfitted(seed=1)
    stranger.load_state_dict(model.state_dict())
    stranger.eval().encode(frames[6:])
    # The numbers alone: a tensor can carry more, as attributes or as a subclass of its own.
    numbers = torch.tensor(latent.tolist(), dtype=latent.dtype).reshape(latent.shape)
    # This tensor is contiguous, where an encoder's output may be strided: other kernels round
    # otherwise, so the pictures are compared and not the last bits.
    expect_same_picture(
        drawn,
        stranger.decode(numbers),
        "decoding depends on more than the latent and the weights",
    )


def works_on_a_gpu(subject: Subject) -> None:
    """At the film preset, losses under bf16 autocast, latents and frames stay on the GPU."""
    architecture, film = subject.architecture, PRESETS["film"]
    options = {"latent": film.latent, **architecture.presets.get(film.name, {})}
    try:
        if not architecture.fits_directly():
            losses = losses_on_gpu(built(architecture, film.size, options))
            for player, loss in losses.items():
                for term, value in loss.terms.items():
                    _expect_on_gpu(f"the term {player}.{term}", value)
        latent, drawn = round_trip_on_gpu(built(architecture, film.size, options))
    except RuntimeError as error:
        if NEEDS_A_DRIVER not in str(error):
            raise Broken(one_line(f"on a GPU: {error}", 300)) from None
        # An encoder that takes gradients cannot be tried without a driver.
        return
    _expect_on_gpu("the latent", latent)
    _expect_on_gpu("the reconstruction", drawn)


def _expect_on_gpu(what: str, value: Tensor) -> None:
    expect(value.device.type == "cuda", f"{what} is on the {value.device.type} and not on the GPU")


def expect_same_picture(one: Tensor, other: Tensor, what: str) -> None:
    """Raise `Broken` unless frames (B, 3, H, W) in [0, 1] agree up to a kernel's rounding.

    In 8 bits no value may be apart by more than one level, and few may be apart at all.
    """
    apart = ((one.clamp(0, 1) * 255).round() - (other.clamp(0, 1) * 255).round()).abs()
    share = float((apart > 0).float().mean())
    expect(
        apart.max() <= 1 and share <= PIXELS_THAT_MAY_DIFFER,
        f"{what}: {share:.2%} of the values, by up to {int(apart.max())} of 255 levels",
    )
