"""A pretrained network that stays as it is, its principal components as latents, a trained decoder.

    ZOO_PLUGINS=examples/zoo_frozen.py zoo train frozen --film bikes --preset quick

The network is EfficientNet-Lite0 (Tan and Le, 2019), trained on photographs. It encodes, so it is a
part of the model that is saved and shipped. `prepare` looks at the training frames once and finds
the principal components of their features; the decoder learns to reconstruct frames from those.
"""

import pydantic
import torch
from torch import nn

import zoo

zoo_contract = 2

NETWORK = "tf_efficientnet_lite0"
STAGES = 3
LOOKED_AT = 2000
"""Training frames, at most, whose features `prepare` holds in memory."""


class Features(nn.Module):
    """What the frozen network sees in frames (B, 3, H, W): features (B, F), one row a frame."""

    def __init__(self):
        super().__init__()
        self.network = zoo.feature_network(NETWORK, STAGES)
        self.requires_grad_(False)

    def train(self, mode=True):
        """Stay in evaluation mode: batch norm keeps the statistics it was pretrained with."""
        return super().train(False)

    def forward(self, frames):
        """Features of frames, averaged over parts of the picture."""
        coarsest = self.network(frames * 2 - 1)[-1]
        return nn.functional.adaptive_avg_pool2d(coarsest, (5, 8)).flatten(1)


class Frozen(zoo.Autoencoder):
    """Principal components of a pretrained network's features, decoded by a trained network."""

    name = "frozen"
    summary = "frozen EfficientNet-Lite0, its principal components, a trained decoder"
    presets = {"quick": {"width": 32}}  # noqa: RUF012
    unequal_terms = (
        "its encoder was pretrained on photographs.",
        "the principal components of its features are found outside of the budget.",
        "the loss is the squared error that PSNR is computed from.",
    )

    class Options(zoo.Options):
        """Settings."""

        width: int = pydantic.Field(128, ge=4, multiple_of=4, description="channels of the decoder")
        lr: float = pydantic.Field(2e-3, gt=0, description="highest learning rate")

    def __init__(self, size, options):
        super().__init__(size, options)
        self.features = Features()
        count = 40 * self.features.network.feature_info.channels()[-1]
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("components", torch.eye(options.latent, count))
        self.register_buffer("scale", torch.ones(options.latent))
        self.start = (-(-size.height // 8), -(-size.width // 8))
        wide = options.width
        self.decoder = nn.Sequential(
            nn.Linear(options.latent, wide * self.start[0] * self.start[1]),
            nn.Unflatten(1, (wide, *self.start)),
            *(nn.GroupNorm(4, wide), nn.SiLU(), nn.ConvTranspose2d(wide, wide, 4, 2, 1)),
            *(nn.GroupNorm(4, wide), nn.SiLU(), nn.ConvTranspose2d(wide, wide, 4, 2, 1)),
            *(nn.GroupNorm(4, wide), nn.SiLU(), nn.ConvTranspose2d(wide, 3, 4, 2, 1)),
        )

    def prepare(self, frames):
        """Find the components: what follows from the frames goes into buffers."""
        every = -(-len(frames) // LOOKED_AT)
        with torch.no_grad():
            seen = torch.cat(
                [
                    self.features(some[::every])
                    for some in frames.batches(16 * every, self.mean.device)
                ]
            )
            mean = seen.mean(dim=0)
            # Fewer frames than numbers have fewer components; the others stay as they are.
            _, spread, found = torch.linalg.svd(seen - mean, full_matrices=False)
            found = found[: self.options.latent]
            sd = spread[: len(found)] / len(seen) ** 0.5
            self.mean.copy_(mean)
            self.components[: len(found)] = found
            self.scale[: len(found)] = sd.clamp_min(1e-3 * sd[0].clamp_min(1e-6))

    def encode(self, frames):
        """Frames (B, 3, H, W) to their features' components, each with a spread of one: (B, L)."""
        return (self.features(frames) - self.mean) @ self.components.T / self.scale

    def decode(self, latent):
        """Components (B, L) to frames (B, 3, H, W)."""
        decoded = self.decoder(latent)[:, :, : self.size.height, : self.size.width]
        return decoded.sigmoid()

    def losses(self, batch, step):
        """Squared error on colours. Only the decoder learns, so nothing else needs a gradient."""
        with torch.no_grad():
            latent = self.encode(batch.frames)
        error = (self.decode(latent) - batch.frames).square().mean()
        return {"decoder": zoo.Loss({"pixel": 200 * error})}

    def players(self):
        """The decoder alone; the frozen network belongs to nobody."""
        return {"decoder": self.decoder.parameters()}

    def optimizer(self, player):
        """AdamW at the learning rate of the options."""
        return zoo.Optimizer(lr=self.options.lr)


@zoo.hookimpl
def zoo_models():
    """The frozen network with its decoder."""
    return [Frozen]
