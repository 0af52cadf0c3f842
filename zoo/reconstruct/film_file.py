"""The film file, `.zoo`: a safetensors file with a hash over every byte, read as untrusted input.

It holds a film's quantised latents in lossless coding, their scale, time codes and a versioned
description, and optionally the decoder's weights and the sound. docs/film-files.md specifies it.

The header and the hash are checked before anything else, so that a file which is truncated, damaged
or of another kind gives an error of one line. No memory is allocated for a size that a file only
claims.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pydantic
from safetensors import SafetensorError, safe_open

from zoo.api.recipe_and_events import FULL
from zoo.base.atomic_files import atomic_write
from zoo.base.errors import BadInput, ZooError
from zoo.base.frame_size import FrameSize
from zoo.base.safe_text import one_line
from zoo.base.time_code import TICKS, ends_of, unpack_ticks
from zoo.reconstruct.film_file_description import READ_VERSIONS, Description

if TYPE_CHECKING:
    from torch import Tensor


KEY = "film_zoo"
"""The only entry in the header's metadata: a `Description` as JSON."""
DECODER = "decoder."
"""Prefix of the decoder's tensor names."""
SCALE = "decoder_scale."
"""Prefix of the names of scales, which rounded tensors of the decoder have."""
LARGEST_HEADER = 8 << 20
LARGEST_PART = 512 << 20
"""Maximum bytes of a part except sound and decoder; hours of film take tens of megabytes."""
_UNSEALED = b"0" * 64
# The description is JSON inside a JSON string, so its quotation marks are escaped.
_SEAL = re.compile(rb'\\"content_sha256\\":\\"([0-9a-f]{64})\\"')

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Content:
    """The data of a film file, without its description and decoder."""

    latents: Bytes
    """Levels, packed by `zoo.evaluation.latents.pack_levels`."""
    lowest: Numbers
    """The value of level 0, (L,)."""
    step: Numbers
    """The difference between neighbouring levels, (L,)."""
    times: Bytes | None
    """Packed time codes; None if the rate is constant."""
    sound: Bytes | None
    """A complete MP4 with one track of sound."""


LARGEST_LEVELS = 2 << 30


def most_level_bytes(packed: int) -> int:
    """The maximum bytes that packed latents of a size may unpack to.

    It is not only a ratio, because constant latents pack to almost nothing.
    """
    return min(LARGEST_LEVELS, max(256 << 20, 64 * packed))


def write_container(
    path: Path, description: Description, content: Content, decoder: Mapping[str, Tensor]
) -> None:
    """Write a film file atomically; the same content gives the same bytes.

    `decoder` has the decoder's tensors and scales from `decoder_parts`.

    Raises ZooError, with nothing written, if the file would be too large to read.
    """
    import torch
    from safetensors.torch import save_file

    arrays = {name: array for name, array in vars(content).items() if array is not None}
    for name, array in arrays.items():
        if name != "sound" and array.nbytes > LARGEST_PART:
            raise _too_long(path, f"its {name} take {array.nbytes:,} bytes")
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    tensors |= decoder
    metadata = _as_json(description)
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, {KEY: metadata})
        with temporary.open("rb") as file:
            if (length := int.from_bytes(file.read(8), "little")) > LARGEST_HEADER:
                raise _too_long(path, f"its description takes {length:,} bytes")
        header, place = _sealed_header(temporary)
        digest = _digest(temporary, header, place)
        with temporary.open("r+b") as file:
            file.seek(8 + place)
            file.write(digest.encode())


def decoder_parts(decoder: Mapping[str, Tensor], bits: int) -> dict[str, Tensor]:
    """Convert a decoder's tensors for storage, with matrices and kernels in `bits` bits."""
    from zoo.training.weight_rounding import is_matrix, quantise_rows

    parts = {}
    for name, tensor in decoder.items():
        if bits < FULL and is_matrix(tensor):
            parts[DECODER + name], parts[SCALE + name] = quantise_rows(tensor, bits)
        else:
            parts[DECODER + name] = tensor
    return parts


def _too_long(path: Path, why: str) -> ZooError:
    return ZooError(f"{path}: this film does not fit into one file: {why}; encode a part of it")


def check_description_size(description: Description, film: str) -> None:
    """Raise BadInput if a description leaves no room for tensors in the header."""
    taken = len(json.dumps(_as_json(description)))
    if taken > LARGEST_HEADER // 2:
        raise BadInput(
            f"the tags and chapters of {film} take {taken:,} bytes; a film file has room for "
            f"{LARGEST_HEADER // 2:,}: shorten them in the source"
        )


