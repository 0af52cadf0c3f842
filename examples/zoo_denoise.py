"""A denoising autoencoder (Vincent et al., 2008) that sets out how it is to be trained.

    ZOO_PLUGINS=examples/zoo_denoise.py zoo train denoise --film bikes --preset quick

Its recipe has a schedule, an average and an accumulation of its own, its parameters learn in two
groups, and its frames are mirrored, moved and spoilt by noise. All chance comes from the step, so
that a training that is stopped and resumed goes on as it would have.
"""

import pydantic
import torch
from torch import nn

import zoo

zoo_contract = 2


class Denoise(zoo.Autoencoder):
    """Reconstructs clean frames from mirrored, moved and noisy ones."""

    name = "denoise"
    summary = "denoising autoencoder with a recipe and augmentation of its own"
    recipe = zoo.Recipe(schedule="linear", warm_up=0.1, final_lr=0.0, average=0.05, accumulate=2)
    presets = {"quick": {"width": 16}}  # noqa: RUF012
    unequal_terms = (
        "it is trained on mirrored, moved and noisy copies of frames, one copy a frame.",
        "the loss is the squared error that PSNR is computed from.",
    )

    class Options(zoo.Options):
        """Settings."""

        width: int = pydantic.Field(
            64, ge=4, multiple_of=4, description="channels of the first stage"
        )
        noise: float = pydantic.Field(0.1, ge=0, description="highest deviation of the noise")
        shift: int = pydantic.Field(2, ge=0, description="pixels by which frames move, at most")
        flips: float = pydantic.Field(0.1, ge=0, le=1, description="share of mirrored frames")

    def __init__(self, size, options):
        super().__init__(size, options)
        near, middle, far = options.width, 2 * options.width, 4 * options.width
        self.grid = (-(-size.height // 8), -(-size.width // 8))
        places = self.grid[0] * self.grid[1]
        self.encoder = nn.Sequential(
            *(nn.Conv2d(3, near, 3, 2, 1), nn.GroupNorm(4, near), nn.SiLU()),
            *(nn.Conv2d(near, middle, 3, 2, 1), nn.GroupNorm(4, middle), nn.SiLU()),
            *(nn.Conv2d(middle, far, 3, 2, 1), nn.GroupNorm(4, far), nn.SiLU()),
            nn.Flatten(),
        )
        self.to_latent = nn.Linear(far * places, options.latent)
        self.from_latent = nn.Linear(options.latent, far * places)
        self.decoder = nn.Sequential(
            nn.Unflatten(1, (far, *self.grid)),
            *(nn.GroupNorm(4, far), nn.SiLU(), nn.ConvTranspose2d(far, middle, 4, 2, 1)),
            *(nn.GroupNorm(4, middle), nn.SiLU(), nn.ConvTranspose2d(middle, near, 4, 2, 1)),
            *(nn.GroupNorm(4, near), nn.SiLU(), nn.ConvTranspose2d(near, 3, 4, 2, 1)),
        )

    def encode(self, frames):
        """Frames (B, 3, H, W) to latents (B, L)."""
        return self.to_latent(self.encoder(frames * 2 - 1))

    def decode(self, latent):
        """Latents (B, L) to frames (B, 3, H, W)."""
        decoded = self.decoder(self.from_latent(latent))
        return decoded[:, :, : self.size.height, : self.size.width].sigmoid()

    def augmented(self, frames, step):
        """Frames, some of them mirrored, all moved alike by a few pixels, edges repeated."""
        one_each = frames[:, :1, :1, :1]
        mirrored = step.rand_like(one_each) < self.options.flips
        frames = torch.where(mirrored, frames.flip(3), frames)
        by = 2 * self.options.shift * step.rand(2) - self.options.shift
        rows, columns = (
            (torch.arange(side, device=frames.device) + by[axis].round().long()).clamp(0, side - 1)
            for axis, side in enumerate(frames.shape[2:])
        )
        return frames[:, :, rows][:, :, :, columns]

    def losses(self, batch, step):
        """Squared error of reconstructions of noisy frames; the noise becomes less."""
        clean = self.augmented(batch.frames, step)
        level = self.options.noise * (1 - step.progress) * step.rand_like(clean[:, :1, :1, :1])
        decoded = self.decode(self.encode(clean + level * step.randn_like(clean)))
        loss = zoo.Loss(
            {"pixel": 200 * (decoded - clean).square().mean()},
            logged={"noise": level.mean().detach()},
        )
        return {"autoencoder": loss}

    def players(self):
        """One player in two groups: the dense layers learn at half the rate, and decay."""
        dense = [*self.to_latent.parameters(), *self.from_latent.parameters()]
        rest = [*self.encoder.parameters(), *self.decoder.parameters()]
        return {"autoencoder": [zoo.Group(rest), zoo.Group(dense, lr=1e-3, weight_decay=0.01)]}

    def optimizer(self, player):
        """AdamW, for what has no rate of its own."""
        return zoo.Optimizer(lr=2e-3)


@zoo.hookimpl
def zoo_models():
    """The denoising autoencoder."""
    return [Denoise]
