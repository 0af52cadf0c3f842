"""The contract for an architecture, version 2: what a plugin author writes, and nothing more.

A model turns frames into latents and latents into frames, names its players, and says what
each player's loss is. Training loops, optimiser calls, devices, metrics and plots belong to
the zoo. The smallest model is about thirty lines; `docs/plugins.md` has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pydantic
import torch
from torch import Tensor, nn

from zoo.api.hookspecs import CONTRACT_VERSION as CONTRACT_VERSION
from zoo.api.recipe_and_events import Recipe
from zoo.api.samples_and_latents import LatentSpec
from zoo.base.errors import BrokenContract
from zoo.base.frame_size import FrameSize
from zoo.base.option_validation import names_its_fields

if TYPE_CHECKING:
    from zoo.training.training_frames import TrainingFrames


class Options(pydantic.BaseModel):
    """A model's settings, typed and described: `--set width=64` on the command line.

    Subclass it as `Options` inside the model and give every field a description.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    latent: int = pydantic.Field(200, ge=1, description="numbers per frame")


@dataclass(frozen=True)
class Batch:
    """What a model is trained on in one step."""

    frames: Tensor
    """Float (B, 3, H, W) in [0, 1], channels last. (B, T, 3, H, W) for a model with `window = T`,
    and (B, K, 3, H, W) for one with `context = (before, after)`, K = before + 1 + after."""
    index: Tensor
    """Numbers of the frames in the film, int64 (B,), or (B, T) for a model with a window. Of a
    model with a context they are those of the frames in the middle."""
    seconds: Tensor
    """When those frames are shown, in seconds from the start of the film, float32; shaped like
    `index`."""

    def __len__(self) -> int:
        return len(self.frames)

    @classmethod
    def numbered(cls, frames: Tensor, window: int = 1) -> Batch:
        """Samples as if they followed one another in a film of 25 frames per second."""
        index = torch.arange(len(frames) * window, device=frames.device)
        index = index.view(-1, window) if window > 1 else index
        return cls(frames, index, index.float() / 25)

    def part(self, number: int, parts: int) -> Batch:
        """One of equal parts of the batch, counted from 0."""
        size = len(self) // parts
        cut = slice(number * size, (number + 1) * size)
        return Batch(self.frames[cut], self.index[cut], self.seconds[cut])


@dataclass(frozen=True)
class Loss:
    """What one player minimises: the sum of named terms, each a tensor of no dimensions.

    `active`, where given, is a tensor of no dimensions, true if the player moves in this step
    and false if it sits it out (its weights, moments and step count then stay as they are).
    `logged` are numbers to look at and not to minimise, such as a codebook's perplexity: tensors of
    no dimensions, detached, which go to the log beside the terms where they are finite. Every step
    has the same terms and logged numbers.
    """

    terms: Mapping[str, Tensor]
    active: Tensor | None = None
    logged: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        """The sum of the terms: a tensor of no dimensions."""
        return torch.stack(list(self.terms.values())).sum()


@names_its_fields
@dataclass(frozen=True)
class Optimizer:
    """How one player learns: an optimiser by its name in timm, and its settings."""

    name: str = "adamw"
    lr: float = 1e-3
    """Highest learning rate; the recipe's schedule rises to it and falls from it."""
    betas: tuple[float, float] | None = (0.9, 0.99)
    """Of Adam and its kin; None for an optimiser that has none."""
    eps: float | None = None
    """None for the optimiser's own."""
    momentum: float = 0.9
    """Momentum, for an optimiser that has it, such as sgd."""
    weight_decay: float = 0.0
    clip: float | None = 1.0
    """Largest norm of the player's whole gradient; None leaves it as it is."""


@names_its_fields
@dataclass(frozen=True)
class Group:
    """Some of a player's parameters, with their own learning rate or weight decay."""

    parameters: Iterable[nn.Parameter]
    lr: float | None = None
    """Highest learning rate; None for that of the player's optimiser."""
    weight_decay: float | None = None
    """None for that of the player's optimiser."""


