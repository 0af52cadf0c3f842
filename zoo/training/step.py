"""One training step: losses, gradients, optimiser updates, EMA and loss averages.

The engine, the cost measurement, the search for a batch that fits and the benchmarks all use it, so
what is measured is what training does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from zoo.api.autoencoder import Autoencoder, Batch, Losses, Step
from zoo.api.recipe_and_events import Recipe
from zoo.base.errors import BrokenContract
from zoo.plugins.model_building import inference_copy
from zoo.training.distributed import BufferSync, mean_over_ranks
from zoo.training.optimizers import LossScale, Players, Reduce
from zoo.training.run_folder import CompileMode

CACHE_TAG = "film-zoo, no buffers donated"
"""Added to the key of torch's compile cache."""


class TrainingStep:
    """Takes the steps of one training, one after another, on the device of `fabric`.

    All randomness in a step follows from the seed and the step number, torch's default generators
    (dropout, `torch.rand`) included: a resumed training continues exactly, and no generator state
    has to be saved. With gradient accumulation a batch is cut into equal parts, and each part gets
    its rows of the whole batch's noise.
    """

    def __init__(
        self,
        model: Autoencoder,
        fabric: Fabric,
        *,
        compile_mode: CompileMode = "none",
        seed: int = 0,
        recipe: Recipe | None = None,
        steps: int | None = None,
    ) -> None:
        """`model` is on the fabric's device; `recipe` replaces the model's own.

        `steps` is the length of the training, for its EMA; None if the budget is in seconds.
        """
        self.model = model
        self.fabric = fabric
        self.device = fabric.device
        self.seed = seed
        self.recipe = model.recipe if recipe is None else recipe
        scaled = fabric.strategy.precision.precision == "16-mixed"
        self.players = Players(model, self.recipe, LossScale(self.device) if scaled else None)
        self.ema = WeightEMA(model, ema_decay(self.recipe.average, steps))
        self.loss_averager = LossAverager(self.device)
        self.number = 0
        """The number of the next step."""
        self.reduce = mean_over_ranks(fabric)
        self._generator = torch.Generator(self.device)
        compile_modules(model, compile_mode)
        self._buffers = BufferSync(model) if self.reduce else None
        self._first = True

    def __call__(self, batch: Batch, progress: float) -> None:
        """Take a step on a batch on the device.

        `progress` is the share of the training that is over. Does not synchronise with the device;
        on return nothing keeps the step's activations alive. Raises ValueError if the model's
        losses break the contract.
        """
        # Filled on the device: copying a number from the host would wait for the GPU.
        done = torch.full((), progress, device=self.device)
        parts = parts_of(len(batch), self.recipe.accumulate)
        if parts == 1:
            losses = self._losses(batch, done, 0, 1)
            self.players.step(losses, progress, self.reduce)
            self.loss_averager.add(losses, self.number)
        else:
            self._accumulate(batch, done, progress, parts)
        if self._first:
            self.players.check_states()
            self._first = False
        if self.reduce and self._buffers:
            self._buffers.sync(self.reduce)
        self.ema.update(step=self.number)
        self.number += 1

    def _losses(self, batch: Batch, done: Tensor, part: int, parts: int) -> Losses:
        """The losses of one part of this process's share of the batch."""
        rank = self.fabric.global_rank if self.reduce else 0
        ranks = self.fabric.world_size if self.reduce else 1
        number = rank * parts + part
        self._seed_generators(number)
        step = Step(done, self.number, self._generator, number, ranks * parts)
        with self.fabric.autocast():
            return self.model.losses(batch, step)

    def _accumulate(self, batch: Batch, done: Tensor, progress: float, parts: int) -> None:
        """Average the gradients of a batch's parts, then move the players once."""
        sums: dict[str, list[Tensor]] = {}
        votes: dict[str, list[Tensor]] = {}
        for number in range(parts):
            losses = self._losses(batch.part(number, parts), done, number, parts)
            for name, gradients in self.players.gradients(losses).items():
                if name in sums:
                    torch._foreach_add_(sums[name], gradients)
                else:
                    sums[name] = gradients
            for name, loss in losses.items():
                if loss.active is not None:
                    votes.setdefault(name, []).append(loss.active.detach().float())
            self.loss_averager.add(losses, self.number)
            del losses
        for gradients in sums.values():
            torch._foreach_div_(gradients, parts)
        # A player skips the step if most parts say so.
        active = {
            name: torch.stack(votes[name]).mean() >= 0.5 if name in votes else None for name in sums
        }
        self.players.move(sums, active, progress, self.reduce)

    def _seed_generators(self, part: int) -> None:
        """Seed the step's noise, the same for all parts, and torch's generators, for this part."""
        shared, own = np.random.SeedSequence((self.seed, self.number)).spawn(2)
        self._generator.manual_seed(_word(shared))
        own_of_part = own.generate_state(1 + part, np.uint64)
        seed = int(own_of_part[-1] >> 1)
        # `torch.manual_seed` formats a traceback for every kind of device that is not in use.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed_all(seed)


