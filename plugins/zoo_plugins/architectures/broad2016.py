"""The film autoencoder of 2016, in two versions: as in its text, and as in its published code.

Terence Broad, Autoencoding Video Frames, 2016, after Larsen et al., Autoencoding beyond pixels
using a learned similarity metric, 2016. Layers, sizes, losses, initial weights and optimisers are
those of the published code, which differs from the text in four points. Each of these is an option
here, and all of them are on in `broad2016_published`:

- `swapped_lists`: name filters gave the encoder's variables to the decoder's optimiser and vice
  versa. So the decoder learns from divergence and similarity, but not from the adversarial loss.
  The encoder learns from 2.5 times the similarity minus the adversarial loss; the divergence
  reaches only its log-variance head. In the code this head was in both lists; players cannot
  overlap here, so it is with the decoder, where the divergence reaches it.
- `batch_statistics`: batch norm uses batch statistics in reconstruction too, over twelve frames.
- `stretched`: each frame is stretched to full contrast when it is written.
- `rest_dropped`: the last `frames mod 12` frames of the film are never trained on
  (`frames_taken`). All other frames are trained on, because batches here are always full.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zoo
from zoo import Batch, FrameSize, Loss, Losses, Optimizer, Players, Step, hookimpl
from zoo_plugins.architectures.blocks.gaussian import Posterior
from zoo_plugins.architectures.blocks.layers import halvings, widths

KERNEL = 5
LEAK = 0.2
FIRST_SD = 0.02
SIMILARITY = 2.5
"""Weight of the similarity in the decoder's loss."""
RUN_BATCH = 12
"""Frames that the published code encodes or decodes at a time."""
ADVERSARIAL = 1 / (12 * 6)
"""Factor of the three cross-entropies: divided by 6 and by the batch of 2016, 12."""
FINE_TUNING = 0.5
"""Training progress at which fine-tuning begins."""


def zeros_around(length: int) -> tuple[int, int]:
    """Zeros before and after, so that stride 2 reduces `length` to its half, rounded up.

    As in TensorFlow's "same" padding, an odd zero goes after.
    """
    zeros = 2 * (math.ceil(length / 2) - 1) + KERNEL - length
    return zeros // 2, zeros - zeros // 2


def padded(maps: Tensor) -> Tensor:
    """Pad maps (B, C, H, W) with zeros for a convolution."""
    height, length = maps.shape[2:]
    return F.pad(maps, (*zeros_around(length), *zeros_around(height)))


def cropped(maps: Tensor, height: int, length: int) -> Tensor:
    """Crop maps (B, C, h, w) to the upper left (B, C, `height`, `length`), keeping memory format.

    A slice would be copied by the next layer, and its gradient would be channels first, so that a
    GPU would convert it for the gradient of the convolution.
    """
    return F.pad(maps, (0, length - maps.shape[3], 0, height - maps.shape[2]))


def first_weights(module: nn.Module) -> None:
    """Initialise a layer's weights: normal, sd 0.02; truncated at two sd for convolutions."""
    if isinstance(module, nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=FIRST_SD, a=-2 * FIRST_SD, b=2 * FIRST_SD)
    elif isinstance(module, nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, std=FIRST_SD)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, mean=1.0, std=FIRST_SD)
    else:
        return
    assert module.bias is not None
    nn.init.zeros_(module.bias)


