"""Checks of a model's players, losses and learning; each raises `Broken` with what it observed."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder, Losses, PlayerParameters
from zoo.api.samples_and_latents import Sampling, flat_frames
from zoo.conformance.fixtures import Broken, Subject, expect, gradients, scene_as_film, take_step
from zoo.evaluation.latents import Quantiser
from zoo.films.ingested_film import Film, film_from_frames
from zoo.plugins.model_building import fits_directly, inference_state, latent_spec
from zoo.training.optimizers import Players
from zoo.training.training_frames import TrainingFrames

NUDGE = 1e-3
"""Length of the step that tests opposed terms, as a share of the parameters' norm."""
FILM_LENGTHS = (1, 5, 107, 1470)
"""Film lengths to test, in training frames."""
FIT_STEPS = 400
LOOK_EVERY = 50
FAR_BETTER = 0.5
"""Share of the mean frame's error below which a reconstruction is far better than that frame."""


def trains_on_every_frame(subject: Subject) -> None:
    """The model is trained on all training frames of a film, no matter how many there are."""
    model = subject.build()
    for seen in FILM_LENGTHS:
        taken = model.frames_taken(seen)
        expect(taken == seen, f"of {seen} training frames it takes {taken}")


def players_cover_the_model(subject: Subject) -> None:
    """Players are disjoint and cover all trainable parameters; each has a loss of scalar terms."""
    if fits_directly(subject.architecture):
        return
    model = subject.to_train()
    try:
        players = Players(model)
        players.check(take_step(model, subject.batch(4)))
    except ValueError as error:
        raise Broken(str(error)) from None


def trains_to_the_end(subject: Subject) -> None:
    """`prepare`, training steps and `calibrate` run without an error, as on a film."""
    subject.after_training()


def players_hold_what_they_name(subject: Subject) -> None:
    """Players called `encoder` and `decoder` hold the weights that `encode` and `decode` use."""
    if fits_directly(subject.architecture):
        return
    model = subject.to_train().eval()
    trainable = [p for p in model.parameters() if p.requires_grad]
    names = {id(p): name for name, p in model.named_parameters()}
    latent = model.encode(subject.samples(2))
    decoded = model.decode(latent.detach())
    reached = {"encoder": _reached(latent, trainable), "decoder": _reached(decoded, trainable)}
    verbs = {"encoder": "encode", "decoder": "decode"}
    for player, parameters in PlayerParameters.of(model):
        if player not in verbs:
            continue
        other = "decoder" if player == "encoder" else "encoder"
        held = {id(p) for p in parameters}
        # Parameters of both (tied weights, say) may be in either; parameters of neither, anywhere.
        foreign = held & (reached[other] - reached[player])
        expect(
            not foreign,
            f"the player {player!r} holds {_few(names[key] for key in foreign)}, "
            f"on which {verbs[other]} depends and {verbs[player]} does not",
        )
        # Latents that are whole numbers have no gradient, so this cannot be checked for them.
        expect(
            held & reached[player] or not reached[player],
            f"{verbs[player]} depends on nothing that the player {player!r} holds",
        )


def losses_reach_their_players(subject: Subject) -> None:
    """Each term reaches its player, and each total loss reaches at least half its weights."""
    if fits_directly(subject.architecture):
        return
    model = subject.to_train()
    losses = take_step(model, subject.batch(4))
    names = {id(p): name for name, p in model.named_parameters()}
    for player, parameters in PlayerParameters.of(model):
        for term, value in losses[player].terms.items():
            expect(
                _reached(value, parameters),
                f"the term {player}.{term} is detached from its player: it can move nothing",
            )
        found = gradients(losses[player].total, parameters)
        _expect_most_moved(f"the loss of {player!r}", parameters, found, names)


