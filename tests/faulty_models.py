"""A model that keeps the contract, and models with one planted fault each."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from zoo.api.autoencoder import Autoencoder, Loss, Optimizer
from zoo.api.samples_and_latents import LatentSpec


class Sound(Autoencoder):
    """Linear both ways, with an adversary: as small as a model with three players can be."""

    name = "sound"
    summary = "keeps every promise"
    opposed = (("decoder.adversarial", "discriminator.real_or_fake"),)

    def __init__(self, size, options):
        super().__init__(size, options)
        values = 3 * size.pixels
        self.encoder = nn.Linear(values, options.latent)
        self.decoder = nn.Linear(options.latent, values)
        self.discriminator = nn.Sequential(nn.Linear(values, 8), nn.SiLU(), nn.Linear(8, 1))

    def encode(self, frames):
        return self.encoder(frames.flatten(1))

    def decode(self, latent):
        shape = (3, self.size.height, self.size.width)
        return self.decoder(latent).sigmoid().unflatten(1, shape)

    def players(self):
        parts = ("encoder", "decoder", "discriminator")
        return {part: list(getattr(self, part).parameters()) for part in parts}

    def optimizer(self, player):
        # At 0.01 rounding decides whether it learns, and with it the number of threads.
        return Optimizer(lr=0.003)

    def losses(self, batch, step):
        frames = batch.frames
        drawn = self.decode(self.encode(frames))
        on_real, on_drawn = (self.discriminator(f.flatten(1)).mean() for f in (frames, drawn))
        pixel = F.mse_loss(drawn, frames)
        return {
            "encoder": Loss({"pixel": pixel}),
            "decoder": Loss({"pixel": pixel, "adversarial": 1e-3 * F.softplus(-on_drawn)}),
            "discriminator": Loss({"real_or_fake": F.softplus(on_drawn) + F.softplus(-on_real)}),
        }


class EncoderForDecoder(Sound):
    def players(self):
        right = super().players()
        return {**right, "encoder": right["decoder"], "decoder": right["encoder"]}


class DiscriminatorForDecoder(Sound):
    def players(self):
        right = super().players()
        return {**right, "decoder": right["discriminator"], "discriminator": right["decoder"]}


class OneLayerAstray(Sound):
    def players(self):
        right = super().players()
        weight, bias = right["encoder"]
        return {**right, "encoder": [weight], "decoder": [*right["decoder"], bias]}


class ReversedSign(Sound):
    def losses(self, batch, step):
        found = super().losses(batch, step)
        terms = dict(found["decoder"].terms)
        return {
            **found,
            "decoder": Loss({**terms, "adversarial": -terms["adversarial"]}),
        }


class NoSuchTerm(Sound):
    opposed = (("decoder.fool", "discriminator.real_or_fake"),)


class DetachedLoss(Sound):
    def losses(self, batch, step):
        found = super().losses(batch, step)
        return {**found, "encoder": Loss({"pixel": found["encoder"].terms["pixel"].detach()})}


class DetachedTerm(Sound):
    """The decoder still learns from the adversary, so that its loss as a whole does reach it."""

    def losses(self, batch, step):
        found = super().losses(batch, step)
        terms = dict(found["decoder"].terms)
        return {**found, "decoder": Loss({**terms, "pixel": terms["pixel"].detach()})}


class OverlappingGroups(Sound):
    def players(self):
        right = super().players()
        return {**right, "decoder": right["decoder"] + right["encoder"][:1]}


class BatchDependent(Sound):
    def encode(self, frames):
        latent = super().encode(frames)
        return latent - 0.1 * latent.mean(dim=0)


class Peeking(Sound):
    def encode(self, frames):
        self.seen = frames
        return super().encode(frames)

    def decode(self, latent):
        drawn = super().decode(latent)
        return drawn if self.training else 0.5 * (drawn + self.seen[: len(drawn)])


class PeekingThroughTheLatent(Sound):
    def encode(self, frames):
        latent = super().encode(frames)
        latent.frames = frames
        return latent

    def decode(self, latent):
        drawn = super().decode(latent)
        return 0.5 * (drawn + latent.frames) if hasattr(latent, "frames") else drawn


class StateOutsideTheWeights(Sound):
    """A running mean that training moves and that no state dict knows of."""

    shift = torch.zeros(())

    def losses(self, batch, step):
        frames = batch.frames
        self.shift = 0.9 * self.shift + 0.1 * frames.mean().detach()
        return super().losses(batch, step)

    def decode(self, latent):
        return (super().decode(latent) * (1 - self.shift)).clamp(0, 1)


class WrongRange(Sound):
    def decode(self, latent):
        return super().decode(latent) * 2 - 1


class TooManyNumbers(Sound):
    def encode(self, frames):
        return F.pad(super().encode(frames), (0, 1))

    def decode(self, latent):
        return super().decode(latent[:, :-1])


class TooFewNumbers(Sound):
    def encode(self, frames):
        return super().encode(frames)[:, :-1]

    def decode(self, latent):
        return super().decode(F.pad(latent, (0, 1)))


class ALatentOfItsOwn(Sound):
    """Right at six numbers only."""

    def encode(self, frames):
        return super().encode(frames)[:, :6]

    def decode(self, latent):
        return super().decode(F.pad(latent, (0, self.options.latent - 6)))


class Undecided(Sound):
    def decode(self, latent):
        drawn = super().decode(latent)
        return (drawn + 0.01 * torch.randn_like(drawn)).clamp(0, 1)


class LeavesFramesOut(Sound):
    def frames_taken(self, seen):
        return seen - seen % 12


class ComesBackElsewhere(Sound):
    def to_coordinates(self, numbers):
        return numbers.round()


class KeepsAConstantOnTheProcessor(Sound):
    def __init__(self, size, options):
        super().__init__(size, options)
        self.gain = torch.ones(options.latent)

    def encode(self, frames):
        return super().encode(frames) * self.gain


class DrawsNoiseOnTheProcessor(Sound):
    def losses(self, batch, step):
        frames = batch.frames
        return super().losses(
            dataclasses.replace(batch, frames=frames + 0.01 * torch.randn(frames.shape)), step
        )


class GivesLatentsFromTheProcessor(Sound):
    def encode(self, frames):
        return super().encode(frames).cpu()

    def decode(self, latent):
        return super().decode(latent.to(self.decoder.weight.device))


class MixesTypesUnderAutocast(Sound):
    def losses(self, batch, step):
        frames = batch.frames
        latent = self.encode(frames)
        nothing = torch.zeros(latent.shape, device=latent.device)
        return super().losses(
            dataclasses.replace(batch, frames=frames + 0 * torch.lerp(latent, nothing, 0.5).sum()),
            step,
        )


class LearnsNothing(Sound):
    def optimizer(self, player):
        return Optimizer(lr=1e-9)


class LeavesTheRangeLater(Sound):
    def __init__(self, size, options):
        super().__init__(size, options)
        self.register_buffer("steps", torch.zeros(()))

    def losses(self, batch, step):
        self.steps += 1
        return super().losses(batch, step)

    def decode(self, latent):
        return super().decode(latent) + (self.steps > 10)


class PreparesAnAttribute(Sound):
    shift = 0.0

    def prepare(self, frames):
        self.shift = float(frames[:].mean()) / 255

    def losses(self, batch, step):
        shifted = dataclasses.replace(batch, frames=0.5 * (batch.frames + self.shift))
        return super().losses(shifted, step)


class PeeksAtHeldOutFrames(Sound):
    def prepare(self, frames):
        whole = frames._read.args[0]
        with torch.no_grad():
            next(self.parameters()).add_(float(whole[:].mean()) / 255)


class DrawsFromNumPy(Sound):
    def losses(self, batch, step):
        noise = float(np.random.rand())
        return super().losses(dataclasses.replace(batch, frames=batch.frames * noise), step)


class OneUselessLayerOutweighsAll(Sound):
    def __init__(self, size, options):
        super().__init__(size, options)
        self.useless = nn.Linear(2000, 600)

    def players(self):
        right = super().players()
        return {**right, "encoder": [*right["encoder"], *self.useless.parameters()]}


class WaitsForANumber(Sound):
    def losses(self, batch, step):
        losses = super().losses(batch, step)
        return losses if losses["encoder"].total.detach() < 1e9 else {}


class WaitsForAShape(Sound):
    def losses(self, batch, step):
        frames = batch.frames
        bright = frames[frames > 0.5]
        return super().losses(dataclasses.replace(batch, frames=frames + 0 * bright.sum()), step)


class CopiesAConstant(Sound):
    def losses(self, batch, step):
        scale = torch.tensor([1.0, 1.0, 1.0], device=batch.frames.device).view(3, 1, 1)
        return super().losses(dataclasses.replace(batch, frames=batch.frames * scale), step)


class PreparesAClassAttribute(Sound):
    shift = 0.0

    def prepare(self, frames):
        type(self).shift = float(frames[:].mean()) / 255

    def losses(self, batch, step):
        shifted = dataclasses.replace(batch, frames=0.5 * (batch.frames + self.shift))
        return super().losses(shifted, step)


class UndeclaredCodes(Sound):
    def encode(self, frames):
        latent = 300 * super().encode(frames)
        return latent + (latent.round() - latent).detach()

    def decode(self, latent):
        return super().decode(latent / 300)


class Coding(Sound):
    """Codes its latents as bytes, turned by a table."""

    def __init__(self, size, options):
        super().__init__(size, options)
        self.coder = nn.Module()
        self.coder.register_buffer("turned", torch.zeros((), dtype=torch.double))
        self.turned = nn.Buffer(torch.zeros((), dtype=torch.double))

    def calibrate(self, batches):
        self.coder.turned.fill_(7.0)
        self.turned.fill_(7.0)

    def turn(self):
        return self.coder.turned

    def compress(self, levels, values):
        return bytes(((levels + int(self.turn())) % values).flatten().tolist())

    def decompress(self, stream, count, values):
        levels = (torch.tensor(list(stream), dtype=torch.long) - int(self.turn())) % values
        return levels.view(count, self.options.latent)


class CodesTooLittle(Coding):
    def compress(self, levels, values):
        return super().compress(levels // 2 * 2, values)


class CodesWithTheEncoder(Coding):
    def turn(self):
        return self.turned


class ChangesFrames(Sound):
    """Clamping twice is clamping once, so that only the frames show it."""

    def encode(self, frames):
        return super().encode(frames.clamp_(0.2, 0.6))


class ChangesLatents(Sound):
    def decode(self, latent):
        return super().decode(latent.clamp_(-0.1, 0.1))


class ChangesTheBatch(Sound):
    def losses(self, batch, step):
        batch.frames.mul_(0.5)
        return super().losses(batch, step)


class KeepsItsFirstFrames(Sound):
    """The scale is that of the first frames it is shown, whichever they are."""

    scale = None

    def encode(self, frames):
        if self.scale is None:
            self.scale = frames.amax().detach()
        return super().encode(frames / self.scale)


class KeepsItsLastFrames(Sound):
    last = torch.zeros(())

    def encode(self, frames):
        before, self.last = self.last, frames.mean().detach()
        return super().encode(frames - 0.1 * before)


class CalibratesInTwoPasses(Sound):
    def calibrate(self, batches):
        sum(len(batch) for batch in batches)
        self.total = next(iter(batches)).sum()


class GivesWholeNumbers(Sound):
    def latent_spec(self):
        return LatentSpec((self.options.latent,), codes=5)

    def encode(self, frames):
        return (4 * super().encode(frames).sigmoid()).round().long()

    def decode(self, latent):
        return super().decode(latent.float())


class DrawsOnePrior(Sound):
    def sample_prior(self, count, generator):
        return torch.randn(self.options.latent, generator=generator)


class DrawsAPriorFromElsewhere(Sound):
    def sample_prior(self, count, generator):
        return torch.randn(count, self.options.latent)


class FitsByChance(Autoencoder):
    name = "fits_by_chance"
    summary = "another frame each time"
    role = "reference"

    def __init__(self, size, options):
        super().__init__(size, options)
        self.register_buffer("frame", torch.zeros(3, size.height, size.width))

    def latent_spec(self):
        return LatentSpec((0,))

    def encode(self, frames):
        return frames.new_zeros(len(frames), 0)

    def decode(self, latent):
        return self.frame.expand(len(latent), -1, -1, -1)

    def fit(self, frames):
        weights = torch.from_numpy(np.random.rand(len(frames))).float()
        every = torch.cat(list(frames.batches(16)))
        self.frame.copy_((weights[:, None, None, None] * every).sum(dim=0) / weights.sum())
