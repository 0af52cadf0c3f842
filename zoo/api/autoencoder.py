"""The contract for an architecture, version 2: all that a plugin author has to write.

A model encodes frames into latents, decodes latents into frames, names its players and
defines each player's loss. The zoo does the rest: training loops, optimiser calls, devices,
metrics and plots. `docs/plugins.md` shows the smallest model, about thirty lines.
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
    """A model's settings, typed and described; set on the command line by `--set width=64`.

    Subclass it as `Options` inside the model and give every field a description.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    latent: int = pydantic.Field(200, ge=1, description="numbers per frame")


@dataclass(frozen=True)
class Batch:
    """The samples that a model is trained on in one step."""

    frames: Tensor
    """Float (B, 3, H, W) in [0, 1], channels last. (B, T, 3, H, W) for a model with `window = T`,
    and (B, K, 3, H, W) for one with `context = (before, after)`, K = before + 1 + after."""
    index: Tensor
    """Frame numbers in the film, int64 (B,), or (B, T) for a model with a window. For a model with
    a context: the number of each sample's target frame, the one at `context[0]`."""
    seconds: Tensor
    """Times at which those frames are shown, in seconds from the start of the film, float32; same
    shape as `index`."""

    def __len__(self) -> int:
        return len(self.frames)

    @classmethod
    def numbered(cls, frames: Tensor, window: int = 1) -> Batch:
        """A batch of consecutive samples, as from a film at 25 frames per second."""
        index = torch.arange(len(frames) * window, device=frames.device)
        index = index.view(-1, window) if window > 1 else index
        return cls(frames, index, index.float() / 25)

    def part(self, number: int, parts: int) -> Batch:
        """Part `number`, counted from 0, of the batch cut into `parts` equal parts."""
        size = len(self) // parts
        cut = slice(number * size, (number + 1) * size)
        return Batch(self.frames[cut], self.index[cut], self.seconds[cut])


@dataclass(frozen=True)
class Loss:
    """What one player minimises: the sum of named terms, each a scalar tensor.

    `active`, if given, is a scalar tensor: true if the player is updated in this step. If false,
    its weights, optimiser moments and step count stay as they are.
    `logged` holds numbers that are recorded but not minimised, such as a codebook's perplexity:
    detached scalar tensors. Those that are finite are logged with the terms. Every step must
    return the same terms and logged numbers.
    """

    terms: Mapping[str, Tensor]
    active: Tensor | None = None
    logged: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        """The sum of the terms, a scalar tensor."""
        return torch.stack(list(self.terms.values())).sum()


@names_its_fields
@dataclass(frozen=True)
class Optimizer:
    """A player's optimiser: its name in timm, and its settings."""

    name: str = "adamw"
    lr: float = 1e-3
    """Peak learning rate; the recipe's schedule warms up to it and decays from it."""
    betas: tuple[float, float] | None = (0.9, 0.99)
    """For Adam and its variants; None for an optimiser without betas."""
    eps: float | None = None
    """None for the optimiser's default."""
    momentum: float = 0.9
    """For an optimiser with momentum, such as sgd."""
    weight_decay: float = 0.0
    clip: float | None = 1.0
    """Largest norm of the player's whole gradient; None for no clipping."""


@names_its_fields
@dataclass(frozen=True)
class Group:
    """Some of a player's parameters, with their own learning rate or weight decay."""

    parameters: Iterable[nn.Parameter]
    lr: float | None = None
    """Peak learning rate; None to use the one in the player's `Optimizer`."""
    weight_decay: float | None = None
    """None to use the one in the player's `Optimizer`."""


@dataclass(frozen=True)
class Step:
    """One training step as a model sees it: the progress of training, and a source of noise.

    The noise depends only on the run's seed and the step's number, so a resumed training continues
    exactly as it would have. torch's own generators are seeded for each step too, so dropout and
    `torch.rand` are equally reproducible. Several processes or gradient accumulation may cut a
    batch into parts: `randn_like` and `rand_like` draw for the whole batch and return the rows of
    this part, so the noise does not depend on the cut.
    """

    progress: Tensor
    """A scalar tensor that runs from 0 to 1 over the whole budget."""
    number: int
    """Steps taken before this one."""
    generator: torch.Generator
    """The source of the noise; equal in all parts of a batch."""
    part: int = 0
    """Which part of the batch this is, counted from 0."""
    parts: int = 1
    """Number of parts that the batch is cut into."""

    def randn_like(self, like: Tensor) -> Tensor:
        """Standard normal noise with the shape, device and dtype of `like` (B, ...)."""
        return self._rows(torch.randn, like)

    def rand_like(self, like: Tensor) -> Tensor:
        """Uniform noise in [0, 1) with the shape, device and dtype of `like` (B, ...)."""
        return self._rows(torch.rand, like)

    def randn(self, *shape: int) -> Tensor:
        """Standard normal noise of any shape, float32 on the device; the same in all parts."""
        return torch.randn(shape, generator=self.generator, device=self.progress.device)

    def rand(self, *shape: int) -> Tensor:
        """Uniform noise in [0, 1) of any shape, float32 on the device; the same in all parts."""
        return torch.rand(shape, generator=self.generator, device=self.progress.device)

    def _rows(self, draw: Any, like: Tensor) -> Tensor:
        count = len(like)
        shape = (count * self.parts, *like.shape[1:])
        noise: Tensor = draw(shape, generator=self.generator, device=like.device, dtype=like.dtype)
        return noise[self.part * count : (self.part + 1) * count]