@dataclass(frozen=True)
class Step:
    """One training step as a model sees it: how far training is, and its noise.

    The noise of a step follows from the run's seed and the step's number alone, so that a training
    which is resumed goes on as it would have. torch's own generators are seeded for each step, too:
    dropout and `torch.rand` are as exact. A batch may be cut into parts, by several processes
    or by gradient accumulation; `randn_like` and `rand_like` draw for the whole batch and give each
    part its own rows, so that cutting changes nothing.
    """

    progress: Tensor
    """A tensor of no dimensions that runs from 0 to 1 over the whole budget."""
    number: int
    """Steps taken before this one."""
    generator: torch.Generator
    """The source of the noise; equal in all parts of a batch."""
    part: int = 0
    """Which part of the batch this is, counted from 0."""
    parts: int = 1
    """Into how many parts the batch is cut."""

    def randn_like(self, like: Tensor) -> Tensor:
        """Standard normal noise, a row per sample: shape, device and type of `like` (B, ...)."""
        return self._rows(torch.randn, like)

    def rand_like(self, like: Tensor) -> Tensor:
        """Uniform noise in [0, 1), a row per sample: shape, device and type of `like` (B, ...)."""
        return self._rows(torch.rand, like)

    def randn(self, *shape: int) -> Tensor:
        """Standard normal noise of any shape, float32 on the device, equal in all parts."""
        return torch.randn(shape, generator=self.generator, device=self.progress.device)

    def rand(self, *shape: int) -> Tensor:
        """Uniform noise in [0, 1) of any shape, float32 on the device, equal in all parts."""
        return torch.rand(shape, generator=self.generator, device=self.progress.device)

    def _rows(self, draw: Any, like: Tensor) -> Tensor:
        count = len(like)
        shape = (count * self.parts, *like.shape[1:])
        noise: Tensor = draw(shape, generator=self.generator, device=like.device, dtype=like.dtype)
        return noise[self.part * count : (self.part + 1) * count]


Players = Mapping[str, Iterable[nn.Parameter] | Iterable[Group]]
Losses = Mapping[str, Loss]


