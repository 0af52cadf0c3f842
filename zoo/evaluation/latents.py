"""Latents of a film: quantised, packed without loss, and kept in a file beside a run."""

from __future__ import annotations

import functools
import json
import lzma
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pydantic
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo.api.samples_and_latents import BITS, MOST_CODES, LatentSpec, code_bits
from zoo.base.atomic_files import atomic_write
from zoo.base.errors import BadInput, ZooError
from zoo.base.untrusted_files import check_regular, check_tensors

_MOST_LEVELS = 1 << 31
_TORCH_TYPES = {1: torch.uint8, 2: torch.uint16, 4: torch.uint32}
"""Types of levels in the file, by bytes per level."""
_FILE_TYPES = {1: "U8", 2: "U16", 4: "U32"}
_SHAPE = pydantic.TypeAdapter(tuple[Annotated[int, pydantic.Field(ge=0, le=1 << 24)], ...])

Levels = npt.NDArray[np.unsignedinteger[Any]]
"""Whole numbers from 0 in 8, 16 or 32 bits each."""

# Levels have no word structure, only neighbours in time, so no position bits (lp, pb) are used.
_FILTER: dict[str, Any] = {"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 4, "lp": 0, "pb": 0}
_LARGEST_DICTIONARY, _SMALLEST_DICTIONARY = 64 << 20, 4096
"""Bytes; the first is that of preset 9."""
_FAST_PRESET = 1
"""Used to find the shorter layout, in a tenth of the time of preset 9."""
_CLOSE = 1.05
"""If the layouts' sizes differ by no more than this factor, both are coded with preset 9."""
_VALUES, _DIFFERENCES = 0, 1


@dataclass(frozen=True)
class Quantiser:
    """A uniform scale for each latent dimension, over the range that the training film spans."""

    lowest: Tensor
    """(L,)"""
    step: Tensor
    """(L,); zero where the dimension is constant."""
    bits: int = BITS
    codes: int | None = None
    """Number of codes, where a model declares that its latents are codes."""

    @classmethod
    def of(cls, spec: LatentSpec, numbers: Tensor) -> Quantiser:
        """The quantiser that scores are measured with: 8 bits over the range of latents (N, L).

        Codes are kept exactly.
        """
        if spec.codes is None:
            return cls.spanning(numbers)
        return cls.of_codes(spec.codes, numbers.shape[1], numbers.device)

    @classmethod
    def of_codes(cls, codes: int, numbers: int, device: torch.device | None = None) -> Quantiser:
        """An exact quantiser for latents of `numbers` codes each, from 0 to `codes` - 1."""
        if not 1 <= codes <= MOST_CODES:
            raise ValueError(f"a latent must have from 1 to {MOST_CODES:,} codes; not {codes}")
        zeros = torch.zeros(numbers, device=device)
        return cls(zeros, zeros + 1, code_bits(codes), codes)

    @classmethod
    def spanning(cls, numbers: Tensor, bits: int = BITS) -> Quantiser:
        """Fit a quantiser to real latents (N, L): 2**bits levels from the lowest to the highest."""
        if not 1 <= bits <= 8:
            raise ValueError(f"latents must have from 1 to 8 bits per number; not {bits}")
        if not numbers.numel():
            empty = numbers.new_zeros(numbers.shape[1])
            return cls(empty, empty, bits)
        lowest, highest = numbers.aminmax(dim=0)
        return cls(lowest, (highest - lowest) / (2**bits - 1), bits)

    @property
    def width(self) -> int:
        """Bytes of a stored level: 1, 2 or 4."""
        return bytes_of_level(self.bits)

    def coarser(self, bits: int) -> Quantiser:
        """Return a quantiser of the same range with 2**bits levels."""
        finest, levels = 2**self.bits - 1, 2**bits - 1
        return Quantiser(self.lowest, self.step * (finest / levels), bits)

    def to(self, device: torch.device) -> Quantiser:
        """The same quantiser on a device."""
        lowest, step = self.lowest.to(device), self.step.to(device)
        return Quantiser(lowest, step, self.bits, self.codes)

    def quantise(self, numbers: Tensor) -> Tensor:
        """Latents (N, L) to levels, whole numbers from 0 (N, L); values out of range are clipped.

        uint8, or int32 where levels have more than 8 bits: torch has few operations for uint16.
        """
        scale = torch.where(self.step > 0, self.step, torch.ones_like(self.step))
        highest = 2**self.bits - 1 if self.codes is None else self.codes - 1
        levels = ((numbers - self.lowest) / scale).round().clamp(0, highest)
        return levels.byte() if self.width == 1 else levels.int()

    def dequantise(self, levels: Tensor) -> Tensor:
        """Levels (N, L) back to latents, float32 (N, L)."""
        return levels.float() * self.step + self.lowest

    def round_trip(self, latents: Tensor) -> Tensor:
        """Latents (N, ...) as `decode` gets them after storage: float32 (N, ...)."""
        return self.dequantise(self.quantise(latents.flatten(1))).view(latents.shape)


@dataclass(frozen=True)
class EncodedFilm:
    """A film as a model encodes it, before quantisation."""

    numbers: Tensor
    """float32 (N, L), in the film's order."""
    shape: tuple[int, ...]
    """Of one latent as the model gives it."""
    frames: int
    """Frames encoded: more than N with a window."""

    def quantised(self, quantiser: Quantiser) -> Latents:
        """Round to the levels of a quantiser."""
        return Latents(quantiser.quantise(self.numbers), self.shape, quantiser, self.frames)


@dataclass(frozen=True)
class Latents:
    """Quantised latents of a film."""

    levels: Tensor
    """uint8 (N, L), in the film's order; int32 where a level has more than 8 bits."""
    shape: tuple[int, ...]
    """Of one latent as the model gives it."""
    quantiser: Quantiser
    frames: int
    """Frames encoded: more than N with a window."""

    def dequantised(self, indices: slice | list[int] | Tensor) -> Tensor:
        """Some latents as `decode` takes them: float32 (B, ...), on the quantiser's device."""
        levels = self.levels[indices].to(self.quantiser.lowest.device)
        return self.quantiser.dequantise(levels).unflatten(1, self.shape)

    @functools.cached_property
    def packed(self) -> bytes:
        """All levels after lossless coding; it takes seconds per megabyte, so it is cached."""
        return pack_levels(self.array)

    @property
    def array(self) -> Levels:
        """The levels as unsigned whole numbers of 8, 16 or 32 bits: (N, L)."""
        return self.levels.cpu().numpy().astype(f"u{self.quantiser.width}", copy=False)

    @property
    def bytes_per_frame(self) -> float:
        """Mean size after lossless coding, without the scale."""
        return len(self.packed) / max(1, self.frames)

    @property
    def bits_per_frame(self) -> float:
        """Mean size before lossless coding."""
        return self.levels.numel() * self.quantiser.bits / max(1, self.frames)


def save_latents(path: Path, latents: Latents, film_fingerprint: str) -> None:
    """Save latents as safetensors: `levels`, and `lowest` and `step` of each dimension.

    Raises ZooError if they are larger than `load_latents` accepts.
    """
    if latents.levels.numel() > _MOST_LEVELS:
        raise ZooError(
            f"latents of {latents.levels.numel():,} numbers are more than the {_MOST_LEVELS:,} "
            "that can be kept of a film; use a smaller latent or a part of the film"
        )
    tensors = {
        "levels": latents.levels.cpu().to(_TORCH_TYPES[latents.quantiser.width]),
        "lowest": latents.quantiser.lowest.float(),
        "step": latents.quantiser.step.float(),
    }
    metadata = {
        "shape": json.dumps(latents.shape),
        "frames": str(latents.frames),
        "film": film_fingerprint,
        **bits_metadata(latents.quantiser),
    }
    with atomic_write(path) as temporary:
        save_file({name: t.cpu().contiguous() for name, t in tensors.items()}, temporary, metadata)


def load_latents(path: Path, film_fingerprint: str, device: torch.device) -> Latents:
    """Load the latents of the film with this fingerprint; raises BadInput on any other file."""
    try:
        check_tensors(path)
        with safe_open(path, "pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            shape = _SHAPE.validate_json(metadata["shape"])
            bits, codes = parse_bits_metadata(metadata)
            frames, film = int(metadata["frames"][:12]), metadata["film"]
            _check_tensors_fit(file, shape, bits)
            lowest, step, levels = (file.get_tensor(key) for key in ("lowest", "step", "levels"))
        # torch has few operations for wider unsigned types.
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


def latents_are_of(path: Path, film_fingerprint: str) -> bool:
    """Whether a latents file is of the film with this fingerprint; raises BadInput if damaged."""
    try:
        check_tensors(path)
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("film") == film_fingerprint
    except (OSError, SafetensorError, BadInput) as error:
        raise BadInput(f"{path} holds no latents: {error}") from None


LARGEST_SCALE = 256 << 20
"""Bytes of a quantiser's file: twice what latents of sixteen million numbers need."""


def save_scale(path: Path, quantiser: Quantiser) -> None:
    """Save a quantiser alone: `lowest` and `step`, float32 (L,); its bits are in the metadata."""
    tensors = {
        "lowest": quantiser.lowest.float().cpu().contiguous(),
        "step": quantiser.step.float().cpu().contiguous(),
    }
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, bits_metadata(quantiser))


def load_scale(path: Path, device: torch.device) -> Quantiser:
    """Load a quantiser that was saved alone; raises BadInput on any other file."""
    try:
        check_regular(path, LARGEST_SCALE)
        check_tensors(path)
        with safe_open(path, "pt", device=str(device)) as file:
            bits, codes = parse_bits_metadata(file.metadata() or {})
            lowest, step = file.get_tensor("lowest"), file.get_tensor("step")
    except (OSError, SafetensorError, KeyError, ValueError, BadInput) as error:
        raise BadInput(f"{path} holds no scale: {error}") from None
    fits = lowest.dim() == 1 and lowest.shape == step.shape
    if not fits or not (lowest.isfinite().all() and step.isfinite().all()):
        raise BadInput(f"{path} holds no scale that fits")
    return Quantiser(lowest, step, bits, codes)


def quantiser_of_training(
    latents: Path, scale: Path, film_fingerprint: str, device: torch.device
) -> Quantiser | None:
    """The quantiser of the training film's latents: from their file, else saved alone, else None.

    Raises BadInput if the file is damaged.
    """
    if latents.exists():
        return load_latents(latents, film_fingerprint, device).quantiser
    return load_scale(scale, device) if scale.exists() else None


def bits_metadata(quantiser: Quantiser) -> dict[str, str]:
    """The metadata beside the tensors `lowest` and `step` of a quantiser."""
    codes = {} if quantiser.codes is None else {"codes": str(quantiser.codes)}
    return {"bits": str(quantiser.bits), **codes}


def parse_bits_metadata(metadata: Mapping[str, str]) -> tuple[int, int | None]:
    """Return the bits per number, and the number of codes if any; raises ValueError, KeyError."""
    bits = int(metadata["bits"][:9])
    codes = int(metadata["codes"][:9]) if "codes" in metadata else None
    if codes is None and not 1 <= bits <= BITS:
        raise ValueError(f"numbers must have from 1 to {BITS} bits")
    if codes is not None and not (1 <= codes <= MOST_CODES and bits == code_bits(codes)):
        raise ValueError("its codes do not fit its bits")
    return bits, codes


def _check_tensors_fit(file: Any, shape: tuple[int, ...], bits: int) -> None:
    """Raise ValueError unless the tensors fit one another, before they are loaded."""
    parts = {name: file.get_slice(name) for name in ("levels", "lowest", "step")}
    types = [part.get_dtype() for part in parts.values()]
    sides = {name: tuple(part.get_shape()) for name, part in parts.items()}
    if (
        types != [_FILE_TYPES[bytes_of_level(bits)], "F32", "F32"]
        or len(sides["levels"]) != 2
        or {sides["lowest"], sides["step"]} != {sides["levels"][1:]}
        or math.prod(shape) != sides["levels"][1]
        or math.prod(sides["levels"]) > _MOST_LEVELS
    ):
        raise ValueError("its tensors do not fit one another")


def bytes_of_level(bits: int) -> int:
    """Bytes in which a level of so many bits is kept: 1, 2 or 4."""
    return 1 if bits <= 8 else 2 if bits <= 16 else 4


def pack_levels(levels: Levels) -> bytes:
    """Code levels, uint8, uint16 or uint32 (N, L) in the film's order, by LZMA.

    Each dimension is laid out through time, as values or as differences from the frame before
    (modulo the type's range), whichever is shorter; the first byte says which. Levels of several
    bytes are split into planes: the lowest bytes of all of them, then the next ones.
    """
    through_time = np.ascontiguousarray(levels.T)
    if not through_time.size:
        return b""
    first = np.zeros((len(through_time), 1), dtype=through_time.dtype)
    layouts = {
        _VALUES: _planes(through_time),
        _DIFFERENCES: _planes(np.diff(through_time, axis=1, prepend=first)),
    }
    sizes = {layout: len(_lzma(data, preset=_FAST_PRESET)) for layout, data in layouts.items()}
    candidates = [n for n in layouts if sizes[n] <= _CLOSE * min(sizes.values())]
    return min((bytes([n]) + _lzma(layouts[n]) for n in candidates), key=len)


def unpack_levels(packed: bytes, frames: int, numbers: int, width: int = 1) -> Levels:
    """Decode packed levels: (frames, numbers), unsigned, of `width` bytes each.

    Raises BadInput if the bytes do not hold exactly that many; at most one byte more than that is
    decoded.
    """
    kind = np.dtype(f"<u{width}")
    wanted = frames * numbers * width
    if not packed and not wanted:
        return np.zeros((frames, numbers), dtype=kind)
    if not packed or packed[0] not in (_VALUES, _DIFFERENCES):
        raise BadInput("the coded latents begin with no layout that is known")
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[_FILTER])
    try:
        # One byte more than wanted, so that too many are noticed.
        flat = decoder.decompress(packed[1:], max_length=wanted + 1)
    except lzma.LZMAError:
        raise BadInput("the coded latents are damaged") from None
    if len(flat) != wanted:
        raise BadInput(f"the coded latents do not hold {frames:,} frames of {numbers:,} numbers")
    planes = np.frombuffer(flat, dtype=np.uint8).reshape(width, numbers, frames)
    rows = np.ascontiguousarray(np.moveaxis(planes, 0, -1)).view(kind)[..., 0]
    if packed[0] == _DIFFERENCES:
        rows = np.add.accumulate(rows, axis=1, dtype=kind)
    # Copied even where that is not needed for the order: bytes of a file are read-only.
    return np.array(rows.T, order="C")


def _planes(rows: Levels) -> bytes:
    """The lowest byte of every level, then the next one of every level, and so on."""
    width = rows.dtype.itemsize
    split = rows.astype(f"<u{width}").view(np.uint8).reshape(*rows.shape, width)
    return np.moveaxis(split, -1, 0).tobytes()


def _lzma(data: bytes, **settings: int) -> bytes:
    # A dictionary beyond the data changes no byte, and clearing its tables takes longer than
    # coding a short film. Decoding takes any up to that of `_FILTER`.
    size = min(max(len(data), _SMALLEST_DICTIONARY), _LARGEST_DICTIONARY)
    chosen = {**_FILTER, "dict_size": size, **settings}
    return lzma.compress(data, lzma.FORMAT_RAW, filters=[chosen])