Players = Mapping[str, Iterable[nn.Parameter] | Iterable[Group]]
Losses = Mapping[str, Loss]


class Autoencoder(nn.Module):
    """Base class of every model and reference.

    A subclass sets `name` and `summary`, may nest an `Options`, builds its layers in
    `__init__(size, options)` and defines `encode`, `decode` and `losses`. A subclass that is not
    fitted by gradient descent overrides `fit` instead of `losses`.

    A sample is what one latent encodes: a frame, a frame with its neighbours (`context`), or
    several consecutive frames (`window`). At inference (`eval()`) a model is deterministic, and a
    latent does not depend on the other samples in the batch. Prefer group norm to batch norm.
    """

    name: ClassVar[str]
    """What the user types: `zoo train NAME --film FILM`."""
    summary: ClassVar[str]
    """One line for tables."""
    role: ClassVar[Literal["model", "reference"]] = "model"
    """A reference is listed in the tables for comparison; it does not compete."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Option values by preset, such as `{"quick": {"width": 16}}`."""
    recipe: ClassVar[Recipe] = Recipe()
    """Schedule, EMA, accumulation and precision of training; `--recipe` takes precedence."""

    window: ClassVar[int] = 1
    """T: this many consecutive frames of one shot share a latent. `encode` takes, and `decode`
    returns, (B, T, 3, H, W). A shot's last window is padded with its last frame."""
    context: ClassVar[tuple[int, int]] = (0, 0)
    """How many frames before and after a frame are encoded with it. `encode` takes (B, K, 3, H, W)
    with the frame at index `context[0]`; `decode` returns that frame. The first and last frame of
    a shot are repeated in place of neighbours that it lacks."""
    side_multiple: ClassVar[int] = 1
    """Width and height of frames must be multiples of this."""

    opposed: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Pairs of terms that pull against each other, each written `player.term`; for a GAN
    `(("decoder.adversarial", "discriminator.real_or_fake"),)`."""
    pretrained: ClassVar[bool] = False
    """Whether this is a reference with pretrained weights, which learns nothing from a film. The
    report uses it to say whether training was worth it. A comparison runs it only if `--models`
    names it, since such a network may be large."""
    unequal_terms: ClassVar[tuple[str, ...]] = ()
    """How the model's training differs from that of the others, a sentence each: more images per
    step, passes over the film outside the budget, what its loss shares with a metric. Reports
    print them."""
    tuned_on: ClassVar[tuple[str, ...]] = ()
    """Names of the films on which the defaults were chosen; results on these are not results on an
    unseen film. Reports print them; means over films omit a film that every model names."""
    extras: ClassVar[Mapping[str, str]] = {}
    """Modules that are imported only when the model is built or trained, each with the extra of the
    plugin's package that installs it. Without them the model is listed but cannot be used."""
    waivers: ClassVar[Mapping[str, str]] = {}
    """Promises that the model breaks on purpose, as a historic one may: names of checks, as `zoo
    models check` prints them, each with the reason. Every check run prints the waivers."""

    def __init__(self, size: FrameSize, options: Options) -> None:
        super().__init__()
        self.size = size
        self.options = options

    @classmethod
    def latent_sizes(cls, size: FrameSize) -> range:
        """The values of the option `latent` that the model accepts at a frame size.

        By default any from 1 up. A model whose latent is an h by w grid with one or more channels
        returns `range(h * w, zoo.ANY, h * w)`; one that rounds down to the next grid returns
        `range(h * w, zoo.ANY)`.
        """
        return range(1, ANY)

    def latent_spec(self) -> LatentSpec:
        """Shape and kind of one sample's latent; by default `latent` real numbers per frame.

        A latent may have at most 8 bits for each of `latent` numbers per frame.
        """
        return LatentSpec((self.window * self.options.latent,))

    def encode(self, frames: Tensor) -> Tensor:
        """Encode samples, float in [0, 1], into latents (B, *latent_spec().shape).

        Samples are frames (B, 3, H, W), or (B, K, 3, H, W) with a window or a context.
        """
        raise TypeError(f"{type(self).__name__} defines no encode(frames)")

    def decode(self, latent: Tensor) -> Tensor:
        """Decode latents (B, ...) into frames, float (B, 3, H, W) in [0, 1].

        With a window of T the frames are (B, T, 3, H, W). Nothing but latents may be used.
        """
        raise TypeError(f"{type(self).__name__} defines no decode(latent)")

    def losses(self, batch: Batch, step: Step) -> Losses:
        """Return each player's loss on a batch.

        A loss updates its own player and nothing else: the engine computes the gradient of each
        player's loss for that player's parameters, all at the same point, then steps all players.
        This must also work without `prepare`: costs are measured on unprepared models.
        """
        raise TypeError(
            f"{type(self).__name__} defines neither losses(batch, step) nor fit(frames)"
        )

    def players(self) -> Players:
        """Return the players: named, disjoint groups of parameters that cover all trainable ones.

        A player called `encoder` must not hold what only `decode` uses, one called `decoder` not
        what only `encode` uses. A player is an iterable of parameters, or of `Group`s if some have
        their own learning rate or weight decay. Frozen parameters belong to no player.
        """
        return {"autoencoder": [p for p in self.parameters() if p.requires_grad]}

    def optimizer(self, player: str) -> Optimizer:
        """The optimiser of the named player."""
        return Optimizer()

    def training_modules(self) -> Mapping[str, nn.Module]:
        """Make the modules that only training needs: discriminators, pretrained feature networks,
        momentum copies.

        Each is set as an attribute of that name before training begins. They are checkpointed, but
        are not part of the model that is saved, averaged, counted, loaded and shipped, so `encode`
        and `decode` cannot use them.
        """
        return {}

    def frames_taken(self, seen: int) -> int:
        """How many of a film's `seen` training frames the model is trained on, from the first.

        By default all, for a fair comparison. A historic model that uses fewer needs a waiver.
        """
        return seen

    def prepare(self, frames: TrainingFrames) -> None:
        """Compute what can be computed from the training frames before training starts.

        Use it for what is better computed than learnt, such as a mean frame or initial principal
        components. Store results only in parameters and buffers made by `__init__`: a resumed
        training does not call `prepare` again. Called with the model on its device and torch's
        generators seeded. Most models do not need it.
        """

    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Recompute after training what depends on the final weights: batch norm statistics, say.

        Called once on the weights that are kept, without gradients, with batches of training
        samples in the form that `encode` takes. Models without batch norm do not need it.
        """

    def sample_prior(self, count: int, generator: torch.Generator) -> Tensor | None:
        """Draw latents (count, ...) from the model's prior; None, as here, if it has none.

        Use the generator for all randomness, and return latents on its device.
        """
        return None

    def to_coordinates(self, numbers: Tensor) -> Tensor:
        """Map flat latents (N, L) to coordinates (N, M) in which interpolation makes sense.

        By default the latents themselves. Models with codes should override this: the mean of two
        code numbers is an unrelated code. Paths through latent space are computed in these
        coordinates.
        """
        return numbers

    def from_coordinates(self, coordinates: Tensor) -> Tensor:
        """Return the flat latents (N, L) nearest to coordinates (N, M): undo `to_coordinates`."""
        return coordinates

    def compress(self, levels: Tensor, values: int) -> bytes | None:
        """Compress a film's quantised latents losslessly, if the model has an entropy model.

        `levels` are whole numbers from 0 to `values` - 1, int64 (N, L), in the film's order, on
        the CPU: codes as they are, real numbers quantised to 256 levels. The length of the result
        is `coded_bytes` in reports; None, as here, leaves compression to film-zoo. Put what
        `decompress` needs into a submodule called `coder`, which counts as part of the decoder.
        Use integer arithmetic: floats round differently on other machines, which breaks decoding.
        """
        return None

    def decompress(self, stream: bytes, count: int, values: int) -> Tensor:
        """Return the levels, int64 (count, L), that `compress` was given."""
        raise TypeError(f"{type(self).__name__} defines compress but no decompress")

    def fit(self, frames: TrainingFrames) -> None:
        """Fit to the training frames without gradient descent (for references).

        Store results in parameters and buffers made by `__init__`.
        """
        raise TypeError(f"{type(self).__name__} is trained by gradient descent, not by fit(frames)")


ANY = 1 << 31
"""The end of a range of latent sizes that has no upper limit."""


@dataclass
class PlayerParameters:
    """A model's players and their parameter groups, checked against the contract."""

    by_player: dict[str, list[Group]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Autoencoder) -> PlayerParameters:
        """Read a model's players.

        Raises BrokenContract if a parameter belongs to two players or none, or a player is empty.
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
        """Iterate over the players' names, each with all of the player's parameters."""
        for name, groups in self.by_player.items():
            yield name, [parameter for group in groups for parameter in group.parameters]


def _grouped(model: Autoencoder, player: str, given: Iterable[Any]) -> list[Group]:
    """Return one player's trainable parameters as groups."""
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
                f"{model.name}: the player {player!r} must be an iterable of parameters or of "
                f"zoo.Group; it has a {type(each).__name__}"
            )
    plain = [p for p in plain if p.requires_grad]
    return [group for group in [Group(plain), *groups] if group.parameters]
