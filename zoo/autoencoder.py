"""The contract for an architecture: what a plugin author writes, and nothing more.

A model turns frames into latents and latents into frames, names its players, and says what
each player's loss is. Training loops, optimiser calls, devices, metrics and plots belong to
the zoo. The smallest model is about thirty lines; `docs/plugins.md` has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import pydantic
import torch
from torch import Tensor, nn

from zoo.errors import BadInput
from zoo.frame_size import FrameSize
from zoo.hookspecs import CONTRACT_VERSION as CONTRACT_VERSION

if TYPE_CHECKING:
    from zoo.films.film import Film


class Options(pydantic.BaseModel):
    """A model's settings, typed and described: `--set width=64` on the command line.

    Subclass it as `Options` inside the model and give every field a description.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    latent: int = pydantic.Field(200, ge=1, description="numbers a frame is squeezed into")


@dataclass(frozen=True)
class Loss:
    """What one player minimises: the sum of named terms, each a tensor of no dimensions.

    `active`, where given, is a tensor of no dimensions, true if the player moves in this step
    and false if it sits it out (its weights, moments and step count then stay as they are).
    """

    terms: Mapping[str, Tensor]
    active: Tensor | None = None

    @property
    def total(self) -> Tensor:
        """The sum of the terms: a tensor of no dimensions."""
        return torch.stack(list(self.terms.values())).sum()


@dataclass(frozen=True)
class Optimizer:
    """How one player learns: an optimiser by its name in timm, and its settings."""

    name: str = "adamw"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    clip: float | None = 1.0
    """Largest norm of the player's whole gradient; None leaves it as it is."""


@dataclass(frozen=True)
class Step:
    """One training step as a model sees it: how far training is, and the only source of noise.

    `progress` is a tensor of no dimensions that runs from 0 to 1 over the whole budget.
    With several ranks each sees a slice of one global batch; noise is drawn for the whole of
    it and sliced, so that the number of ranks changes nothing.
    """

    progress: Tensor
    generator: torch.Generator
    rank: int = 0
    ranks: int = 1

    def randn_like(self, like: Tensor) -> Tensor:
        """Standard normal noise with the shape, device and type of `like` (B, ...)."""
        shape = (like.shape[0] * self.ranks, *like.shape[1:])
        noise = torch.randn(shape, generator=self.generator, device=like.device, dtype=like.dtype)
        return noise[self.rank * like.shape[0] : (self.rank + 1) * like.shape[0]]


Players = Mapping[str, Iterable[nn.Parameter]]
Losses = Mapping[str, Loss]