def _as_json(description: Description) -> str:
    described = description.model_dump(mode="json")
    return json.dumps(described, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Container:
    """An open film file, whose hash was checked."""

    path: Path
    description: Description
    sizes: Mapping[str, int]

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size

    @property
    def decoder_names(self) -> list[str]:
        """Names of the decoder's tensors in the model; empty if the file has no decoder."""
        return [name.removeprefix(DECODER) for name in self.sizes if name.startswith(DECODER)]

    def content(self) -> Content:
        """Read everything except the decoder; raises BadInput if parts do not fit together."""
        with _opened(self.path, "numpy") as file:

            def array(name: str, kind: type[Any]) -> Any:
                if name not in self.sizes:
                    raise BadInput(f"{self.path} holds no {name}")
                if name != "sound" and self.sizes[name] > LARGEST_PART:
                    raise BadInput(f"{self.path}: {name} takes {self.sizes[name]:,} bytes")
                part = file.get_slice(name)
                if part.get_dtype() != {np.uint8: "U8", np.float32: "F32"}[kind] or (
                    len(part.get_shape()) != 1
                ):
                    raise BadInput(f"{self.path}: {name} has the wrong type or shape")
                return file.get_tensor(name)

            lowest, step = array("lowest", np.float32), array("step", np.float32)
            if not lowest.shape == step.shape == (math.prod(self.description.latent.shape),):
                raise BadInput(f"{self.path}: its scale does not fit its latents")
            if not (np.isfinite(lowest).all() and np.isfinite(step).all() and (step >= 0).all()):
                raise BadInput(f"{self.path}: its scale is not finite")
            if (self.description.sound is None) != ("sound" not in self.sizes):
                raise BadInput(f"{self.path}: its sound does not match its description")
            return Content(
                array("latents", np.uint8),
                lowest,
                step,
                array("times", np.uint8) if "times" in self.sizes else None,
                array("sound", np.uint8) if "sound" in self.sizes else None,
            )

    def decoder(self, device: str) -> dict[str, Tensor]:
        """Read the decoder's tensors by their names in the model, with rounded ones rescaled.

        Raises BadInput if a scale does not fit its tensor.
        """
        from zoo.training.weight_rounding import dequantise_rows

        # Rounded tensors are rescaled on the CPU, where results are bit-equal on all machines.
        rounded = {name.removeprefix(SCALE) for name in self.sizes if name.startswith(SCALE)}
        with _opened(self.path, "pt", device) as file, _opened(self.path, "pt") as on_cpu:
            tensors = {
                n: file.get_tensor(DECODER + n) for n in self.decoder_names if n not in rounded
            }
            for name in sorted(rounded):
                if DECODER + name not in self.sizes:
                    raise BadInput(f"{self.path}: its decoder has a scale without a tensor")
                levels, scale = (on_cpu.get_tensor(prefix + name) for prefix in (DECODER, SCALE))
                if not _is_rounded(levels, scale):
                    raise BadInput(
                        f"{self.path}: the scale of its {one_line(name, 80)} does not fit"
                    )
                tensors[name] = dequantise_rows(levels, scale)
        return tensors


def _is_rounded(levels: Tensor, scale: Tensor) -> bool:
    whole = not levels.is_floating_point() and levels.element_size() <= 2
    rows = tuple(levels.shape[:1])
    return whole and levels.dim() > 1 and scale.is_floating_point() and scale.shape == (*rows, 2)


def open_container(path: Path) -> Container:
    """Open a film file; raises BadInput if it is another kind of file or version, or damaged."""
    header, place = _sealed_header(path)
    if _digest(path, header, place) != header[place : place + 64].decode():
        raise BadInput(f"{path} is damaged: its content does not match its hash")
    with _opened(path, "numpy") as file:
        metadata = (file.metadata() or {}).get(KEY, "")
        sizes = {name: _size_of(file.get_slice(name)) for name in file.keys()}  # noqa: SIM118
    return Container(path, _description(path, metadata), sizes)


def _description(path: Path, metadata: str) -> Description:
    try:
        version = pydantic.TypeAdapter(dict[str, Any]).validate_json(metadata).get("schema_version")
        if version not in READ_VERSIONS:
            raise BadInput(
                f"{path} is a film file of version {one_line(str(version), 20)}; this film-zoo "
                f"reads versions {READ_VERSIONS[0]} to {READ_VERSIONS[-1]}"
            )
        return Description.model_validate_json(metadata)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = one_line(".".join(str(part) for part in first["loc"]) or "its description", 100)
        raise BadInput(f"{path} cannot be read: {where}: {first['msg'][:300]}") from None


def _sealed_header(path: Path) -> tuple[bytes, int]:
    """Read the JSON header, without its eight bytes of length, and the position of the hash."""
    if path.exists() and not path.is_file():
        raise BadInput(f"{path} is not a file")
    try:
        with path.open("rb") as file:
            whole = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if whole < 8 or not 2 <= length <= min(LARGEST_HEADER, whole - 8):
                raise BadInput(
                    f"{path} is not a film file, or not a complete one: `zoo encode` "
                    "writes one, and `zoo films info` describes a video"
                )
            header = file.read(length)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    places = [match.start(1) for match in _SEAL.finditer(header)]
    if len(places) != 1 or f'"{KEY}"'.encode() not in header:
        raise BadInput(
            f"{path} is not a film file: `zoo encode` writes one, and "
            "`zoo films info` describes a video"
        )
    return header, places[0]


def _digest(path: Path, header: bytes, place: int) -> str:
    """SHA-256 of the file with zeros in place of its hash."""
    unsealed = header[:place] + _UNSEALED + header[place + 64 :]
    hashed = hashlib.sha256(len(header).to_bytes(8, "little") + unsealed)
    with path.open("rb") as file:
        file.seek(8 + len(header))
        return hashlib.file_digest(file, lambda: hashed).hexdigest()


def _size_of(part: Any) -> int:
    bits = {"BOOL": 8, "BF16": 16}.get(part.get_dtype()) or int(
        re.sub(r"^[A-Z]+(\d+).*$", r"\1", part.get_dtype())
    )
    return math.prod(part.get_shape()) * bits // 8


@contextmanager
def _opened(path: Path, framework: str, device: str = "cpu") -> Iterator[Any]:
    try:
        with safe_open(path, framework, device=device) as file:
            yield file
    except (SafetensorError, OSError, ValueError) as error:
        raise BadInput(f"{path} is damaged: {error}") from None


class FileSummary(pydantic.BaseModel):
    """Contents of a film file, sizes of its parts in bytes, rates of the file and of latents."""

    film: str
    title: str
    licence: str | None
    model: str
    origin: str
    """Package and version of the architecture."""
    trained_on: str
    run: str
    weights: str
    size: str
    frames: int
    seconds: float
    frames_per_second: float
    numbers: int
    bits: int
    bytes: int
    header_bytes: int
    """Bytes of the header: the description, and the names and sizes of all parts."""
    latent_bytes: int
    scale_bytes: int
    time_bytes: int
    decoder_bytes: int | None
    """Bytes of the decoder in the file; null if it has none."""
    decoder_bits: int | None
    """Bits per weight of the decoder's matrices and kernels; null without a decoder."""
    bytes_with_decoder: int | None
    """Bytes of the file and the decoder it needs; null if the decoder's size is not stated."""
    sound_bytes: int | None
    sound: str | None
    bytes_per_frame: float
    latent_bytes_per_frame: float
    kilobits_per_second: float
    latent_kilobits_per_second: float
    source_bytes: int
    share_of_source: float | None
    """`bytes_with_decoder` over bytes of the source files with sound; null if not known."""
    share_of_raw: float | None
    """`bytes_with_decoder` over bytes of the model's input frames, three per pixel."""


def summarise(container: Container) -> FileSummary:
    """Summarise an open film file; raises BadInput if its parts do not fit together."""
    description, sizes = container.description, container.sizes
    film, config = description.film, description.model.config
    content = container.content()
    packed = None if content.times is None else content.times.tobytes()
    ticks = unpack_ticks(packed, film.frames, film.fps, film.first_tick)
    seconds = ends_of(ticks, film.fps) - float(ticks[0]) / TICKS
    whole, latents = container.size, sizes["latents"]
    decoder = sum(size for name, size in sizes.items() if name.startswith((DECODER, SCALE)))
    needed = description.model.decoder_bytes
    with_decoder = whole if decoder else None if needed is None else whole + needed
    raw = film.frames * FrameSize.parse(config.size).pixels * 3
    return FileSummary(
        film=film.name,
        title=film.title,
        licence=film.licence,
        model=config.model,
        origin=config.origin,
        trained_on=config.film,
        run=description.model.run,
        weights=description.model.weights,
        size=config.size,
        frames=film.frames,
        seconds=seconds,
        frames_per_second=float(film.fps),
        numbers=content.lowest.size,
        bits=description.latent.bits,
        bytes=whole,
        header_bytes=whole - sum(sizes.values()),
        latent_bytes=latents,
        scale_bytes=sizes["lowest"] + sizes["step"],
        time_bytes=sizes.get("times", 0),
        decoder_bytes=decoder or None,
        decoder_bits=description.model.decoder_bits if decoder else None,
        bytes_with_decoder=with_decoder,
        sound_bytes=sizes.get("sound"),
        sound=description.sound.summary if description.sound else None,
        bytes_per_frame=whole / film.frames,
        latent_bytes_per_frame=latents / film.frames,
        kilobits_per_second=whole * 8 / seconds / 1000,
        latent_kilobits_per_second=latents * 8 / seconds / 1000,
        source_bytes=film.source_bytes,
        share_of_source=_share(with_decoder, film.source_bytes),
        share_of_raw=_share(with_decoder, raw),
    )


def _share(part: int | None, whole: int) -> float | None:
    return part / whole if part is not None and whole else None
