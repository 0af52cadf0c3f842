"""One training step: losses, each player's gradient and move, the averages of weights and losses.

The engine, the cost measurement, the search for a batch that fits and the benchmarks all take this
step, so that what is measured is what training does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from zoo.api.autoencoder import Autoencoder, Batch, Losses, Step
from zoo.api.recipe import Recipe
from zoo.training.distributed import SharedBuffers, average_over_ranks
from zoo.training.ema import WeightAverage, average_decay
from zoo.training.players import Players, Reduce
from zoo.training.run_folder import CompileMode


class TrainingStep:
    """Takes the steps of one training on the device of `fabric`, one after another.

    All chance in a step follows from the seed and the step's number, that of torch's default
    generators (dropout, `torch.rand`) included: a training that is resumed at a step goes on as
    it would have, and no generator's state has to be saved. A batch is cut into as many parts as
    the recipe accumulates; what is drawn for each is its own part of one draw.
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
        """`model` lies on the fabric's device; `recipe` is its own where none is given.

        `steps` is how long the training is, for the average of its weights; None where the clock
        decides.
        """
        self.model = model
        self.fabric = fabric
        self.device = fabric.device
        self.seed = seed
        self.recipe = model.recipe if recipe is None else recipe
        self.players = Players(model, self.recipe)
        self.average = WeightAverage(model, average_decay(self.recipe.average, steps))
        self.tally = Tally(self.device)
        self.number = 0
        """The step that is taken next."""
        self.reduce = average_over_ranks(fabric)
        self._generator = torch.Generator(self.device)
        compile_modules(model, compile_mode)
        self._buffers = SharedBuffers(model) if self.reduce else None
        self._checked = False

    def __call__(self, batch: Batch, progress: float) -> None:
        """Take a step on a batch that lies on the device.

        `progress` is the share of the training that is over. Waits for no device; on return
        nothing holds the step's activations. Raises ValueError if the model's losses break the
        contract.
        """
        # Filled on the device: a tensor made from a number on the host would be copied, and a
        # copy waits for the GPU.
        done = torch.full((), progress, device=self.device)
        parts = parts_of(len(batch), self.recipe.accumulate)
        if parts == 1:
            losses = self._losses(batch, done, 0, 1)
            self.players.step(losses, progress, self.reduce)
            self.tally.add(losses, self.number)
        else:
            self._accumulate(batch, done, progress, parts)
        if self.reduce and self._buffers:
            self._buffers.equalise(self.reduce)
        self.average.update(step=self.number)
        self.number += 1

    def _losses(self, batch: Batch, done: Tensor, part: int, parts: int) -> Losses:
        """The losses of one part of this process's share of the batch."""
        rank = self.fabric.global_rank if self.reduce else 0
        ranks = self.fabric.world_size if self.reduce else 1
        number = rank * parts + part
        self._seed_generators(number)
        step = Step(done, self.number, self._generator, number, ranks * parts)
        with self.fabric.autocast():
            losses = self.model.losses(batch, step)
        if not self._checked:
            self.players.check(losses)
            self._checked = True
        return losses

    def _accumulate(self, batch: Batch, done: Tensor, progress: float, parts: int) -> None:
        """Average the gradients of a batch's parts, then move the players once."""
        sums: dict[str, list[Tensor]] = {}
        plays: dict[str, list[Tensor]] = {}
        for number in range(parts):
            losses = self._losses(batch.part(number, parts), done, number, parts)
            for name, gradients in self.players.gradients(losses).items():
                if name in sums:
                    torch._foreach_add_(sums[name], gradients)
                else:
                    sums[name] = gradients
            for name, loss in losses.items():
                if loss.active is not None:
                    plays.setdefault(name, []).append(loss.active.detach().float())
            self.tally.add(losses, self.number)
            del losses
        for gradients in sums.values():
            torch._foreach_div_(gradients, parts)
        # A player sits out where most parts say so.
        active = {
            name: torch.stack(plays[name]).mean() >= 0.5 if name in plays else None for name in sums
        }
        self.players.move(sums, active, progress, self.reduce)

    def take_alone(self) -> None:
        """Take further steps in this process alone, whatever other ranks do."""
        self.reduce = None

    def _seed_generators(self, part: int) -> None:
        """Seed the step's noise, equal in all parts, and torch's own generators, one a part."""
        shared, own = np.random.SeedSequence((self.seed, self.number)).spawn(2)
        self._generator.manual_seed(_word(shared))
        own_of_part = own.generate_state(1 + part, np.uint64)
        torch.manual_seed(int(own_of_part[-1] >> 1))


def parts_of(samples: int, accumulate: int) -> int:
    """Into how many equal parts a batch is cut: as many as asked for, or fewer that fit."""
    return next(parts for parts in range(min(accumulate, samples), 0, -1) if samples % parts == 0)


