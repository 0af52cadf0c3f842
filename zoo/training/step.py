"""One training step: losses, each player's gradient and move, the averages of weights and losses.

The engine, the cost measurement, the search for a batch that fits and the benchmarks all take this
step, so that what is measured is what training does.
"""

from __future__ import annotations

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from zoo.autoencoder import Autoencoder, Step
from zoo.training.average import WeightAverage
from zoo.training.compiling import compiled_losses
from zoo.training.players import Players
from zoo.training.ranks import average_over_ranks
from zoo.training.run_folder import CompileMode
from zoo.training.tally import Tally


class TrainingStep:
    """Takes the steps of one training on the device of `fabric`, one after another.

    All chance in a step follows from the seed and the step's number, that of torch's default
    generators (dropout, `torch.rand`) included: a training that is resumed at a step goes on as
    it would have, and no generator's state has to be saved.
    """

    def __init__(
        self,
        model: Autoencoder,
        fabric: Fabric,
        *,
        compile_mode: CompileMode = "none",
        seed: int = 0,
        decay: float = 0.999,
    ) -> None:
        """`model` lies on the fabric's device; `decay` is that of the average of its weights."""
        self.model = model
        self.fabric = fabric
        self.device = fabric.device
        self.seed = seed
        self.players = Players(model)
        self.average = WeightAverage(model, decay)
        self.tally = Tally(self.device)
        self.number = 0
        """The step that is taken next."""
        self.reduce = average_over_ranks(fabric)
        self._generator = torch.Generator(self.device)
        self._losses_of = compiled_losses(model, compile_mode)
        self._checked = False

    def __call__(self, frames: Tensor, progress: float) -> None:
        """Take a step on frames, float (B, 3, H, W) in [0, 1], on the device.

        `progress` is the share of the training that is over. Waits for no device; on return
        nothing holds the step's activations. Raises ValueError if the model's losses break the
        contract.
        """
        self._seed_generators()
        ranks = self.fabric.world_size if self.reduce else 1
        rank = self.fabric.global_rank if self.reduce else 0
        # Filled on the device: a tensor made from a number on the host would be copied, and a
        # copy waits for the GPU.
        done = torch.full((), progress, device=self.device)
        with self.fabric.autocast():
            losses = self._losses_of(frames, Step(done, self._generator, rank, ranks))
        if not self._checked:
            self.players.check(losses)
            self._checked = True
        self.players.step(losses, progress, self.reduce)
        self.average.update(step=self.number)
        self.tally.add(losses, self.number)
        self.number += 1

    def take_alone(self) -> None:
        """Take further steps in this process alone, whatever other ranks do."""
        self.reduce = None

    def _seed_generators(self) -> None:
        """Seed the step's noise, equal on all ranks, and torch's own generators, one a rank."""
        shared, own = np.random.SeedSequence((self.seed, self.number)).spawn(2)
        self._generator.manual_seed(_word(shared))
        own_of_rank = own.generate_state(1 + self.fabric.global_rank, np.uint64)
        torch.manual_seed(int(own_of_rank[-1] >> 1))


def _word(sequence: np.random.SeedSequence) -> int:
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)
