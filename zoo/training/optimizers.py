"""Optimisers, one per player: each moves its parameters by the gradient of its own loss alone.

All gradients are taken at the same point, before any player moves. A model cannot break this rule,
because it never touches an optimiser. In 16-bit training, losses are scaled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import timm.optim
import torch
from torch import Tensor, nn

from zoo.api.autoencoder import Autoencoder, Group, Loss, Losses, Optimizer, PlayerParameters
from zoo.api.recipe_and_events import Recipe
from zoo.base.errors import BadInput, BrokenContract
from zoo.base.safe_text import error_line

Reduce = Callable[[Tensor], Tensor]


class Player:
    """Parameter groups with their optimiser and learning rates."""

    def __init__(self, name: str, groups: list[Group], settings: Optimizer, recipe: Recipe) -> None:
        self.name = name
        self.parameters = [parameter for group in groups for parameter in group.parameters]
        self.clip = settings.clip
        if recipe.clip != "declared":
            self.clip = None if recipe.clip == "none" else recipe.clip
        self.recipe = recipe
        # Fused updates are the fastest, and the only ones that can be skipped by a tensor on the
        # device, without synchronising.
        fused = settings.name.lower() in ("adam", "adamw")
        declared = {"eps": settings.eps, "betas": settings.betas, "fused": fused or None}
        self.optimizer: torch.optim.Optimizer = timm.optim.create_optimizer_v2(
            [
                {
                    "params": list(group.parameters),
                    "lr": settings.lr if group.lr is None else group.lr,
                    "weight_decay": _decay(settings, group),
                }
                for group in groups
            ],
            opt=settings.name,
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            **{key: value for key, value in declared.items() if value is not None},
        )
        self.base_rates: list[float] = [group["lr"] for group in self.optimizer.param_groups]
        """The learning rate of each group, before the schedule scales it."""
        self.can_skip_steps = fused
        self._declared_groups = [dict(group) for group in self.optimizer.param_groups]

    def counters(self) -> dict[tuple[int, str], Any]:
        """Return what the optimiser changed in its groups except learning rates, e.g. a step count.

        Keys are (number of the group, name). Most optimisers change nothing there.
        """
        return {
            (number, key): value
            for number, (group, declared) in enumerate(
                zip(self.optimizer.param_groups, self._declared_groups, strict=True)
            )
            for key, value in group.items()
            if key not in ("params", "lr") and not _is_same(value, declared.get(key))
        }

    def check_state(self, model: str) -> None:
        """Raise BrokenContract if the optimiser's state has values that no checkpoint can hold."""
        kept = [each for state in self.optimizer.state.values() for each in state.items()]
        for key, value in [*kept, *((key, v) for (_, key), v in self.counters().items())]:
            if not isinstance(value, Tensor | bool | int | float | str | None):
                raise BrokenContract(
                    f"{model}: the optimiser of {self.name!r}, {type(self.optimizer).__name__}, "
                    f"keeps a {type(value).__name__} ({key}), which checkpoints cannot hold; "
                    "choose another"
                )

    def set_progress(self, progress: float) -> None:
        """Set the learning rates for the progress of the training, in [0, 1]."""
        scale = self.recipe.learning_rate(progress)
        for group, rate in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * scale

    def move(self, gradients: list[Tensor], active: Tensor | None) -> None:
        """Take one optimiser step along `gradients`, unless `active` is false."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip)
        if active is not None and not self.can_skip_steps:
            raise BrokenContract(
                f"the player {self.name!r} may skip steps, which needs the optimiser "
                f"adam or adamw, not {type(self.optimizer).__name__}"
            )
        # Set in every step, since the optimiser would keep it for the next. Fused optimisers skip a
        # step whose `found_inf` is not zero.
        skip = None if active is None else 1 - active.detach().reshape(()).float()
        self.optimizer.found_inf = skip  # type: ignore[attr-defined]
        self.optimizer.step()
        for parameter in self.parameters:
            parameter.grad = None


def _is_same(value: Any, other: Any) -> bool:
    return value is other or (not isinstance(value, Tensor) and bool(value == other))


def _decay(settings: Optimizer, group: Group) -> float:
    return settings.weight_decay if group.weight_decay is None else group.weight_decay


class Players:
    """All players of one model."""

    def __init__(
        self,
        model: Autoencoder,
        recipe: Recipe | None = None,
        loss_scale: LossScale | None = None,
    ) -> None:
        """`loss_scale` is for 16-bit training, in which steps may be skipped.

        Raises BrokenContract if the model's players or their optimisers break the contract, and
        BadInput if steps may be skipped and an optimiser cannot skip them.
        """
        self.model = model
        self.loss_scale = loss_scale
        self.players = [
            _build_player(model, name, groups, recipe or model.recipe)
            for name, groups in PlayerParameters.of(model).by_player.items()
        ]
        stiff = [player.name for player in self.players if not player.can_skip_steps]
        if loss_scale and stiff:
            raise BadInput(
                f"{model.name}: 16-bit training skips steps, which the optimiser of "
                f"{stiff[0]!r} cannot do: use --precision 32 or bf16"
            )

    def check(self, losses: Losses) -> None:
        """Raise BrokenContract unless there is one loss per player, of scalar terms."""
        if not isinstance(losses, Mapping):
            raise BrokenContract(
                f"{self.model.name}: losses gave a {type(losses).__name__}; it must give a "
                "zoo.Loss for each player, by its name"
            )
        names = [player.name for player in self.players]
        if sorted(losses) != sorted(names):
            raise BrokenContract(
                f"{self.model.name}: losses are for {', '.join(losses) or 'no player'}; "
                f"the players are {', '.join(names)}"
            )
        for player, loss in losses.items():
            if not isinstance(loss, Loss):
                raise BrokenContract(
                    f"{self.model.name}: the loss of {player!r} is a {type(loss).__name__}; it "
                    "must be a zoo.Loss of named terms"
                )
            if not loss.terms:
                raise BrokenContract(f"{self.model.name}: the loss of {player!r} has no terms")
            for term, value in [*loss.terms.items(), *loss.logged.items()]:
                if not isinstance(value, Tensor):
                    raise BrokenContract(
                        f"{self.model.name}: the term {player}.{term} is a "
                        f"{type(value).__name__}; a term must be a tensor of no dimensions"
                    )
                if value.ndim:
                    raise BrokenContract(
                        f"{self.model.name}: the term {player}.{term} has the shape "
                        f"{tuple(value.shape)}; a term must be a tensor of no dimensions"
                    )

    def check_states(self) -> None:
        """Raise BrokenContract if, after a step, a checkpoint cannot hold an optimiser's state."""
        for player in self.players:
            player.check_state(self.model.name)

    def gradients(self, losses: Losses) -> dict[str, list[Tensor]]:
        """The gradients of each player's own loss with respect to its own parameters.

        Players with the very same `Loss` share one backward pass. A parameter that its player's
        loss does not reach gets zeros. In 16-bit training gradients are scaled until `move` undoes
        that. Raises BrokenContract as `check` does.
        """
        self.check(losses)
        # Players that share a loss, such as an encoder and a decoder, share its backward pass.
        sharing: dict[int, list[Player]] = {}
        for player in self.players:
            sharing.setdefault(id(losses[player.name]), []).append(player)
        by_player = {}
        for number, players in enumerate(sharing.values(), start=1):
            total = losses[players[0].name].total
            gradients = iter(
                torch.autograd.grad(
                    self.loss_scale.multiply(total) if self.loss_scale else total,
                    [parameter for player in players for parameter in player.parameters],
                    retain_graph=number < len(sharing),
                    allow_unused=True,
                )
            )
            for player in players:
                by_player[player.name] = [
                    _with_strides_of(parameter, next(gradients)) for parameter in player.parameters
                ]
        return by_player

    def step(self, losses: Losses, progress: float, reduce: Reduce | None = None) -> None:
        """Take all players' gradients at this point, then move them all.

        `reduce` averages a flat tensor over the ranks; None if there is one rank.
        """
        gradients = self.gradients(losses)
        active = {name: loss.active for name, loss in losses.items()}
        self.move(gradients, active, progress, reduce)

    def move(
        self,
        gradients: Mapping[str, list[Tensor]],
        active: Mapping[str, Tensor | None],
        progress: float,
        reduce: Reduce | None = None,
    ) -> None:
        """Move every player along its gradients, unless its `active` is false.

        In 16-bit training a player also skips the step if its gradients overflowed.
        """
        finite = []
        for player in self.players:
            moves = active[player.name]
            if reduce:
                _average(gradients[player.name], reduce)
                if moves is not None:
                    # All ranks move or skip together, by majority.
                    moves = reduce(moves.detach().float()) >= 0.5
            if self.loss_scale:
                finite.append(self.loss_scale.divide(gradients[player.name]))
                moves = finite[-1] if moves is None else moves.bool() & finite[-1]
            player.set_progress(progress)
            player.move(gradients[player.name], moves)
        if self.loss_scale:
            self.loss_scale.update(finite)


