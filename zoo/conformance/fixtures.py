"""Small models, scenes and films for the checks, and the exceptions by which checks fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder, Batch, Losses, Step
from zoo.api.samples_and_latents import Sampling
from zoo.base.frame_size import FrameSize
from zoo.base.safe_text import describe_value
from zoo.films.ingested_film import Film, film_from_frames
from zoo.plugins.model_building import build, build_to_train, fits_directly, placed
from zoo.training.training_frames import TrainingFrames

SIZES = (FrameSize(64, 36), FrameSize(32, 32), FrameSize(50, 38))
"""Frame sizes; the first is the usual one, and the sides of the last have no common divisor but 2.
For an architecture with a `side_multiple`, each is rounded to the nearest multiple."""
LATENT = 6
JITTER = 0.02
"""Standard deviation of the noise that simulates training, relative to that of the weights."""


@dataclass(frozen=True)
class Subject:
    """An architecture under test."""

    architecture: type[Autoencoder]

    @property
    def sizes(self) -> list[FrameSize]:
        """The frame sizes to test, in multiples that the architecture accepts."""
        multiple = self.architecture.side_multiple
        return [
            FrameSize(*(max(1, round(side / multiple)) * multiple for side in size))
            for size in SIZES
        ]

    @property
    def sampling(self) -> Sampling:
        """The architecture's window or context."""
        return Sampling.of(self.architecture)

    def latents(self, size: FrameSize) -> list[int]:
        """Two latent sizes that the architecture accepts at a frame size."""
        sizes = self.architecture.latent_sizes(size)
        wanted = (LATENT, 2 * LATENT - 1)
        return [_nearest(each, sizes) for each in wanted]

    def build(self, size: FrameSize | None = None, latent: int | None = None) -> Autoencoder:
        """A small instance, fitted if the architecture has `fit`; the same weights every time."""
        model = self.unfitted(size, latent)
        if fits_directly(self.architecture):
            model.fit(TrainingFrames(scene_as_film(model.size)))
        return model

    def to_train(self, size: FrameSize | None = None, latent: int | None = None) -> Autoencoder:
        """A small instance with its training-only modules, in training mode."""
        return self.unfitted(size, latent, to_train=True).train()

    def unfitted(
        self,
        size: FrameSize | None = None,
        latent: int | None = None,
        seed: int = 0,
        *,
        to_train: bool = False,
    ) -> Autoencoder:
        """A small instance with its initial weights, in the engine's memory layout."""
        torch.manual_seed(seed)
        size = size or self.sizes[0]
        latent = latent or self.latents(size)[0]
        settings = {**self.architecture.presets.get("quick", {}), "latent": latent}
        model = (build_to_train if to_train else build)(self.architecture, size, settings)
        return placed(model)

    def after_training(self) -> Autoencoder:
        """An instance as after training: after a few steps, with changed weights, calibrated.

        It is in eval mode. Only such an instance reveals state that is kept outside the weights.
        """
        if fits_directly(self.architecture):
            return self.build().eval()
        model = self.to_train()
        batch = self.batch(4, model.size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model.prepare(TrainingFrames(scene_as_film(model.size)))
        for number in range(2):
            take_step(model, batch, number)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weights in model.parameters():
                if weights.requires_grad and weights.numel() > 1:
                    noise = torch.randn(weights.shape, generator=generator)
                    weights.add_(JITTER * weights.std() * noise)
            # As in training, an iterator, which can be read only once.
            model.eval().calibrate(iter([batch.frames]))
        return model.eval()

    def samples(self, count: int, size: FrameSize | None = None) -> Tensor:
        """Consecutive samples of the scene, in the form that `encode` takes."""
        size = size or self.sizes[0]
        return self.sampling.shaped(scene(count * self.sampling.frames, size))

    def batch(self, count: int, size: FrameSize | None = None) -> Batch:
        """The same samples, in the form that `losses` takes."""
        return Batch.numbered(self.samples(count, size), self.sampling.window)

    def extremes(self, size: FrameSize | None = None) -> Tensor:
        """Black, white and noise samples, in the form that `encode` takes."""
        frames = extremes(size or self.sizes[0])
        return self.sampling.shaped(frames.repeat_interleave(self.sampling.frames, dim=0))


def _nearest(wanted: int, sizes: range) -> int:
    """The smallest member of a range that is at least `wanted`, else its largest member."""
    if not sizes:
        return wanted
    steps = -(-(wanted - sizes.start) // sizes.step)
    return sizes[min(max(0, steps), len(sizes) - 1)]


def scene(count: int, size: FrameSize) -> Tensor:
    """Frames of a disc moving over a gradient: float (count, 3, H, W) in [0, 1]."""
    y, x = torch.meshgrid(
        torch.linspace(0, 1, size.height), torch.linspace(0, 1, size.width), indexing="ij"
    )
    frames = []
    for position in torch.linspace(0, 1, count):
        disc = ((x - 0.2 - 0.6 * position) ** 2 + (y - 0.3 - 0.4 * position**2) ** 2 < 0.03).float()
        red = 0.2 + 0.6 * x * (1 - disc)
        frames.append(torch.stack([red, 0.8 * disc + 0.1 * y, 0.5 * y * (1 - position)]))
    pixels = (torch.stack(frames) * 255).round().clamp(0, 255) / 255
    return pixels.contiguous(memory_format=torch.channels_last)


def extremes(size: FrameSize) -> Tensor:
    """A black, a white and a noise frame: float (3, 3, H, W) in [0, 1]."""
    shape = (3, size.height, size.width)
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    frames = torch.stack([torch.zeros(shape), torch.ones(shape), noise])
    return frames.contiguous(memory_format=torch.channels_last)


def scene_as_film(size: FrameSize, count: int = 48, holdout: float = 0.1) -> Film:
    """The scene as a film of one shot; `holdout` is the share of held-out frames."""
    pixels = (scene(count, size) * 255).round().byte().permute(0, 2, 3, 1).contiguous()
    return film_from_frames(pixels.numpy(), name="scene", holdout=holdout)


def take_step(model: Autoencoder, frames: Tensor | Batch, number: int = 0) -> Losses:
    """The losses of one step halfway through training, with noise that depends on its number.

    `frames` is a batch, or samples in the form that `encode` takes.
    """
    batch = frames if isinstance(frames, Batch) else Batch.numbered(frames, model.window)
    generator = torch.Generator().manual_seed(number)
    with torch.random.fork_rng(devices=[]):
        # As in training, where torch's own generators are seeded by the step too.
        torch.manual_seed(number)
        halfway = torch.tensor(0.5, dtype=batch.frames.dtype)
        losses = model.losses(batch, Step(halfway, number, generator))
    if not isinstance(losses, Mapping):
        raise ValueError(
            f"losses gave {describe_value(losses)}; it must give a zoo.Loss for each player"
        )
    return losses


def gradients(loss: Tensor, parameters: Iterable[Tensor]) -> list[Tensor]:
    """The gradients of a loss; zeros for parameters that it does not depend on."""
    wanted = list(parameters)
    found = torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(wanted, found, strict=True)]


class Broken(Exception):
    """A promise is broken; the message says what was observed."""

    def __init__(self, seen: str, check: str = "") -> None:
        """`check` names the check that covers the fault, if it is not the one that found it."""
        super().__init__(seen)
        self.check = check


class Inconclusive(Exception):
    """A promise cannot be checked here; the message says why."""


def expect(holds: object, otherwise: str) -> None:
    """Raise Broken with the message `otherwise` unless the promise holds."""
    if not holds:
        raise Broken(otherwise)
