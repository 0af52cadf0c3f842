"""The latents of a film at one number of bits, and the file that keeps them beside a run."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo.errors import BadInput, ZooError
from zoo.latents.packing import pack
from zoo.latents.quantise import BITS, Quantiser
from zoo.reading import check_tensors
from zoo.workspace import written_aside

_MOST_LEVELS = 1 << 31
_SHAPE = pydantic.TypeAdapter(tuple[Annotated[int, pydantic.Field(ge=0, le=1 << 24)], ...])


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
    """Keep latents as safetensors: `levels`, and a scale a dimension in `lowest` and `step`.

    Raises ZooError where they are more than `load` reads.
    """
    if latents.levels.numel() > _MOST_LEVELS:
        raise ZooError(
            f"latents of {latents.levels.numel():,} numbers are more than the {_MOST_LEVELS:,} "
            "that can be kept of a film; use a smaller latent or a part of the film"
        )
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
        check_tensors(path)
        with safe_open(path, "pt", device=str(device)) as file:
            said = file.metadata() or {}
            shape, bits = _SHAPE.validate_json(said["shape"]), int(said["bits"][:9])
            _check_parts(file, shape, bits)
            lowest, step, levels = (file.get_tensor(key) for key in ("lowest", "step", "levels"))
    except (OSError, SafetensorError, KeyError, ValueError, BadInput) as error:
        why = " ".join(str(error).split())[:200]
        raise BadInput(f"{path} holds no latents: {why}") from None
    if not (lowest.isfinite().all() and step.isfinite().all()):
        raise BadInput(f"{path} holds no latents: its scale is not finite")
    if said["film"] != film_fingerprint:
        raise BadInput(f"{path} holds the latents of another film")
    return Latents(levels, shape, Quantiser(lowest, step, bits))


def _check_parts(file: Any, shape: tuple[int, ...], bits: int) -> None:
    """Raise ValueError unless the tensors fit one another, before they take memory."""
    parts = {name: file.get_slice(name) for name in ("levels", "lowest", "step")}
    kinds = [part.get_dtype() for part in parts.values()]
    sides = {name: tuple(part.get_shape()) for name, part in parts.items()}
    if (
        kinds != ["U8", "F32", "F32"]
        or len(sides["levels"]) != 2
        or {sides["lowest"], sides["step"]} != {sides["levels"][1:]}
        or math.prod(shape) != sides["levels"][1]
        or math.prod(sides["levels"]) > _MOST_LEVELS
        or not 1 <= bits <= BITS
    ):
        raise ValueError("its tensors do not fit one another")