def _build_player(model: Autoencoder, name: str, groups: list[Group], recipe: Recipe) -> Player:
    declared = _declared(model, name)
    try:
        player = Player(name, groups, declared, recipe)
        if getattr(player.optimizer, "is_second_order", False):
            raise BrokenContract(
                f"{model.name}: the optimiser of {name!r}, {declared.name}, needs second "
                "derivatives, which training does not compute; choose another"
            )
        return player
    except BrokenContract:
        raise
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise BrokenContract(
            f"{model.name}: optimizer({name!r}) gave {declared}, which timm refuses: "
            f"{error_line(error)}"
        ) from error


def _declared(model: Autoencoder, player: str) -> Optimizer:
    declared = model.optimizer(player)
    if not isinstance(declared, Optimizer):
        raise BrokenContract(
            f"{model.name}: optimizer({player!r}) gave a {type(declared).__name__}; it must give "
            "a zoo.Optimizer, which names one of timm's optimisers and its settings"
        )
    if declared.clip is not None and not declared.clip > 0:
        raise BrokenContract(
            f"{model.name}: optimizer({player!r}) has clip={declared.clip}; the largest norm of a "
            "gradient must be more than 0, or None"
        )
    return declared


def _with_strides_of(parameter: Tensor, gradient: Tensor | None) -> Tensor:
    """A gradient with the strides of its parameter; zeros if there is none.

    Fused optimisers assume equal strides. `backward()` ensures them and `autograd.grad` does not; a
    gradient with other strides would silently move the wrong weights.
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


FIRST_SCALE = 2.0**16
STEPS_TO_GROW = 2000
"""Steps in a row without an overflow after which the scale doubles."""
LARGEST_SCALE = 2.0**24


class LossScale:
    """The scale of losses in 16-bit training: a power of two on the device, adapted there.

    float16 holds nothing below 6e-8, but many gradients are smaller. So losses are multiplied by
    the scale before the backward pass, and gradients divided by it after. A step whose gradients
    overflow is skipped and halves the scale; many steps in a row without an overflow double it.
    """

    def __init__(self, device: torch.device) -> None:
        self.value = torch.full((), FIRST_SCALE, device=device)
        self.steps = torch.zeros((), dtype=torch.int32, device=device)
        """Steps since the last overflow or growth."""

    def multiply(self, loss: Tensor) -> Tensor:
        """The scaled loss."""
        return loss * self.value

    @torch.no_grad()
    def divide(self, gradients: list[Tensor]) -> Tensor:
        """Undo the scale in place; returns whether all gradients are finite, on the device."""
        torch._foreach_mul_(gradients, self.value.reciprocal())
        return nn.utils.get_total_norm(gradients).isfinite()

    @torch.no_grad()
    def update(self, finite: Iterable[Tensor]) -> None:
        """Adapt the scale after a step, from what `divide` returned for each player."""
        kept = torch.stack(list(finite)).all()
        steps = torch.where(kept, self.steps + 1, 0)
        grown = (self.value * 2).clamp_max(LARGEST_SCALE)
        held = torch.where(steps >= STEPS_TO_GROW, grown, self.value)
        self.value.copy_(torch.where(kept, held, (self.value / 2).clamp_min(1.0)))
        self.steps.copy_(torch.where(steps >= STEPS_TO_GROW, 0, steps))

    def state(self) -> dict[str, Tensor]:
        """Tensors for a checkpoint."""
        return {"value": self.value, "steps": self.steps}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore from a checkpoint's tensors."""
        self.value.copy_(state["value"])
        self.steps.copy_(state["steps"])