def parts_of(samples: int, accumulate: int) -> int:
    """The number of equal parts a batch is cut into: at most `accumulate`."""
    return next(parts for parts in range(min(accumulate, samples), 0, -1) if samples % parts == 0)


def _word(sequence: np.random.SeedSequence) -> int:
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


@dataclass(frozen=True)
class LossMeans:
    """Means over some steps, by player and name."""

    losses: dict[str, dict[str, float]] = field(default_factory=dict)
    logged: dict[str, dict[str, float]] = field(default_factory=dict)
    """What the model logs beside its losses."""


class LossAverager:
    """Averages the loss terms of the steps between two reports.

    All steps have the same terms. A step costs one small operation. Only `means` and
    `first_non_finite` synchronise with the device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.names: list[tuple[str, str]] = []
        """Player and name of each column: loss terms, then logged values."""
        self.terms = 0
        """The number of columns that are loss terms."""
        self.rows: list[Tensor] = []
        self.steps: list[int] = []
        """The step of each row."""

    def add(self, losses: Losses, step: int) -> None:
        """Add the losses of one step."""
        terms = {(p, t): v for p, loss in losses.items() for t, v in loss.terms.items()}
        logged = {(p, t): v for p, loss in losses.items() for t, v in loss.logged.items()}
        if not self.names:
            self.names, self.terms = [*terms, *logged], len(terms)
        names = self.names[: self.terms], self.names[self.terms :]
        for found, known in zip((terms, logged), names, strict=True):
            if found.keys() != set(known):
                _refuse_other(found.keys(), set(known), step)
        values = [
            found[name] for found, own in zip((terms, logged), names, strict=True) for name in own
        ]
        self.rows.append(torch.stack([value.detach().float() for value in values]))
        self.steps.append(step)

    def means(self, reduce: Reduce | None = None) -> LossMeans:
        """Return the means of all rows and clear them; `reduce` averages over the ranks.

        What is logged beside the losses is left out where its mean is not finite.
        """
        result = LossMeans()
        if not self.rows:
            return result
        means = torch.stack(self.rows).mean(dim=0)
        means = reduce(means) if reduce else means
        for column, ((player, name), mean) in enumerate(
            zip(self.names, means.tolist(), strict=True)
        ):
            if column < self.terms:
                result.losses.setdefault(player, {})[name] = mean
            elif math.isfinite(mean):
                result.logged.setdefault(player, {})[name] = mean
        self.clear()
        return result

    def clear(self) -> None:
        """Drop all rows."""
        self.rows, self.steps = [], []

    def first_non_finite(self) -> tuple[int, str, str] | None:
        """The step, player and term of the first non-finite loss since the last `means`."""
        if not self.rows:
            return None
        non_finite = ~torch.stack(self.rows)[:, : self.terms].isfinite()
        if not non_finite.any():
            return None
        row, term = non_finite.nonzero()[0].tolist()
        return self.steps[row], *self.names[term]

    def state(self) -> dict[str, Tensor]:
        """Tensors for a checkpoint."""
        if not self.rows:
            return {}
        names = json.dumps([self.names, self.terms]).encode()
        return {
            "rows": torch.stack(self.rows),
            "steps": torch.tensor(self.steps),
            "names": torch.tensor(list(names), dtype=torch.uint8),
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore from a checkpoint's tensors."""
        rows = state.get("rows")
        self.rows = [] if rows is None else list(rows.to(self.device))
        self.steps = [] if rows is None else state["steps"].tolist()
        if rows is not None:
            names, self.terms = json.loads(bytes(state["names"].tolist()))
            self.names = [(player, name) for player, name in names]


