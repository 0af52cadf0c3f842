"""A VAE-GAN's training step written by hand, in several usual ways.

All use the networks and losses of the built-in `vaegan` unchanged, and give each player the
gradient of its own loss, all at the same point. They differ in the number of passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from zoo.api.autoencoder import PlayerParameters, Step

Gradients = dict[str, list[Tensor]]


def _likeness(model: Any, decoded: Tensor, frames: Tensor, seen: Any, wanted: Any) -> Tensor:
    """Pixels and features: the part of the loss that encoder and decoder share."""
    options = model.options
    distances = [F.mse_loss(a, b.detach()) for a, b in zip(seen, wanted, strict=True)]
    both = F.mse_loss(decoded, frames) + options.feature * torch.stack(distances).mean()
    return both / (2 * options.pixel_sd**2)


def _discriminate(real_logits: Tensor, decoded_logits: Tensor, prior_logits: Tensor) -> Tensor:
    decoded = F.softplus(decoded_logits).mean() + F.softplus(prior_logits).mean()
    return F.softplus(-real_logits).mean() + 0.5 * decoded


def _fool(decoded_logits: Tensor, prior_logits: Tensor) -> Tensor:
    return 0.5 * (F.softplus(-decoded_logits).mean() + F.softplus(-prior_logits).mean())


def shared_graph(model: Any, frames: Tensor, step: Step) -> Gradients:
    """One forward pass; `backward` for likeness and KL, for the adversary, for the discriminator.

    KL does not reach the decoder, so one backward pass serves encoder and decoder.
    """
    players = dict(PlayerParameters.of(model))
    posterior = model.posterior(frames)
    decoded = model.decode(posterior.sample(step))
    from_prior = model.decode(step.randn_like(posterior.mean))
    with parametrize.cached():
        real_logits, wanted = model.discriminator(frames)
        decoded_logits, seen = model.discriminator(decoded)
        prior_logits, _ = model.discriminator(from_prior)
    bound = _likeness(model, decoded, frames, seen, wanted) + posterior.kl(3 * model.size.pixels)
    for parameter in model.parameters():
        parameter.grad = None
    bound.backward(retain_graph=True, inputs=players["encoder"] + players["decoder"])
    fool = model.options.adversarial * _fool(decoded_logits, prior_logits)
    fool.backward(retain_graph=True, inputs=players["decoder"])
    _discriminate(real_logits, decoded_logits, prior_logits).backward(
        inputs=players["discriminator"]
    )
    return {name: [_grad_of(p) for p in group] for name, group in players.items()}


def separate_passes(model: Any, frames: Tensor, step: Step) -> Gradients:
    """The textbook way: the discriminator gets detached reconstructions in a separate pass."""
    players = dict(PlayerParameters.of(model))
    discriminator = players["discriminator"]
    for parameter in model.parameters():
        parameter.grad = None
    posterior = model.posterior(frames)
    decoded = model.decode(posterior.sample(step))
    from_prior = model.decode(step.randn_like(posterior.mean))
    for parameter in discriminator:
        parameter.requires_grad_(False)
    with parametrize.cached():
        _, wanted = model.discriminator(frames)
        decoded_logits, seen = model.discriminator(decoded)
        prior_logits, _ = model.discriminator(from_prior)
    bound = _likeness(model, decoded, frames, seen, wanted) + posterior.kl(3 * model.size.pixels)
    bound.backward(retain_graph=True, inputs=players["encoder"] + players["decoder"])
    fool = model.options.adversarial * _fool(decoded_logits, prior_logits)
    fool.backward(inputs=players["decoder"])
    for parameter in discriminator:
        parameter.requires_grad_(True)
    with parametrize.cached():
        real_logits, _ = model.discriminator(frames)
        decoded_logits, _ = model.discriminator(decoded.detach())
        prior_logits, _ = model.discriminator(from_prior.detach())
    _discriminate(real_logits, decoded_logits, prior_logits).backward()
    return {name: [_grad_of(p) for p in group] for name, group in players.items()}


def rescaled(model: Any, frames: Tensor, step: Step) -> Gradients:
    """Derive the adversarial gradient of the pictures from the discriminator's own gradient.

    Both adversarial losses are functions of one logit per frame, so their gradients for that frame
    differ by a factor: -exp(-logit). This saves one pass through the discriminator, but fails if a
    logit is so low that the discriminator's own gradient is zero.
    """
    players = dict(PlayerParameters.of(model))
    posterior = model.posterior(frames)
    decoded = model.decode(posterior.sample(step))
    from_prior = model.decode(step.randn_like(posterior.mean))
    pictures = [decoded.detach().requires_grad_(), from_prior.detach().requires_grad_()]
    with parametrize.cached():
        real_logits, wanted = model.discriminator(frames)
        decoded_logits, seen = model.discriminator(pictures[0])
        prior_logits, _ = model.discriminator(pictures[1])
    likeness = _likeness(model, pictures[0], frames, seen, wanted)
    (of_likeness,) = torch.autograd.grad(likeness, pictures[:1], retain_graph=True)
    discriminated = _discriminate(real_logits, decoded_logits, prior_logits)
    found = torch.autograd.grad(discriminated, [*players["discriminator"], *pictures])
    of_fool = [
        gradient * (-model.options.adversarial * torch.exp(-logits.detach()))[:, None, None, None]
        for gradient, logits in zip(found[-2:], (decoded_logits, prior_logits), strict=True)
    ]
    kl = posterior.kl(3 * model.size.pixels)
    encoder = torch.autograd.grad(
        [decoded, kl], players["encoder"], [of_likeness, torch.ones_like(kl)], retain_graph=True
    )
    decoder = torch.autograd.grad(
        [decoded, from_prior], players["decoder"], [of_likeness + of_fool[0], of_fool[1]]
    )
    return {"encoder": [*encoder], "decoder": [*decoder], "discriminator": [*found[:-2]]}


WAYS: dict[str, Callable[[Any, Tensor, Step], Gradients]] = {
    "shared graph": shared_graph,
    "separate passes": separate_passes,
    "rescaled": rescaled,
}


class ByHand:
    """A whole training step by one of the ways: gradients, clipping, fused AdamW."""

    def __init__(self, model: Any, way: str) -> None:
        self.model = model
        self.way = WAYS[way]
        self.players = dict(PlayerParameters.of(model))
        self.optimizers = {
            name: torch.optim.AdamW(
                group,
                lr=model.optimizer(name).lr,
                betas=model.optimizer(name).betas,
                weight_decay=0.0,
                fused=True,
            )
            for name, group in self.players.items()
        }

    def step(self, frames: Tensor, step: Step) -> None:
        """Train on one batch, float (B, 3, H, W)."""
        found = self.way(self.model, frames, step)
        for name, group in self.players.items():
            for parameter, gradient in zip(group, found[name], strict=True):
                parameter.grad = gradient
            nn.utils.clip_grad_norm_(group, 1.0)
            self.optimizers[name].step()
            self.optimizers[name].zero_grad()


def _grad_of(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
