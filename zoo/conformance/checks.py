"""One function a promise. Each raises `Broken` with what it saw if the promise is not kept."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from safetensors.torch import load, save
from torch import Tensor

from zoo.autoencoder import Autoencoder, Losses, PlayerParameters
from zoo.conformance.subject import LATENT, SIZES, Subject, gradients, scene, take_step
from zoo.training.players import Players

LATENT_TOLERANCE = 1e-3
"""How far a latent may move, relative to its spread, when a frame is encoded in company."""
PIXELS_THAT_MAY_DIFFER = 1e-3
"""Share of pixels that may differ by one 8-bit level between batch sizes."""
NUDGE = 1e-3
"""Length of the step that tests an opposition, as a share of the parameters' norm."""
FIT_STEPS = 250


class Broken(Exception):
    """A promise that a model does not keep."""


def _expect(holds: object, otherwise: str) -> None:
    if not holds:
        raise Broken(otherwise)


@torch.inference_mode()
def shapes_and_range(subject: Subject) -> None:
    """At any even size, frames come back in their own shape, finite and in [0, 1]."""
    for size in SIZES:
        model, frames = subject.build(size).eval(), scene(3, size)
        latent = model.encode(frames)
        _expect(latent.shape[0] == 3, f"{size}: 3 frames gave latents of shape {latent.shape}")
        drawn = model.decode(latent)
        _expect(drawn.shape == frames.shape, f"{size}: {frames.shape} came back as {drawn.shape}")
        _expect(drawn.isfinite().all(), f"{size}: reconstructions are not finite")
        low, high = float(drawn.min()), float(drawn.max())
        _expect(low >= 0 and high <= 1, f"{size}: reconstructions span {low:.3f} to {high:.3f}")


@torch.inference_mode()
def latent_size(subject: Subject) -> None:
    """A latent has no more numbers than the option `latent` says."""
    model = subject.build().eval()
    numbers = model.encode(scene(1, model.size)).numel()
    _expect(numbers <= LATENT, f"latent={LATENT} gave {numbers} numbers a frame")


@torch.inference_mode()
def deterministic(subject: Subject) -> None:
    """In evaluation mode the same frames give the same latents and the same frames."""
    model = subject.build().eval()
    frames = scene(4, model.size)
    first, second = model.encode(frames), model.encode(frames)
    _expect(torch.equal(first, second), "encoding the same frames twice gave two latents")
    drawn = torch.equal(model.decode(first), model.decode(first))
    _expect(drawn, "decoding the same latent twice gave two frames")


@torch.inference_mode()
def batch_invariant(subject: Subject) -> None:
    """A frame encodes and decodes alone as it does in company."""
    model = subject.build().eval()
    frames = scene(6, model.size)
    together = model.encode(frames)
    alone = torch.cat([model.encode(frame[None]) for frame in frames])
    spread = float(together.std()) if together.numel() else 1.0
    moved = float((together - alone).abs().max()) if together.numel() else 0.0
    _expect(
        moved <= LATENT_TOLERANCE * max(spread, 1e-6),
        f"a frame's latent moved by {moved:.2g} in company, where latents spread by {spread:.2g}",
    )
    levels = [
        (drawn.clamp(0, 1) * 255).round()
        for drawn in (
            model.decode(together),
            torch.cat([model.decode(latent[None]) for latent in together]),
        )
    ]
    apart = (levels[0] - levels[1]).abs()
    _expect(apart.max() <= 1, f"a pixel differs by {int(apart.max())} levels in company")
    share = float((apart > 0).float().mean())
    _expect(share <= PIXELS_THAT_MAY_DIFFER, f"{share:.2%} of pixels differ in company")


@torch.inference_mode()
def reloads_to_the_bit(subject: Subject) -> None:
    """Weights written and read into a new instance give the very same reconstructions."""
    model = subject.build().eval()
    frames = scene(2, model.size)
    stored = save({name: t.contiguous().clone() for name, t in model.state_dict().items()})
    torch.manual_seed(1)
    again = type(model)(model.size, model.options)
    again.load_state_dict(load(stored))
    same = torch.equal(
        model.decode(model.encode(frames)), again.eval().decode(again.encode(frames))
    )
    _expect(same, "after saving and loading, the same frames come back differently")