def _refuse_other(found: Set[tuple[str, str]], known: Set[tuple[str, str]], step: int) -> NoReturn:
    """Raise BrokenContract about loss terms or logged values that differ from earlier steps."""
    sides = {"new": found - known, "missing": known - found}
    said = "; ".join(
        f"{', '.join(sorted('.'.join(name) for name in names))} is {what}"
        for what, names in sides.items()
        if names
    )
    raise BrokenContract(
        f"losses gave different terms at step {step} than before ({said}): every step must have "
        "the same; multiply a term that does not count yet by 0"
    )


def compile_modules(model: Autoencoder, mode: CompileMode) -> None:
    """Compile each of the model's top modules in place, unless `mode` is `none`.

    Encoder, decoder and discriminator are compiled separately, and the code of `losses` between
    them is not: a player's backward pass then runs only through the modules it needs. Results are
    the same up to rounding. Compilation happens once, in the first step, since all batches have
    one size. Copies of the model are not compiled.
    """
    if mode == "none":
        return
    # Imported here, because it takes seconds.
    import torch._dynamo

    # torch recompiles a function a limited number of times and then silently runs it uncompiled.
    # Models share functions, so earlier trainings in this process must not count.
    torch._dynamo.reset()
    _keep_buffers_for_backward()
    for module in _modules_called(model):
        module.compile(mode=mode, dynamic=False)


def _modules_called(module: nn.Module) -> Iterator[nn.Module]:
    """The modules right below this one, looking into containers that have no `forward`."""
    for child in module.children():
        if type(child).forward is nn.Module.forward:
            yield from _modules_called(child)
        else:
            yield child


def _keep_buffers_for_backward() -> None:
    """Keep compiled backward passes from overwriting what the forward pass saved.

    Every player's gradient is taken through the same forward pass, so the next one reads it again.
    """
    import torch._functorch.config
    import torch.compiler.config

    torch._functorch.config.donated_buffer = False
    # torch's cache on disk ignores this setting: code that another program compiled without it
    # would silently give wrong gradients after the first player's.
    if CACHE_TAG not in torch.compiler.config.cache_key_tag:
        torch.compiler.config.cache_key_tag += CACHE_TAG


WARM_UP_POWER = 2 / 3
"""After n steps the decay is at most 1 - n^-power, so that early weights are soon forgotten."""
LARGEST_EMA_DECAY = 0.9999


class WeightEMA:
    """EMA of trained parameters; buffers and frozen parameters are copied.

    What a model changes by itself (batch statistics, a codebook) consists of values that belong
    together, so it is never averaged. Modules that only training needs have no average.

    torch's `AveragedModel` is not used: it would average frozen networks in every step, which
    costs as much as averaging the model, and copy the modules that only training needs.
    """

    def __init__(self, model: Autoencoder, decay: float) -> None:
        self._model = model
        self._decay = decay
        self.module = inference_copy(model).eval().requires_grad_(False)
        """The model to keep, with averaged weights, in evaluation mode."""
        kept = dict(self.module.named_parameters())
        trained = [
            (name, p) for name, p in model.named_parameters() if p.requires_grad and name in kept
        ]
        self._trained = [p.detach() for _, p in trained]
        self._averaged = [self.module.get_parameter(name).detach() for name, _ in trained]
        self._names = {name for name, _ in trained}

    def update(self, step: int) -> None:
        """Move the average towards the weights as they are after `step`, counted from 0."""
        torch._foreach_lerp_(self._averaged, self._trained, weight=1 - self.decay(step))

    def decay(self, step: int) -> float:
        """The decay at `step`: it rises to its final value."""
        return min(self._decay, 1 - max(1, step) ** -WARM_UP_POWER)

    @torch.no_grad()
    def with_latest_buffers(self) -> Autoencoder:
        """The averaged model, after copying buffers and frozen parameters into it."""
        averaged = self._tensors(self.module)
        for name, tensor in self._tensors(self._model).items():
            if name in averaged and name not in self._names:
                averaged[name].copy_(tensor)
        return self.module

    @staticmethod
    def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
        return dict(model.named_parameters()) | dict(model.named_buffers())


def ema_decay(share: float, steps: int | None) -> float:
    """Return the decay of an EMA over this share of the steps; 0 keeps the last weights."""
    if not share:
        return 0.0
    return min(LARGEST_EMA_DECAY, math.exp(-1 / max(1.0, share * (steps or 20_000))))