class Trunk(nn.Module):
    """Frames (B, 3, H, W) in [0, 1] to the activations (B, C, h, w) of four convolutions."""

    def __init__(self, width: int, running: bool) -> None:
        super().__init__()
        channels = [3, *widths(width)]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, KERNEL, stride=2)
            for before, after in itertools.pairwise(channels)
        )
        self.norms = nn.ModuleList(
            nn.Identity() if stage == 0 else nn.BatchNorm2d(after, track_running_stats=running)
            for stage, after in enumerate(channels[1:])
        )

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Activations of every stage, the finest first."""
        maps, found = frames * 2 - 1, []
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps = F.leaky_relu(norm(convolution(padded(maps))), LEAK)
            found.append(maps)
        return found


class Encoder(nn.Module):
    """Frames (B, 3, H, W) in [0, 1] to a posterior over latents, with means in [-1, 1]."""

    def __init__(self, size: FrameSize, width: int, latent: int, running: bool) -> None:
        super().__init__()
        self.trunk = Trunk(width, running)
        values = widths(width)[-1] * math.prod(halvings(size)[-1])
        self.mean = nn.Linear(values, latent)
        self.log_variance = nn.Linear(values, latent)

    def forward(self, frames: Tensor) -> Posterior:
        """Mean and log variance, both (B, L)."""
        flat = self.trunk(frames)[-1].flatten(1)
        mean, log_variance = torch.tanh(self.mean(flat)), 0.5 * torch.tanh(self.log_variance(flat))
        precise = torch.promote_types(mean.dtype, torch.float32)
        return Posterior(mean.to(precise), log_variance.to(precise))


class Decoder(nn.Module):
    """Latents (B, L) to frames (B, 3, H, W) in [0, 1]."""

    def __init__(self, size: FrameSize, width: int, latent: int, running: bool) -> None:
        super().__init__()
        self.sizes = halvings(size)[::-1]
        channels = [*widths(width)[::-1], 3]
        self.start_shape = (channels[0], *self.sizes[0])
        self.start = nn.Linear(latent, math.prod(self.start_shape))
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(count, track_running_stats=running) for count in channels[:-1]
        )
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(
                before, after, KERNEL, 2, (zeros_around(height)[0], zeros_around(length)[0])
            )
            for (before, after), (height, length) in zip(
                itertools.pairwise(channels), self.sizes[1:], strict=True
            )
        )

    def forward(self, latent: Tensor) -> Tensor:
        """Latents (B, L) to frames (B, 3, H, W) in [0, 1]."""
        maps = self.start(latent).unflatten(1, self.start_shape)
        # The linear layer gives channels first; convolutions are faster with channels last.
        maps = maps.contiguous(memory_format=torch.channels_last)
        for norm, convolution, (height, length) in zip(
            self.norms, self.convolutions, self.sizes[1:], strict=True
        ):
            maps = cropped(convolution(F.relu(norm(maps))), height, length)
        return (torch.tanh(maps) + 1) / 2


class Discriminator(nn.Module):
    """Frames (B, 3, H, W) to a logit (B,), high for real frames, and the trunk's activations."""

    def __init__(self, size: FrameSize, width: int) -> None:
        super().__init__()
        self.trunk = Trunk(width, running=False)
        self.head = nn.Linear(widths(width)[-1] * math.prod(halvings(size)[-1]), 1)

    def forward(self, frames: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits (B,) and the activations (B, C, h, w), the finest first."""
        features = self.trunk(frames)
        return self.head(features[-1].flatten(1)).squeeze(1), features


def stretch(frames: Tensor) -> Tensor:
    """Stretch each frame (B, 3, H, W) to [0, 1]: its darkest value to 0, its brightest to 1.

    A frame with a single value becomes black.
    """
    low, high = (end(dim=(1, 2, 3), keepdim=True) for end in (frames.amin, frames.amax))
    span = high - low
    return (frames - low) / torch.where(span > 0, span, torch.ones_like(span))


class Broad2016(zoo.Autoencoder):
    """The film autoencoder of 2016; similarity is the distance of discriminator activations."""

    name: ClassVar[str] = "broad2016"
    summary: ClassVar[str] = "the film autoencoder of 2016, as its text intends (quick: an eighth)"
    tuned_on: ClassVar[tuple[str, ...]] = ("bikes", "bigbuckbunny", "carphone")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"width": 10, "lr": 2e-3},
        "laptop": {"width": 20, "lr": 1e-3},
    }
    opposed: ClassVar[tuple[tuple[str, str], ...]] = (
        ("decoder.adversarial", "discriminator.adversarial"),
    )

    class Options(zoo.Options):
        """Settings of the system of 2016."""

        width: int = pydantic.Field(
            80, ge=1, description="channels of the first stage; 80 is full size, 10 an eighth"
        )
        lr: float = pydantic.Field(2e-4, gt=0, description="highest learning rate of all three")
        noise: float = pydantic.Field(
            1.0, ge=0, le=1, description="standard deviation of the posterior's noise at first"
        )
        noise_at_last: float = pydantic.Field(
            0.5, ge=0, le=1, description="and in the second half of training; encoding adds none"
        )
        swapped_lists: bool = pydantic.Field(
            False, description="train the encoder by the decoder's loss and vice versa"
        )
        batch_statistics: bool = pydantic.Field(
            False, description="normalise by the batch at inference too, twelve frames at a time"
        )
        stretched: bool = pydantic.Field(
            False, description="stretch every decoded frame to full contrast"
        )
        rest_dropped: bool = pydantic.Field(
            False, description="never look at the last frames, which fill no batch of twelve"
        )

    options: Options
    discriminator: Discriminator

    def __init__(self, size: FrameSize, options: Options) -> None:
        super().__init__(size, options)
        running = not options.batch_statistics
        self.encoder = Encoder(size, options.width, options.latent, running)
        self.decoder = Decoder(size, options.width, options.latent, running)
        self.apply(first_weights)

    def training_modules(self) -> Mapping[str, nn.Module]:
        """The discriminator."""
        discriminator = Discriminator(self.size, self.options.width)
        return {"discriminator": discriminator.apply(first_weights)}

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) to the means of their posteriors (B, L)."""
        return self._run(lambda some: self.encoder(some).mean, frames)

    def decode(self, latent: Tensor) -> Tensor:
        """Latents (B, L) to frames (B, 3, H, W)."""
        decoded = self._run(self.decoder, latent)
        return stretch(decoded) if self.options.stretched else decoded

    def _run(self, network: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """Apply a network; with batch statistics, to twelve inputs at a time."""
        if not self.options.batch_statistics:
            return network(inputs)
        return torch.cat([network(some) for some in inputs.split(RUN_BATCH)])

    def sample_prior(self, count: int, generator: torch.Generator) -> Tensor:
        """Latents (count, L), uniform in [-1, 1] as in training."""
        shape = count, self.options.latent
        return 2 * torch.rand(shape, generator=generator, device=generator.device) - 1

    def frames_taken(self, seen: int) -> int:
        """All frames; with `rest_dropped`, as many as fill batches of twelve, if any do."""
        if not self.options.rest_dropped or seen < RUN_BATCH:
            return seen
        return seen - seen % RUN_BATCH

    def players(self) -> Players:
        """Encoder, decoder and discriminator; the first two swapped as published, if chosen."""
        encoder, decoder = list(self.encoder.parameters()), list(self.decoder.parameters())
        if self.options.swapped_lists:
            head = list(self.encoder.log_variance.parameters())
            kept = {id(weights) for weights in head}
            encoder, decoder = decoder + head, [p for p in encoder if id(p) not in kept]
        return {
            "encoder": encoder,
            "decoder": decoder,
            "discriminator": self.discriminator.parameters(),
        }

    def optimizer(self, player: str) -> Optimizer:
        """Adam with low momentum, the same for all players; gradients are not clipped."""
        return Optimizer("adam", lr=self.options.lr, betas=(0.5, 0.999), clip=None)

    def noise_sd(self, step: Step) -> Tensor:
        """The factor of the posterior's noise: a scalar tensor.

        In 2016 it was reduced by hand: 1 at first, 0.5 for fine-tuning, 0 for inference. The times
        were not recorded; here the second half of a training is the fine-tuning.
        """
        first, last = self.options.noise, self.options.noise_at_last
        return torch.where(step.progress < FINE_TUNING, first, last)

    def losses(self, batch: Batch, step: Step) -> Losses:
        """The losses of 2016, with a minimax adversarial loss as in the paper."""
        frames = batch.frames
        posterior = self.encoder(frames)
        noise = self.noise_sd(step) * step.randn_like(posterior.mean)
        decoded = self.decoder(posterior.mean + torch.exp(0.5 * posterior.log_variance) * noise)
        # Samples of the prior were uniform in [-1, 1], the range of the tanh on the means.
        prior = torch.erf(step.randn_like(posterior.mean) / math.sqrt(2))
        from_prior = self.decoder(prior)

        real_logits, wanted = self.discriminator(frames)
        decoded_logits, seen = self.discriminator(decoded)
        prior_logits, _ = self.discriminator(from_prior)
        distances = [F.mse_loss(a, b) for a, b in zip(seen, wanted, strict=True)]
        similarity = torch.stack(distances).mean()
        crossed = F.softplus(-real_logits) + F.softplus(decoded_logits) + F.softplus(prior_logits)
        adversarial = ADVERSARIAL * crossed.mean()
        return {
            "encoder": Loss({"kl": posterior.kl(self.options.latent), "similarity": similarity}),
            "decoder": Loss({"similarity": SIMILARITY * similarity, "adversarial": -adversarial}),
            "discriminator": Loss({"adversarial": adversarial}),
        }

    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Recompute batch norm statistics on training frames and their latents, without noise.

        In training, the decoder's statistics mix reconstructions and prior samples, and those of
        both networks lag behind the averaged weights.
        """
        norms = [
            module
            for part in (self.encoder, self.decoder)
            for module in part.modules()
            if isinstance(module, nn.BatchNorm2d) and module.track_running_stats
        ]
        if not norms:
            return
        before = [(norm.training, norm.momentum) for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.train()
            norm.momentum = None  # the plain average over all batches
        for frames in batches:
            self.decoder(self.encode(frames))
        for norm, (training, momentum) in zip(norms, before, strict=True):
            norm.train(training)
            norm.momentum = momentum


class Broad2016Published(Broad2016):
    """The film autoencoder of 2016, with the four differences of its published code."""

    name: ClassVar[str] = "broad2016_published"
    summary: ClassVar[str] = (
        "the film autoencoder of 2016, as its published code does (quick: an eighth)"
    )
    unequal_terms: ClassVar[tuple[str, ...]] = (
        "the last frames of the film, at most 11, are not trained on.",
    )
    waivers: ClassVar[Mapping[str, str]] = {
        "batch invariant": "the published code normalises by the batch at inference too",
        "players hold what they name": "the published code swaps the lists of encoder and decoder",
        "trains on every frame": "the published code drops the last frames, fewer than twelve",
    }

    class Options(Broad2016.Options):
        """Settings of the system of 2016, with what its published code does."""

        swapped_lists: bool = pydantic.Field(
            True, description="train the encoder by the decoder's loss and vice versa"
        )
        batch_statistics: bool = pydantic.Field(
            True, description="normalise by the batch at inference too, twelve frames at a time"
        )
        stretched: bool = pydantic.Field(
            True, description="stretch every decoded frame to full contrast"
        )
        rest_dropped: bool = pydantic.Field(
            True, description="never look at the last frames, which fill no batch of twelve"
        )

    options: Options


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """Offer both versions of the system of 2016."""
    return [Broad2016, Broad2016Published]
