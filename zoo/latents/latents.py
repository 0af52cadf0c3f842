"""The latents of a film at one number of bits, and the file that keeps them beside a run."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo.errors import BadInput
from zoo.latents.packing import pack
from zoo.latents.quantise import Quantiser
from zoo.workspace import written_aside


@dataclass(frozen=True)
class Encoded:
    """A film as a model encodes it, before anything is rounded."""

    numbers: Tensor
    """float32 (N, L), in the film's order."""
    shape: tuple[int, ...]
    """Of one frame's latent as the model gives it."""

    def quantised(self, quantiser: Quantiser) -> Latents:
        """Round to the levels of a scale."""
        return Latents(quantiser.levels(self.numbers), self.shape, quantiser)


@dataclass(frozen=True)
class Latents:
    """A film in numbers of a few bits."""

    levels: Tensor
    """uint8 (N, L), in the film's order."""
    shape: tuple[int, ...]
    """Of one frame's latent as the model gives it."""
    quantiser: Quantiser

    def restored(self, indices: slice | list[int]) -> Tensor:
        """What `decode` gets for those frames: float32 (B, ...)."""
        return self.quantiser.numbers(self.levels[indices]).unflatten(1, self.shape)

    def bytes_a_frame(self) -> float:
        """On disk, averaged over the film, after lossless coding; the scales are not counted."""
        return len(pack(_array(self.levels))) / max(1, len(self.levels))


def _array(levels: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return levels.cpu().numpy()


def save(path: Path, latents: Latents, film_fingerprint: str) -> None:
    """Keep latents as safetensors: `levels`, and a scale a dimension in `lowest` and `step`."""
    tensors = {
        "levels": latents.levels,
        "lowest": latents.quantiser.lowest.float(),
        "step": latents.quantiser.step.float(),
    }
    described = {
        "shape": json.dumps(latents.shape),
        "bits": str(latents.quantiser.bits),
        "film": film_fingerprint,
    }
    with written_aside(path) as aside:
        save_file({name: t.cpu().contiguous() for name, t in tensors.items()}, aside, described)


def load(path: Path, film_fingerprint: str, device: torch.device) -> Latents:
    """Latents of the film that has this fingerprint; raises BadInput on any other file."""
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            said = file.metadata() or {}
            shape, bits = tuple(json.loads(said["shape"])), int(said["bits"])
            lowest, step, levels = (file.get_tensor(key) for key in ("lowest", "step", "levels"))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise BadInput(f"{path} holds no latents: {error}") from None
    if (
        levels.dtype != torch.uint8
        or levels.dim() != 2
        or {lowest.shape, step.shape} != {levels.shape[1:]}
        or math.prod(shape) != levels.shape[1]
    ):
        raise BadInput(f"{path} holds no latents: its tensors do not fit one another")
    if said["film"] != film_fingerprint:
        raise BadInput(f"{path} holds the latents of another film")
    return Latents(levels, shape, Quantiser(lowest, step, bits))
