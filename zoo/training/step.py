"""One training step: losses, each player's gradient and move, the averages of weights and losses.

The engine, the cost measurement, the search for a batch that fits and the benchmarks all take this
step, so that what is measured is what training does.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from zoo.api.autoencoder import Autoencoder, Batch, Losses, Step
from zoo.api.recipe import Recipe
from zoo.training.average import WeightAverage
from zoo.training.compiling import compile_modules
from zoo.training.players import Players
from zoo.training.ranks import SharedBuffers, average_over_ranks
from zoo.training.run_folder import CompileMode
from zoo.training.tally import Tally


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


LONGEST_AVERAGE = 0.9999
"""The decay of an average, at most."""


def average_decay(share: float, steps: int | None) -> float:
    """The averaging factor whose memory is a share of so many steps; 0 keeps the last weights."""
    if not share:
        return 0.0
    return min(LONGEST_AVERAGE, math.exp(-1 / max(1.0, share * (steps or 20_000))))


def _word(sequence: np.random.SeedSequence) -> int:
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)
