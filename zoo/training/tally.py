"""Losses kept on the device, read by the host only now and then."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoo.api.autoencoder import Losses
from zoo.training.players import Reduce


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