class Autoencoder(nn.Module):
    """Base of every model and reference.

    A subclass sets `name` and `summary`, may nest an `Options`, builds its layers in
    `__init__(size, options)` and defines `encode`, `decode` and `losses`. A subclass whose fit
    is not gradient descent overrides `fit` instead of `losses`.

    A sample is what one latent is made of: a frame; a frame and its neighbours, with `context`;
    several frames in a row, with `window`. At inference (`eval()`) a model is deterministic, and a
    sample's latent does not depend on the samples beside it. Prefer group norm to batch norm.
    """

    name: ClassVar[str]
    """What the user types: `zoo train NAME --film FILM`."""
    summary: ClassVar[str]
    """One line for tables."""
    role: ClassVar[Literal["model", "reference"]] = "model"
    """A reference is in the tables for comparison; it is not a candidate."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Option values by the name of a preset, such as `{"quick": {"width": 16}}`."""
    recipe: ClassVar[Recipe] = Recipe()
    """Schedule, averaging, accumulation and precision of its training; `--recipe` sets them too."""

    window: ClassVar[int] = 1
    """T frames in a row of one shot share a latent: `encode` takes (B, T, 3, H, W), and `decode`
    reconstructs as many. A shot's last window is padded with its last frame."""
    context: ClassVar[tuple[int, int]] = (0, 0)
    """How many frames before and after a frame `encode` looks at: it takes (B, K, 3, H, W), the
    frame at `context[0]`, and `decode` gives one. Where a shot ends, its last frame is repeated."""
    side_multiple: ClassVar[int] = 1
    """Width and height of frames must be multiples of this."""

    opposed: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Pairs of terms that pull against each other, each written `player.term`; for a GAN
    `(("decoder.adversarial", "discriminator.real_or_fake"),)`."""
    pretrained: ClassVar[bool] = False
    """Of a reference that learns nothing from a film because its weights come from elsewhere: the
    report answers with it whether training was worth it. A comparison runs it only where it is
    named, since such a network may be large."""
    unequal_terms: ClassVar[tuple[str, ...]] = ()
    """Where the model is not trained on the terms of all others, a sentence each: more images per
    step, passes over the film outside of the budget, what its loss shares with a metric. Reports
    print them."""
    tuned_on: ClassVar[tuple[str, ...]] = ()
    """Films on which the defaults were chosen, by name: numbers on them are not of an unseen film.
    Reports print them, and leave a film that every model names out of means over films."""
    extras: ClassVar[Mapping[str, str]] = {}
    """Modules that it imports only when it is built or trained, each with the extra of its package
    that brings it: nothing is done for it where one of them is not installed."""
    waivers: ClassVar[Mapping[str, str]] = {}
    """Promises that a model breaks on purpose, as a historic one may: the name of the check, as
    `zoo models check` prints it, and why. What is waived is printed wherever it is checked."""

    def __init__(self, size: FrameSize, options: Options) -> None:
        super().__init__()
        self.size = size
        self.options = options

    @classmethod
    def latent_sizes(cls, size: FrameSize) -> range:
        """The values of the option `latent` that the model can take with frames of a size.

        Any from 1 on. A grid of h by w numbers and one channel or more has
        `range(h * w, zoo.ANY, h * w)`; a model that rounds down to its next grid has
        `range(h * w, zoo.ANY)`.
        """
        return range(1, ANY)

    def latent_spec(self) -> LatentSpec:
        """Shape and kind of one sample's latent: `latent` real numbers for each of its frames.

        It may take fewer bits than `latent` numbers of 8 bits for each frame, and no more.
        """
        return LatentSpec((self.window * self.options.latent,))

    def encode(self, frames: Tensor) -> Tensor:
        """Encode samples, float in [0, 1], into latents (B, *latent_spec().shape).

        Samples are frames (B, 3, H, W), or (B, K, 3, H, W) with a window or a context.
        """
        raise TypeError(f"{type(self).__name__} defines no encode(frames)")

    def decode(self, latent: Tensor) -> Tensor:
        """Decode frames, float (B, 3, H, W) in [0, 1], from latents (B, ...) alone.

        With a window of T they are (B, T, 3, H, W).
        """
        raise TypeError(f"{type(self).__name__} defines no decode(latent)")

    def losses(self, batch: Batch, step: Step) -> Losses:
        """Return each player's loss on a batch.

        A loss moves its own player and nothing else: the engine takes each player's gradient
        of that player's loss alone, all at the same point, and then steps all players. It must work
        on a model that was never prepared, too: costs are measured on such a one.
        """
        raise TypeError(
            f"{type(self).__name__} defines neither losses(batch, step) nor fit(frames)"
        )

    def players(self) -> Players:
        """Name groups of parameters: disjoint, together every trainable parameter.

        A player called `encoder` holds what `encode` alone depends on, one called `decoder` what
        `decode` alone does. A player is an iterable of parameters, or of `Group`s where some learn
        at a rate of their own. Frozen parameters belong to nobody.
        """
        return {"autoencoder": [p for p in self.parameters() if p.requires_grad]}

    def optimizer(self, player: str) -> Optimizer:
        """How the named player learns."""
        return Optimizer()

    def training_modules(self) -> Mapping[str, nn.Module]:
        """Make the modules that only training needs: discriminators, networks whose features are
        compared, copies with momentum.

        Each becomes an attribute of its name before training begins. They are checkpointed, and
        are not part of the model that is saved, averaged, counted, loaded and shipped, so that
        `encode` and `decode` cannot use them.
        """
        return {}

    def frames_taken(self, seen: int) -> int:
        """How many of a film's `seen` training frames the model is trained on: the first ones.

        All of them, for equal terms. A historic model may leave some out, and needs a waiver.
        """
        return seen

    def prepare(self, frames: TrainingFrames) -> None:
        """Look at the training frames once before training.

        For what is better computed than learnt, such as a mean frame or principal components to
        start from. What is found goes into parameters and buffers that `__init__` made, and nowhere
        else: a training that is resumed is not prepared again. Called on the device, with torch's
        generators seeded; most models have nothing to do.
        """

    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Compute, after training, what depends on averaged weights, such as batch norm statistics.

        Called once on the weights that are kept, without gradients, with samples of training
        frames as `encode` takes them. Models without batch norm have nothing to do.
        """

    def sample_prior(self, count: int, generator: torch.Generator) -> Tensor | None:
        """Draw latents (count, ...) from the distribution that training holds them near.

        All chance comes from the generator, and the latents lie on its device. None, as here,
        where a model has no prior.
        """
        return None

    def to_coordinates(self, numbers: Tensor) -> Tensor:
        """Flat latents (N, L) as coordinates (N, M): between these one can interpolate.

        The latents themselves, unless they are codes: the mean of two codes' numbers is another
        code that has nothing to do with them. Paths through latent space are laid in these
        coordinates.
        """
        return numbers

    def from_coordinates(self, coordinates: Tensor) -> Tensor:
        """The flat latents (N, L) nearest to coordinates (N, M); undoes `to_coordinates`."""
        return coordinates

    def compress(self, levels: Tensor, values: int) -> bytes | None:
        """Code a film's stored latents without loss, where the model has an entropy model.

        `levels` are whole numbers from 0 to `values` - 1, int64 (N, L), in the film's order, on
        the CPU: codes as they are, real numbers on their scale of 256 levels. `coded_bytes` of
        reports is the length of what is returned; None, as here, leaves the coding to film-zoo.
        What decompressing needs lies in a submodule called `coder`, which counts as part of the
        decoder. Use whole numbers: another machine rounds floats otherwise, and is lost.
        """
        return None

    def decompress(self, stream: bytes, count: int, values: int) -> Tensor:
        """The levels, int64 (count, L), that `compress` coded."""
        raise TypeError(f"{type(self).__name__} defines compress, and no decompress")

    def fit(self, frames: TrainingFrames) -> None:
        """Fit to the training frames without gradient descent (references).

        What is found goes into parameters and buffers that `__init__` made.
        """
        raise TypeError(f"{type(self).__name__} is trained by gradient descent, not by fit(frames)")