class Autoencoder(nn.Module):
    """Base of every model and reference.

    A subclass sets `name` and `summary`, may nest an `Options`, builds its layers in
    `__init__(size, options)` and defines `encode`, `decode` and `losses`. A subclass whose fit
    is no gradient descent overrides `fit` instead of `losses`.

    At inference (`eval()`) a model is deterministic, and a frame's latent does not depend on
    the frames beside it. Prefer group norm to batch norm.
    """

    name: ClassVar[str]
    """What the user types: `zoo train NAME`."""
    summary: ClassVar[str]
    """One line for tables."""
    role: ClassVar[Literal["model", "reference"]] = "model"
    """A reference stands in the tables for comparison; it is not a candidate."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Option values by the name of a preset, such as `{"quick": {"width": 16}}`."""
    opposed: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Pairs of terms that pull against each other, each written `player.term`; for a GAN
    `(("decoder.adversarial", "discriminator.real_or_drawn"),)`."""

    unequal_terms: ClassVar[tuple[str, ...]] = ()
    """Where the model is not trained on the terms of all others, a sentence each: more images per
    step, passes over the film outside of the budget, what its loss shares with a metric. Reports
    print them."""
    tuned_on: ClassVar[tuple[str, ...]] = ()
    """Films on which the defaults were chosen, by name: numbers on them are not of an unseen film.
    Reports print them."""
    waivers: ClassVar[Mapping[str, str]] = {}
    """Promises that a model breaks on purpose, as a historic one may: the name of the check, as
    `zoo models check` prints it, and why. What is waived is printed wherever it is checked."""

    def __init__(self, size: FrameSize, options: Options) -> None:
        super().__init__()
        self.size = size
        self.options = options

    def encode(self, frames: Tensor) -> Tensor:
        """Squeeze frames, float (B, 3, H, W) in [0, 1], into latents (B, ...)."""
        raise TypeError(f"{type(self).__name__} defines no encode(frames)")

    def decode(self, latent: Tensor) -> Tensor:
        """Draw frames, float (B, 3, H, W) in [0, 1], from latents (B, ...) alone."""
        raise TypeError(f"{type(self).__name__} defines no decode(latent)")

    def losses(self, frames: Tensor, step: Step) -> Losses:
        """Return each player's loss on frames, float (B, 3, H, W) in [0, 1].

        A loss moves its own player and nothing else: the engine takes each player's gradient
        of that player's loss alone, all at the same point, and then steps all players.
        """
        raise TypeError(f"{type(self).__name__} defines neither losses(frames, step) nor fit(film)")

    def players(self) -> Players:
        """Name groups of parameters: disjoint, together every trainable parameter.

        A player called `encoder` holds what `encode` alone depends on, one called `decoder` what
        `decode` alone does.
        """
        return {"autoencoder": [p for p in self.parameters() if p.requires_grad]}

    def optimizer(self, player: str) -> Optimizer:
        """How the named player learns."""
        return Optimizer()

    def frames_taken(self, seen: int) -> int:
        """Say how many of a film's `seen` training frames the model is trained on, the first ones.

        All of them, for equal terms. A historic model may leave some out, and needs a waiver.
        """
        return seen

    def prepare(self, film: Film) -> None:
        """Look at the film once before training, only at its training frames (`split.seen`).

        For what is better computed than learnt, such as a mean frame or principal components to
        start from. Called on the device, with torch's generator seeded; most models have nothing
        to do.
        """

    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Settle, after training, what depends on averaged weights: the statistics of batch norm.

        Called once on the weights that are kept, without gradients, with batches of training
        frames, float (B, 3, H, W) in [0, 1]. Models without batch norm have nothing to do.
        """

    def sample_prior(self, count: int, generator: torch.Generator) -> Tensor | None:
        """Draw latents (count, ...) from the distribution that training holds them near.

        All chance comes from the generator, and the latents lie on its device. None, as here,
        where a model has no prior.
        """
        return None

    def to_coordinates(self, numbers: Tensor) -> Tensor:
        """Flat latents (N, L) as coordinates (N, M): what lies between two is like both.

        The latents themselves, unless their numbers name something, as those of codes do: halfway
        between two names is a third. Ways through latent space are laid in these coordinates.
        """
        return numbers

    def from_coordinates(self, coordinates: Tensor) -> Tensor:
        """The flat latents (N, L) nearest to coordinates (N, M): `to_coordinates`, undone."""
        return coordinates

    def fit(self, film: Film) -> None:
        """Fit to the film's training frames without gradient descent (references)."""
        raise TypeError(f"{type(self).__name__} is trained by gradient descent, not by fit(film)")

    @classmethod
    def fits_directly(cls) -> bool:
        """Whether `fit` takes the place of gradient descent."""
        return cls.fit is not Autoencoder.fit

    @classmethod
    def option_class(cls) -> type[Options]:
        """The nested `Options`, or the base class where a model has none of its own."""
        return getattr(cls, "Options", Options)

    @classmethod
    def build(cls, size: FrameSize, settings: Mapping[str, Any] | None = None) -> Self:
        """Make the model from settings as a user gives them; raises BadInput on a wrong one."""
        return cls(size, cls.parse_options(settings or {}))

    @classmethod
    def parse_options(cls, settings: Mapping[str, Any]) -> Options:
        """Check settings against the options; raises BadInput naming the first that is wrong."""
        options = cls.option_class()
        try:
            return options.model_validate(dict(settings))
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                known = ", ".join(options.model_fields)
                raise BadInput(f"{cls.name} has no option {where!r}; it has: {known}") from None
            raise BadInput(f"{cls.name}, option {where}: {first['msg']}") from None


@dataclass
class PlayerParameters:
    """A model's players with their parameters listed, checked against the contract."""

    by_player: dict[str, list[nn.Parameter]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Autoencoder) -> PlayerParameters:
        """List them; raises ValueError if groups overlap, are empty or miss a parameter."""
        players = {name: list(group) for name, group in model.players().items()}
        names = {id(p): name for name, p in model.named_parameters()}
        owner: dict[int, str] = {}
        for player, group in players.items():
            if not group:
                raise ValueError(f"{model.name}: the player {player!r} has no parameters")
            for parameter in group:
                key = id(parameter)
                if key in owner:
                    raise ValueError(
                        f"{model.name}: the parameter {names.get(key, '?')} belongs to "
                        f"{owner[key]!r} and to {player!r}"
                    )
                owner[key] = player
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and id(parameter) not in owner:
                raise ValueError(f"{model.name}: the parameter {name} belongs to no player")
        return cls(players)

    def __iter__(self) -> Iterator[tuple[str, list[nn.Parameter]]]:
        return iter(self.by_player.items())