def opposed_terms_oppose(subject: Subject) -> None:
    """Opposed terms move their players, and lowering one player's term raises its rival's."""
    for mine, rivals in subject.architecture.opposed:
        model = subject.to_train().double()
        frames = subject.samples(4).double()
        losses = take_step(model, frames)
        names = {id(p): name for name, p in model.named_parameters()}
        by_player = dict(PlayerParameters.of(model))
        downhill: dict[str, list[Tensor]] = {}
        for declared in (mine, rivals):
            player, term = declared.split(".", 1)
            expect(
                player in losses and term in losses[player].terms,
                f"{mine} and {rivals} are declared opposed, but there is no term {declared}",
            )
            value = losses[player].terms[term]
            expect(value.requires_grad, f"{declared} is detached from the model")
            downhill[declared] = gradients(value, by_player[player])
            _expect_most_moved(declared, by_player[player], downhill[declared], names)

        player, (rival, rival_term) = mine.split(".", 1)[0], rivals.split(".", 1)
        before = float(losses[rival].terms[rival_term].detach())
        moved = _after_moving(model, player, downhill[mine], frames)
        after = float(moved[rival].terms[rival_term].detach())
        expect(
            after > before,
            f"moving {player!r} to lower {mine} lowered {rivals} too "
            f"({before:.6f} to {after:.6f}): its sign is reversed",
        )


def prepared_by_training_frames_alone(subject: Subject) -> None:
    """`prepare` and `fit` give the same result, no matter what the held-out frames show."""
    whole = scene_as_film(subject.sizes[0])
    pixels = whole.store.array.copy()
    generator = np.random.default_rng(0)
    rest = np.setdiff1d(np.arange(len(whole)), whole.split.seen)
    pixels[rest] = generator.integers(0, 256, pixels[rest].shape, dtype=np.uint8)
    other = film_from_frames(pixels, name="scene")
    one, two = (_prepared(subject, film) for film in (whole, other))
    apart = [name for name, tensor in one.items() if not torch.equal(tensor, two[name])]
    if apart:
        again = _prepared(subject, whole)
        if chance := [name for name in apart if not torch.equal(one[name], again[name])]:
            seen = f"the same training frames give {_few(chance)} other values each time"
            raise Broken(seen, check="noise comes from the step")
    expect(not apart, f"held-out frames decide {_few(apart)}")


