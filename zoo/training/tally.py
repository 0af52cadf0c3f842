"""Losses kept on the device, read by the host only now and then."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.autoencoder import Losses
from zoo.training.players import Reduce


class Tally:
    """Every term of every step since they were last read.

    Nothing here waits for the device until `means` or `first_fault` is asked, and a step costs
    one small operation. The loop asks often enough for the rows to stay few.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.names: list[tuple[str, str]] = []
        self.rows: list[Tensor] = []
        self.last_step = 0

    def add(self, losses: Losses, step: int) -> None:
        """Add the losses of one step; steps come one after another."""
        terms = [(p, t, v) for p, loss in losses.items() for t, v in loss.terms.items()]
        if not self.names:
            self.names = [(player, term) for player, term, _ in terms]
        self.rows.append(torch.stack([value.detach().float() for _, _, value in terms]))
        self.last_step = step

    def means(self, reduce: Reduce | None = None) -> dict[str, dict[str, float]]:
        """Means by player and term since they were last read; starts again from nothing.

        `reduce` averages over the ranks, each of which saw its own part of the batches.
        """
        found: dict[str, dict[str, float]] = {}
        if not self.rows:
            return found
        means = torch.stack(self.rows).mean(dim=0)
        means = reduce(means) if reduce else means
        for (player, term), mean in zip(self.names, means.tolist(), strict=True):
            found.setdefault(player, {})[term] = mean
        self.rows = []
        return found

    def first_fault(self) -> tuple[int, str, str] | None:
        """The first step with a loss that was not finite, its player and its term.

        Only steps since `means` was last read are known.
        """
        if not self.rows:
            return None
        wrong = ~torch.stack(self.rows).isfinite()
        if not wrong.any():
            return None
        row, term = wrong.nonzero()[0].tolist()
        return self.last_step - (len(self.rows) - 1) + row, *self.names[term]

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        if not self.rows:
            return {}
        return {"tally.rows": torch.stack(self.rows)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        rows = state.get("tally.rows")
        self.rows = [] if rows is None else list(rows.to(self.device))
