"""The player rule: each player is moved by the gradient of its own loss, and by nothing else.

All gradients are taken at the same point, before any player moves. A model cannot get this
wrong, because it never touches an optimiser.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import timm.optim
import torch
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch import Tensor, nn

from zoo.autoencoder import Autoencoder, Losses, Optimizer, PlayerParameters

TICKS = 10_000
"""Ticks of the learning-rate schedule over a whole budget, whatever unit that is in."""
WARM_UP = 0.03
"""Share of the budget over which learning rates rise."""
FINAL_LR = 0.02
"""What is left of a learning rate at the end, as a share."""

Reduce = Callable[[Tensor], Tensor]


class Player:
    """A group of parameters with its optimiser and its schedule."""

    def __init__(self, name: str, parameters: list[nn.Parameter], settings: Optimizer) -> None:
        self.name = name
        self.parameters = parameters
        self.settings = settings
        # Fused updates are the fastest, and the only ones that can be told on the device, without
        # asking the host, to leave everything as it is.
        fused = {"fused": True} if settings.name.lower() in ("adam", "adamw") else {}
        self.optimizer: torch.optim.Optimizer = timm.optim.create_optimizer_v2(
            parameters,
            opt=settings.name,
            lr=settings.lr,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            **fused,
        )
        self.can_sit_out = bool(fused)
        self.schedule = CosineLRScheduler(
            self.optimizer,
            t_initial=TICKS,
            lr_min=settings.lr * FINAL_LR,
            warmup_t=math.ceil(TICKS * WARM_UP),
            warmup_lr_init=settings.lr * FINAL_LR,
            warmup_prefix=False,
            t_in_epochs=False,
        )

    def set_progress(self, progress: float) -> None:
        """Set the learning rate for how far training is, in [0, 1]."""
        self.schedule.step_update(min(int(progress * TICKS), TICKS - 1))

    def move(self, gradients: list[Tensor], active: Tensor | None) -> None:
        """Take one optimiser step along `gradients`, unless `active` says to sit it out."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        if self.settings.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        if active is not None and not self.can_sit_out:
            raise ValueError(
                f"the player {self.name!r} may sit steps out, which needs the optimiser "
                f"adam or adamw, not {self.settings.name}"
            )
        # Set in every step: what one step said must not hold for the next.
        sits_out = None if active is None else 1 - active.detach().reshape(()).float()
        self.optimizer.found_inf = sits_out  # type: ignore[attr-defined]
        self.optimizer.step()
        for parameter in self.parameters:
            parameter.grad = None


class Players:
    """All players of one model."""

    def __init__(self, model: Autoencoder) -> None:
        self.model = model
        self.players = [
            Player(name, parameters, model.optimizer(name))
            for name, parameters in PlayerParameters.of(model)
        ]

    def check(self, losses: Losses) -> None:
        """Raise ValueError if the losses are not one for each player, of scalar terms."""
        names = [player.name for player in self.players]
        if sorted(losses) != sorted(names):
            raise ValueError(
                f"{self.model.name}: losses are for {', '.join(losses)}; "
                f"the players are {', '.join(names)}"
            )
        for player, loss in losses.items():
            for term, value in loss.terms.items():
                if value.ndim:
                    raise ValueError(
                        f"{self.model.name}: the term {player}.{term} has the shape "
                        f"{tuple(value.shape)}; a term is a tensor of no dimensions"
                    )

    def gradients(self, losses: Losses) -> dict[str, list[Tensor]]:
        """The gradient of each player's own loss with respect to its own parameters alone.

        A parameter that its player's loss does not reach gets zeros.
        """
        found = {}
        for player in self.players:
            last = player is self.players[-1]
            gradients = torch.autograd.grad(
                losses[player.name].total,
                player.parameters,
                retain_graph=not last,
                allow_unused=True,
            )
            found[player.name] = [
                _laid_out_like(parameter, gradient)
                for parameter, gradient in zip(player.parameters, gradients, strict=True)
            ]
        return found

    def step(self, losses: Losses, progress: float, reduce: Reduce | None = None) -> None:
        """Take every player's gradient at this point, then move them all.

        `reduce` averages a flat tensor over the ranks; None where there is one rank.
        """
        gradients = self.gradients(losses)
        for player in self.players:
            active = losses[player.name].active
            mine = gradients[player.name]
            if reduce:
                _average(mine, reduce)
                if active is not None:
                    # A player sits out only where the ranks agree on the whole batch.
                    active = reduce(active.detach().float()) >= 0.5
            player.set_progress(progress)
            player.move(mine, active)


def _laid_out_like(parameter: Tensor, gradient: Tensor | None) -> Tensor:
    """A gradient with the very strides of its parameter; zeros where there is none.

    Fused optimisers walk both through memory side by side. `backward()` would see to the layout,
    `autograd.grad` does not, and a gradient laid out otherwise moves the wrong weights in silence.
    """
    if gradient is None:
        return torch.zeros_like(parameter)
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _average(gradients: list[Tensor], reduce: Reduce) -> None:
    """Average gradients over the ranks, in place, in one flat transfer."""
    flat = reduce(torch.cat([gradient.flatten() for gradient in gradients]))
    parts = flat.split([gradient.numel() for gradient in gradients])
    for part, gradient in zip(parts, gradients, strict=True):
        gradient.copy_(part.view_as(gradient))