ANY = 1 << 31
"""No limit, as the end of a range of latent sizes."""


@dataclass
class PlayerParameters:
    """A model's players with their groups of parameters, checked against the contract."""

    by_player: dict[str, list[Group]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Autoencoder) -> PlayerParameters:
        """A model's players.

        Raises BrokenContract if groups overlap, are empty or miss a parameter.
        """
        players = {name: _grouped(model, name, given) for name, given in model.players().items()}
        names = {id(p): name for name, p in model.named_parameters()}
        owner: dict[int, str] = {}
        for player, groups in players.items():
            parameters = [parameter for group in groups for parameter in group.parameters]
            if not parameters:
                raise BrokenContract(f"{model.name}: the player {player!r} has no parameters")
            for parameter in parameters:
                key = id(parameter)
                if key in owner:
                    raise BrokenContract(
                        f"{model.name}: the parameter {names.get(key, '?')} belongs to "
                        f"{owner[key]!r} and to {player!r}"
                    )
                owner[key] = player
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and id(parameter) not in owner:
                raise BrokenContract(f"{model.name}: the parameter {name} belongs to no player")
        return cls(players)

    def __iter__(self) -> Iterator[tuple[str, list[nn.Parameter]]]:
        """Each player's name with all of its parameters."""
        for name, groups in self.by_player.items():
            yield name, [parameter for group in groups for parameter in group.parameters]


def _grouped(model: Autoencoder, player: str, given: Iterable[Any]) -> list[Group]:
    """One player's trainable parameters, as groups."""
    groups: list[Group] = []
    plain: list[nn.Parameter] = []
    for each in given:
        if isinstance(each, Group):
            own = [p for p in each.parameters if p.requires_grad]
            groups.append(Group(own, each.lr, each.weight_decay))
        elif isinstance(each, nn.Parameter):
            plain.append(each)
        else:
            raise BrokenContract(
                f"{model.name}: the player {player!r} is an iterable of parameters or of "
                f"zoo.Group; it has a {type(each).__name__}"
            )
    plain = [p for p in plain if p.requires_grad]
    return [group for group in [Group(plain), *groups] if group.parameters]