def _word(sequence: np.random.SeedSequence) -> int:
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


@dataclass(frozen=True)
class Means:
    """Means over some steps, by player and name."""

    losses: dict[str, dict[str, float]] = field(default_factory=dict)
    logged: dict[str, dict[str, float]] = field(default_factory=dict)
    """What is logged beside the losses."""


class Tally:
    """Every term of every step since they were last read.

    Nothing here waits for the device until `means` or `first_fault` is asked, and a step costs
    one small operation. The loop asks often enough for the rows to stay few.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.names: list[tuple[str, str]] = []
        """Player and name of each column: terms of losses, then what is logged."""
        self.terms = 0
        """How many columns are terms."""
        self.rows: list[Tensor] = []
        self.steps: list[int] = []
        """The step of each row."""

    def add(self, losses: Losses, step: int) -> None:
        """Add the losses of one step; steps come one after another."""
        terms = [(p, t, v) for p, loss in losses.items() for t, v in loss.terms.items()]
        logged = [(p, t, v) for p, loss in losses.items() for t, v in loss.logged.items()]
        if not self.names:
            self.names = [(player, name) for player, name, _ in [*terms, *logged]]
            self.terms = len(terms)
        self.rows.append(torch.stack([v.detach().float() for _, _, v in [*terms, *logged]]))
        self.steps.append(step)

    def means(self, reduce: Reduce | None = None) -> Means:
        """Means since they were last read; starts again from nothing.

        `reduce` averages over the ranks, each of which saw its own part of the batches.
        """
        found = Means()
        if not self.rows:
            return found
        means = torch.stack(self.rows).mean(dim=0)
        means = reduce(means) if reduce else means
        for column, ((player, name), mean) in enumerate(
            zip(self.names, means.tolist(), strict=True)
        ):
            place = found.losses if column < self.terms else found.logged
            place.setdefault(player, {})[name] = mean
        self.clear()
        return found

    def clear(self) -> None:
        """Forget all rows."""
        self.rows, self.steps = [], []

    def first_fault(self) -> tuple[int, str, str] | None:
        """The first step with a loss that was not finite, its player and its term.

        Only steps since `means` was last read are known.
        """
        if not self.rows:
            return None
        wrong = ~torch.stack(self.rows)[:, : self.terms].isfinite()
        if not wrong.any():
            return None
        row, term = wrong.nonzero()[0].tolist()
        return self.steps[row], *self.names[term]

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        if not self.rows:
            return {}
        names = json.dumps([self.names, self.terms]).encode()
        return {
            "tally.rows": torch.stack(self.rows),
            "tally.steps": torch.tensor(self.steps),
            "tally.names": torch.tensor(list(names), dtype=torch.uint8),
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        rows = state.get("tally.rows")
        self.rows = [] if rows is None else list(rows.to(self.device))
        self.steps = [] if rows is None else state["tally.steps"].tolist()
        if rows is not None:
            names, self.terms = json.loads(bytes(state["tally.names"].tolist()))
            self.names = [(player, name) for player, name in names]


CACHE_TAG = "film-zoo, no buffers donated"


def compile_modules(model: Autoencoder, mode: CompileMode) -> None:
    """Compile each of the modules that the model consists of, in place, unless `mode` is `none`.

    Encoder, decoder and discriminator are compiled apart, and what `losses` does between them is
    not: a player's gradient then runs back through the modules that it needs and no others. Same
    results to rounding: floats are added up in another order. Compiling takes place in the first
    step, and once: batches are all of one size. Copies of the model are not compiled.
    """
    if mode == "none":
        return
    # Imported here, because it takes seconds.
    import torch._dynamo

    # torch compiles a function anew only so often and then leaves it as it is without a word,
    # and models share functions: what was trained before in this process must not count.
    torch._dynamo.reset()
    _keep_what_backward_reads()
    for module in _called(model):
        module.compile(mode=mode, dynamic=False)


def _called(module: nn.Module) -> Iterator[nn.Module]:
    """The modules right below this one, and those in lists of modules."""
    for child in module.children():
        if type(child).forward is nn.Module.forward:
            yield from _called(child)
        else:
            yield child


def _keep_what_backward_reads() -> None:
    """Forbid compiled backward passes to write over what the forward pass left for them.

    Every player's gradient is taken through the same forward pass, so the next one reads it too.
    """
    import torch._functorch.config
    import torch.compiler.config

    torch._functorch.config.donated_buffer = False
    # torch's cache on disk does not ask how that was set: it would bring back code that another
    # program compiled without, and gradients after the first would be wrong in silence.
    if CACHE_TAG not in torch.compiler.config.cache_key_tag:
        torch.compiler.config.cache_key_tag += CACHE_TAG
