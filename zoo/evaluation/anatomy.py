"""What a model is made of at one frame size: shapes, parameters and multiply-adds, unmeasured.

Counted on an instance without storage (torch's meta device), so that a network too large for this
machine is counted in seconds. Where a model cannot be built or run there, on the CPU.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import torch
from torch.utils.flop_counter import FlopCounterMode

from zoo.api.autoencoder import Autoencoder, Optimizer, Options, PlayerParameters
from zoo.api.latent_spec import LatentSpec
from zoo.api.sampling import Sampling
from zoo.base.frame_size import FrameSize
from zoo.evaluation.decoder_weight import decoder_bytes
from zoo.plugins.model_building import add_training_modules, constructed, fits_directly, latent_spec


@dataclass(frozen=True)
class Anatomy:
    """A model at one frame size, for one frame."""

    latent: LatentSpec
    """Of one sample."""
    window: int
    """Frames that share a latent."""
    parameters: int
    """Trained ones of the model that is kept, without what only training needs."""
    players: dict[str, int]
    """Parameters of each player; none where the model fits directly."""
    optimizers: dict[str, Optimizer]
    """How each player learns."""
    decoder_bytes: int
    """What a reconstruction is drawn from, at 32 bits a number."""
    encode: int
    """Multiply-adds to encode a frame: those of convolutions, matrix products and attention."""
    decode: int
    """Multiply-adds to decode a frame, counted alike."""
    device: Literal["meta", "cpu"]
    """Where they were counted."""


def anatomy(architecture: type[Autoencoder], size: FrameSize, options: Options) -> Anatomy:
    """Count an instance of its own, in 32 bits; whatever the model raises on the CPU is raised."""
    try:
        return _counted(architecture, size, options, "meta")
    except Exception:
        # Without storage nothing can be read back or handed to NumPy; a model may need either.
        # A true fault shows again on the CPU.
        return _counted(architecture, size, options, "cpu")


def _counted(
    architecture: type[Autoencoder],
    size: FrameSize,
    options: Options,
    device: Literal["meta", "cpu"],
) -> Anatomy:
    with torch.device(device), warnings.catch_warnings():
        if device == "meta":
            # Pretrained weights have nowhere to go, of which torch warns tensor by tensor.
            warnings.simplefilter("ignore", UserWarning)
        model = constructed(architecture, size, options)
        kept = sum(p.numel() for p in model.parameters() if p.requires_grad)
        add_training_modules(model)
        sampling = Sampling.of(model)
        sample = sampling.shaped(torch.zeros(sampling.frames, 3, size.height, size.width))
    players = {} if fits_directly(architecture) else dict(PlayerParameters.of(model))
    counts = {player: sum(p.numel() for p in group) for player, group in players.items()}
    model = model.float().eval()
    with torch.no_grad(), FlopCounterMode(display=False) as encoding:
        latent = model.encode(sample)
    with torch.no_grad(), FlopCounterMode(display=False) as decoding:
        model.decode(latent)
    return Anatomy(
        latent=latent_spec(model),
        window=sampling.window,
        parameters=kept,
        players=counts,
        optimizers={player: model.optimizer(player) for player in players},
        decoder_bytes=decoder_bytes(model, latent),
        # The counter takes a multiply-add for two operations.
        encode=encoding.get_total_flops() // 2 // sampling.window,
        decode=decoding.get_total_flops() // 2 // sampling.window,
        device=device,
    )