@torch.inference_mode()
def draws_from_the_latent_alone(subject: Subject) -> None:
    """A new instance with the same weights draws the same from a latent it never encoded."""
    model = subject.build().eval()
    frames = scene(8, model.size)
    latent = model.encode(frames[:2])
    drawn = model.decode(latent)
    stranger = type(model)(model.size, model.options)
    stranger.load_state_dict(model.state_dict())
    stranger.eval().encode(frames[6:])
    _expect(
        torch.equal(drawn, stranger.decode(latent)),
        "decoding depends on more than the latent and the weights",
    )


def players_cover_the_model(subject: Subject) -> None:
    """Players are disjoint and have every trainable parameter; each has a loss of scalar terms."""
    model = subject.build()
    if model.fits_directly():
        return
    try:
        players = Players(model)
        players.check(take_step(model, scene(4, model.size)))
    except ValueError as error:
        raise Broken(str(error)) from None


def losses_reach_their_players(subject: Subject) -> None:
    """A player's loss reaches its own parameters, at least half of them in any one step."""
    model = subject.build().train()
    if model.fits_directly():
        return
    losses = take_step(model, scene(4, model.size))
    for player, parameters in PlayerParameters.of(model):
        total = losses[player].total
        _expect(total.requires_grad, f"the loss of {player!r} is detached from the model")
        found = gradients(total, parameters)
        names = {id(p): name for name, p in model.named_parameters()}
        unmoved = [
            names[id(p)] for p, g in zip(parameters, found, strict=True) if not g.abs().sum() > 0
        ]
        _expect(
            len(unmoved) <= len(parameters) // 2,
            f"the loss of {player!r} does not reach {', '.join(unmoved[:4])}",
        )


def opposed_terms_oppose(subject: Subject) -> None:
    """Moving a player down its own opposed term moves the rival's term up."""
    for mine, rivals in subject.architecture.opposed:
        player, term = mine.split(".", 1)
        rival, rival_term = rivals.split(".", 1)
        model = subject.build().double().train()
        frames = scene(4, model.size).double()
        losses = take_step(model, frames)
        _expect(
            term in losses[player].terms and rival_term in losses[rival].terms,
            f"{mine} and {rivals} are declared opposed, but there is no such term",
        )
        parameters = dict(PlayerParameters.of(model))[player]
        downhill = gradients(losses[player].terms[term], parameters)
        length = torch.stack([g.norm() for g in downhill]).norm()
        _expect(length > 0, f"{mine} does not move the player {player!r} at all")
        before = float(losses[rival].terms[rival_term].detach())
        moved = _after_moving(model, player, downhill, frames)
        after = float(moved[rival].terms[rival_term].detach())
        _expect(
            after > before,
            f"moving {player!r} to lower {mine} lowered {rivals} too "
            f"({before:.6f} to {after:.6f}): its sign is reversed",
        )


def _after_moving(
    model: Autoencoder, player: str, downhill: Iterable[Tensor], frames: Tensor
) -> Losses:
    """The losses of a copy of the model whose player took a small step downhill."""
    moved = copy.deepcopy(model)
    parameters = dict(PlayerParameters.of(moved))[player]
    steps = list(downhill)
    size = torch.stack([p.norm() for p in parameters]).norm()
    length = torch.stack([g.norm() for g in steps]).norm()
    with torch.no_grad():
        for parameter, step in zip(parameters, steps, strict=True):
            parameter.sub_(NUDGE * size / length * step)
    return take_step(moved, frames)


def fits_one_batch(subject: Subject) -> None:
    """Trained on four frames alone, a model draws them far better than their mean does."""
    model = subject.build()
    frames = scene(4, model.size)
    if not model.encode(frames).numel():
        # With no numbers to tell frames apart, the mean is all that can be drawn.
        return
    if not model.fits_directly():
        players = Players(model.train())
        for step in range(FIT_STEPS):
            players.step(take_step(model, frames, seed=step), 0.2)
    with torch.inference_mode():
        model.eval()
        drawn = model.decode(model.encode(frames))
    error = float((drawn - frames).square().mean())
    of_mean = float((frames.mean(dim=0, keepdim=True) - frames).square().mean())
    _expect(
        error < 0.5 * of_mean,
        f"after {FIT_STEPS} steps on four frames the squared error is {error:.4f}; "
        f"their mean frame has {of_mean:.4f}",
    )


CHECKS: tuple[Callable[[Subject], None], ...] = (
    shapes_and_range,
    latent_size,
    deterministic,
    batch_invariant,
    reloads_to_the_bit,
    draws_from_the_latent_alone,
    players_cover_the_model,
    losses_reach_their_players,
    opposed_terms_oppose,
    fits_one_batch,
)
