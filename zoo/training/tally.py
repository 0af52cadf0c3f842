"""Losses summed on the device, read by the host only now and then."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.autoencoder import Losses
from zoo.training.players import Reduce


class Tally:
    """Running sums of every term since they were last read, and the first step that went wrong.

    Nothing here waits for the device until `means` or `first_fault` is asked.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.names: list[tuple[str, str]] = []
        self.sums = torch.zeros(0, device=device)
        self.steps = 0
        self.fault_steps = torch.zeros(0, device=device)

    def add(self, losses: Losses, step: int) -> None:
        """Add the losses of one step."""
        terms = [(p, t, v) for p, loss in losses.items() for t, v in loss.terms.items()]
        values = torch.stack([value.detach().float() for _, _, value in terms])
        if not self.names:
            self.names = [(player, term) for player, term, _ in terms]
        if not self.sums.numel():
            self.sums = torch.zeros_like(values)
        if not self.fault_steps.numel():
            self.fault_steps = torch.full_like(values, torch.inf)
        self.sums += values
        self.steps += 1
        wrong = torch.where(values.isfinite(), torch.inf, float(step))
        self.fault_steps = torch.minimum(self.fault_steps, wrong)

    def means(self, reduce: Reduce | None = None) -> dict[str, dict[str, float]]:
        """Means by player and term since they were last read; starts again from nothing.

        `reduce` averages over the ranks, each of which saw its own part of the batches.
        """
        found: dict[str, dict[str, float]] = {}
        sums = reduce(self.sums) if reduce else self.sums
        for (player, term), total in zip(self.names, sums.tolist(), strict=True):
            found.setdefault(player, {})[term] = total / max(self.steps, 1)
        self.sums.zero_()
        self.steps = 0
        return found

    def first_fault(self) -> tuple[int, str, str] | None:
        """The first step with a loss that was not finite, its player and its term."""
        if not self.names:
            return None
        step, index = self.fault_steps.min(dim=0)
        if not torch.isfinite(step):
            return None
        player, term = self.names[int(index)]
        return int(step), player, term

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {"tally.sums": self.sums, "tally.steps": torch.tensor(self.steps)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        self.sums = state["tally.sums"].to(self.device)
        self.steps = int(state["tally.steps"])
