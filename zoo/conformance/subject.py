"""What is checked: one architecture, built small, with frames that resemble a film."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.autoencoder import Autoencoder, Losses, Step
from zoo.films.film import Film
from zoo.films.in_memory import film_of
from zoo.frame_size import FrameSize

SIZES = (FrameSize(64, 36), FrameSize(32, 32), FrameSize(50, 38))
"""The first is the usual one; the last is no multiple of anything but two."""
LATENT = 6
JITTER = 0.02
"""How far weights are moved to stand for a training, as a share of their spread."""


@dataclass(frozen=True)
class Subject:
    """An architecture under examination."""

    architecture: type[Autoencoder]

    def build(self, size: FrameSize = SIZES[0], latent: int = LATENT) -> Autoencoder:
        """A small instance, fitted where it fits directly; the same weights every time."""
        model = self.unfitted(size, latent)
        if model.fits_directly():
            model.fit(scene_as_film(size))
        return model

    def unfitted(
        self, size: FrameSize = SIZES[0], latent: int = LATENT, seed: int = 0
    ) -> Autoencoder:
        """A small instance with its first weights, laid out in memory as the engine does."""
        torch.manual_seed(seed)
        settings = {**self.architecture.presets.get("quick", {}), "latent": latent}
        model = self.architecture.build(size, settings)
        return model.to(memory_format=torch.channels_last)

    def after_training(self) -> Autoencoder:
        """An instance in the state that a training leaves: used, moved, calibrated, in eval mode.

        What a model keeps of its training outside of its weights shows in such an instance only.
        """
        model = self.build()
        if model.fits_directly():
            return model.eval()
        frames = scene(4, model.size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model.prepare(scene_as_film(model.size))
        model.train()
        for seed in range(2):
            take_step(model, frames, seed)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weights in model.parameters():
                if weights.requires_grad and weights.numel() > 1:
                    noise = torch.randn(weights.shape, generator=generator)
                    weights.add_(JITTER * weights.std() * noise)
            model.eval().calibrate([frames])
        return model.eval()


def scene(count: int, size: FrameSize) -> Tensor:
    """Frames of a disc that moves over a gradient: float (count, 3, H, W) in [0, 1]."""
    y, x = torch.meshgrid(
        torch.linspace(0, 1, size.height), torch.linspace(0, 1, size.width), indexing="ij"
    )
    frames = []
    for moment in torch.linspace(0, 1, count):
        disc = ((x - 0.2 - 0.6 * moment) ** 2 + (y - 0.3 - 0.4 * moment**2) ** 2 < 0.03).float()
        red = 0.2 + 0.6 * x * (1 - disc)
        frames.append(torch.stack([red, 0.8 * disc + 0.1 * y, 0.5 * y * (1 - moment)]))
    pixels = (torch.stack(frames) * 255).round().clamp(0, 255) / 255
    return pixels.contiguous(memory_format=torch.channels_last)


def extremes(size: FrameSize) -> Tensor:
    """A black frame, a white one and one of noise: float (3, 3, H, W) in [0, 1]."""
    shape = (3, size.height, size.width)
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    frames = torch.stack([torch.zeros(shape), torch.ones(shape), noise])
    return frames.contiguous(memory_format=torch.channels_last)


def scene_as_film(size: FrameSize, count: int = 48, holdout: float = 0.1) -> Film:
    """The scene as a film of one shot; `holdout` is the share of its frames that is held out."""
    pixels = (scene(count, size) * 255).round().byte().permute(0, 2, 3, 1).contiguous()
    return film_of(pixels.numpy(), name="scene", holdout=holdout)


def take_step(model: Autoencoder, frames: Tensor, seed: int = 0) -> Losses:
    """The losses of one step halfway through training, with noise decided by the seed."""
    generator = torch.Generator().manual_seed(seed)
    return model.losses(frames, Step(torch.tensor(0.5, dtype=frames.dtype), generator))


def gradients(loss: Tensor, parameters: Iterable[Tensor]) -> list[Tensor]:
    """Gradients of a loss, zeros where it does not reach."""
    wanted = list(parameters)
    found = torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(wanted, found, strict=True)]
