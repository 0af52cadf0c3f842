"""The latents of a film at one number of bits, and the file that keeps them beside a run."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pydantic
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo.api.latent_spec import BITS, MOST_CODES, code_bits
from zoo.base.errors import BadInput, ZooError
from zoo.base.untrusted_files import check_tensors
from zoo.base.workspace import written_aside
from zoo.latents.packing import Levels, pack, width_of
from zoo.latents.quantise import Quantiser

_MOST_LEVELS = 1 << 31
_KINDS = {1: torch.uint8, 2: torch.uint16, 4: torch.uint32}
"""Of levels in the file, by their bytes."""
_NAMES = {1: "U8", 2: "U16", 4: "U32"}
_SHAPE = pydantic.TypeAdapter(tuple[Annotated[int, pydantic.Field(ge=0, le=1 << 24)], ...])


@dataclass(frozen=True)
class Encoded:
    """A film as a model encodes it, before anything is rounded."""

    numbers: Tensor
    """float32 (N, L), in the film's order."""
    shape: tuple[int, ...]
    """Of one latent as the model gives it."""
    frames: int
    """How many frames they are of: more than N with a window."""

    def quantised(self, quantiser: Quantiser) -> Latents:
        """Round to the levels of a scale."""
        return Latents(quantiser.levels(self.numbers), self.shape, quantiser, self.frames)


@dataclass(frozen=True)
class Latents:
    """A film in numbers of a few bits."""

    levels: Tensor
    """uint8 (N, L), in the film's order; int32 where a level has more than 8 bits."""
    shape: tuple[int, ...]
    """Of one latent as the model gives it."""
    quantiser: Quantiser
    frames: int
    """How many frames they are of."""

    def restored(self, indices: slice | list[int] | Tensor) -> Tensor:
        """What `decode` gets for those latents: float32 (B, ...)."""
        return self.quantiser.numbers(self.levels[indices]).unflatten(1, self.shape)

    @functools.cached_property
    def packed(self) -> bytes:
        """All of them after lossless coding, which takes seconds a megabyte: it is done once."""
        return pack(self.array)

    @property
    def array(self) -> Levels:
        """The levels as whole numbers of 8, 16 or 32 bits: (N, L)."""
        return self.levels.cpu().numpy().astype(f"u{self.quantiser.width}", copy=False)

    @property
    def bytes_per_frame(self) -> float:
        """On disk, averaged over the film, after lossless coding; the scales are not counted."""
        return len(self.packed) / max(1, self.frames)

    @property
    def bits_per_frame(self) -> float:
        """Before lossless coding, averaged over the film."""
        return self.levels.numel() * self.quantiser.bits / max(1, self.frames)


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
        "levels": latents.levels.cpu().to(_KINDS[latents.quantiser.width]),
        "lowest": latents.quantiser.lowest.float(),
        "step": latents.quantiser.step.float(),
    }
    described = {
        "shape": json.dumps(latents.shape),
        "frames": str(latents.frames),
        "film": film_fingerprint,
        **written_bits(latents.quantiser),
    }
    with written_aside(path) as aside:
        save_file({name: t.cpu().contiguous() for name, t in tensors.items()}, aside, described)


def load(path: Path, film_fingerprint: str, device: torch.device) -> Latents:
    """Latents of the film that has this fingerprint; raises BadInput on any other file."""
    try:
        check_tensors(path)
        with safe_open(path, "pt", device=str(device)) as file:
            said = file.metadata() or {}
            shape, (bits, codes) = _SHAPE.validate_json(said["shape"]), read_bits(said)
            frames, film = int(said["frames"][:12]), said["film"]
            _check_parts(file, shape, bits)
            lowest, step, levels = (file.get_tensor(key) for key in ("lowest", "step", "levels"))
        # Torch can do little with wider types that have no sign.
        levels = levels if levels.dtype == torch.uint8 else levels.to(torch.int32)
        lowest_level, highest = (int(end) for end in levels.aminmax()) if levels.numel() else (0, 0)
        if codes is not None and not 0 <= lowest_level <= highest < codes:
            raise ValueError(f"it has other codes than the {codes:,} that it declares")
    except (OSError, SafetensorError, KeyError, ValueError, BadInput) as error:
        why = " ".join(str(error).split())[:200]
        raise BadInput(f"{path} holds no latents: {why}") from None
    if not (lowest.isfinite().all() and step.isfinite().all()):
        raise BadInput(f"{path} holds no latents: its scale is not finite")
    if film != film_fingerprint:
        raise BadInput(f"{path} holds the latents of another film")
    return Latents(levels, shape, Quantiser(lowest, step, bits, codes), frames)


def written_bits(quantiser: Quantiser) -> dict[str, str]:
    """What a safetensors file says of a scale beside the tensors `lowest` and `step`."""
    codes = {} if quantiser.codes is None else {"codes": str(quantiser.codes)}
    return {"bits": str(quantiser.bits), **codes}


def read_bits(said: Mapping[str, str]) -> tuple[int, int | None]:
    """Bits a number, and how many codes there are, if any; raises ValueError or KeyError."""
    bits = int(said["bits"][:9])
    codes = int(said["codes"][:9]) if "codes" in said else None
    if codes is None and not 1 <= bits <= BITS:
        raise ValueError(f"numbers have from 1 to {BITS} bits")
    if codes is not None and not (1 <= codes <= MOST_CODES and bits == code_bits(codes)):
        raise ValueError("its codes do not fit its bits")
    return bits, codes


def _check_parts(file: Any, shape: tuple[int, ...], bits: int) -> None:
    """Raise ValueError unless the tensors fit one another, before they take memory."""
    parts = {name: file.get_slice(name) for name in ("levels", "lowest", "step")}
    kinds = [part.get_dtype() for part in parts.values()]
    sides = {name: tuple(part.get_shape()) for name, part in parts.items()}
    if (
        kinds != [_NAMES[width_of(bits)], "F32", "F32"]
        or len(sides["levels"]) != 2
        or {sides["lowest"], sides["step"]} != {sides["levels"][1:]}
        or math.prod(shape) != sides["levels"][1]
        or math.prod(sides["levels"]) > _MOST_LEVELS
    ):
        raise ValueError("its tensors do not fit one another")