def prepare_survives_a_reload(subject: Subject) -> None:
    """Everything that `prepare` computes is in parameters and buffers, so it survives a resume."""
    if fits_directly(subject.architecture):
        return
    model = subject.to_train()
    before = _kept_by_classes(subject.architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model.prepare(TrainingFrames(scene_as_film(model.size)))
    after = _kept_by_classes(subject.architecture)
    shared = [name for name, value in after.items() if before.get(name) is not value]
    expect(not shared, f"`prepare` sets {_few(shared)}, which every model shares and none saves")
    again = subject.to_train()
    again.load_state_dict(model.state_dict())
    batch = subject.batch(4)
    for (player, loss), resumed in zip(
        take_step(model, batch).items(), take_step(again, batch).values(), strict=True
    ):
        one, two = float(loss.total.detach()), float(resumed.total.detach())
        expect(
            math.isclose(one, two, rel_tol=1e-4, abs_tol=1e-6),
            f"after `prepare` the loss of {player!r} is {one:.6g}, and {two:.6g} in a model that "
            "was loaded from the same parameters and buffers",
        )


def _kept_by_classes(architecture: type[Autoencoder]) -> dict[str, object]:
    """The numbers, tensors and collections in class attributes of an architecture."""
    kinds = (int, float, list, tuple, dict, set, np.ndarray, Tensor)
    return {
        f"{each.__name__}.{name}": value
        for each in architecture.__mro__[: architecture.__mro__.index(Autoencoder)]
        for name, value in vars(each).items()
        if isinstance(value, kinds) and not name.startswith("__")
    }


def noise_comes_from_the_step(subject: Subject) -> None:
    """The same step and batch give the same losses: noise comes only from `step` and torch."""
    if fits_directly(subject.architecture):
        return
    totals = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        losses = take_step(subject.to_train(), subject.batch(4))
        totals.append({player: float(loss.total.detach()) for player, loss in losses.items()})
    for player, one in totals[0].items():
        two = totals[1][player]
        expect(
            math.isclose(one, two, rel_tol=1e-4, abs_tol=1e-6),
            f"the loss of {player!r} is {one:.6g} and then {two:.6g} in the same step: it takes "
            "from something else than `step` and torch's generators",
        )


def _prepared(subject: Subject, film: Film) -> dict[str, Tensor]:
    model = subject.unfitted(film.size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        frames = TrainingFrames(film)
        model.fit(frames) if fits_directly(subject.architecture) else model.prepare(frames)
    return {name: tensor.clone() for name, tensor in inference_state(model).items()}


def fits_one_batch(subject: Subject) -> None:
    """Trained on only four samples, it reconstructs them far better than their mean would."""
    directly = fits_directly(subject.architecture)
    model = subject.build() if directly else subject.to_train()
    frames = subject.samples(4)
    if not latent_spec(model).numbers:
        # If the latent has no numbers to tell frames apart, the mean is the best reconstruction.
        return
    decoded = subject.sampling.target_frames(frames)
    of_mean = float((decoded.mean(dim=0, keepdim=True) - decoded).square().mean())
    if directly:
        error = _error_as_stored(model, frames)
        expect(error < FAR_BETTER * of_mean, _far_off("once fitted", error, of_mean))
        return
    # As in training: a model may start from values that are computed rather than learnt.
    film = scene_as_film(model.size, len(decoded), holdout=0)
    model.prepare(TrainingFrames(film))
    players = Players(model.train())
    for step in range(FIT_STEPS):
        players.step(take_step(model, frames, number=step), 0.2)
        if (step + 1) % LOOK_EVERY == 0:
            error = _error_as_stored(copy.deepcopy(model), frames)
            if error < FAR_BETTER * of_mean:
                return
    rates = _few(
        f"{how.name} with lr={how.lr:g} for {player!r}"
        for player, _ in PlayerParameters.of(model)
        for how in (model.optimizer(player),)
    )
    when = f"after {FIT_STEPS} steps on four frames, with {rates},"
    raise Broken(_far_off(when, error, of_mean))


@torch.no_grad()
def _error_as_stored(model: Autoencoder, frames: Tensor) -> float:
    """The mean squared error of samples after calibration, reconstructed as in an evaluation."""
    model.eval().calibrate(iter([frames]))
    latent = model.eval().encode(frames).float()
    quantiser = Quantiser.of(latent_spec(model), latent.flatten(1))
    stored = quantiser.round_trip(latent)
    decoded = flat_frames(model.decode(stored))
    low, high = float(decoded.min()), float(decoded.max())
    if low < 0 or high > 1:
        seen = f"after training, reconstructions span {low:.3f} to {high:.3f}"
        raise Broken(seen, check="shapes and range")
    return float((decoded - Sampling.of(model).target_frames(frames)).square().mean())


def _far_off(when: str, error: float, of_mean: float) -> str:
    return f"{when} the squared error is {error:.4f}; their mean frame has {of_mean:.4f}"


def _reached(value: Tensor, parameters: Sequence[Tensor]) -> set[int]:
    """The ids of the parameters on which a tensor depends, as its gradients show."""
    if not value.requires_grad:
        return set()
    found = torch.autograd.grad(value.sum(), parameters, retain_graph=True, allow_unused=True)
    return {id(p) for p, g in zip(parameters, found, strict=True) if g is not None}


def _expect_most_moved(
    what: str, parameters: Sequence[Tensor], found: Sequence[Tensor], names: dict[int, str]
) -> None:
    """Raise `Broken` unless most weights have a gradient; dead units may leave some without one."""
    unmoved = [
        (names[id(p)], p.numel()) for p, g in zip(parameters, found, strict=True) if not g.any()
    ]
    few = len(unmoved) <= len(parameters) // 2
    small = 2 * sum(n for _, n in unmoved) <= sum(p.numel() for p in parameters)
    expect(few and small, f"{what} does not reach {_few(name for name, _ in unmoved)}")


def _few(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")


def _after_moving(
    model: Autoencoder, player: str, downhill: Iterable[Tensor], frames: Tensor
) -> Losses:
    """The losses of a copy of the model in which one player took a small step downhill."""
    moved = copy.deepcopy(model)
    parameters = dict(PlayerParameters.of(moved))[player]
    steps = list(downhill)
    size = torch.stack([p.norm() for p in parameters]).norm()
    length = torch.stack([g.norm() for g in steps]).norm()
    with torch.no_grad():
        for parameter, step in zip(parameters, steps, strict=True):
            parameter.sub_(NUDGE * size / length * step)
    return take_step(moved, frames)


CHECKS: tuple[Callable[[Subject], None], ...] = (
    trains_on_every_frame,
    players_cover_the_model,
    trains_to_the_end,
    players_hold_what_they_name,
    losses_reach_their_players,
    noise_comes_from_the_step,
    prepare_survives_a_reload,
    prepared_by_training_frames_alone,
    opposed_terms_oppose,
    fits_one_batch,
)
