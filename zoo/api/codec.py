"""The contract for a film codec: it encodes a whole film to bytes and decodes it from them.

A codec is a reference that does not work per frame: coded frames depend on neighbouring frames, so
a frame has no latent of its own, and no frame can be held out. It is given a number of bytes per
frame, the size of the models' latents; the size of the stream that it returns is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from zoo.base.frame_size import FrameSize
from zoo.base.option_validation import names_its_fields, validated

if TYPE_CHECKING:
    import torch

    from zoo.base.presets_and_budgets import Budget
    from zoo.films.ingested_film import Film

TOLERANCE = 0.03
"""Relative deviation from the requested length above which the report mentions it."""


@names_its_fields
@dataclass(frozen=True)
class CodedFilm:
    """A film as a codec stores it."""

    stream: bytes
    """The only input of `decode`; every byte of it is counted."""
    seconds: float | None = None
    """Time that this encoding took, without the search for its settings; None if not measured."""
    note: str = ""
    """Why the stream does not have the requested length, if so: a clause without a full stop."""


class CodecOptions(pydantic.BaseModel):
    """A codec's settings, typed and described; set on the command line by `--set quality=8`.

    Subclass it as `Options` inside the codec and give every field a default and a description.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _silent(line: str) -> None:
    """Discard a progress line."""


def _forgotten(state: Mapping[str, torch.Tensor]) -> None:
    """Discard the state."""


def _nothing() -> None:
    """Return None: no state was saved."""


@dataclass(frozen=True)
class CodingTerms:
    """What a codec is given in addition to the film: its byte budget, and what models get too."""

    bytes_per_frame: float
    """Average size of a coded frame to aim for: the size of the models' latents."""
    seed: int = 0
    """Seed of all randomness in a codec that trains; 0 for one that does not."""
    budget: Budget | None = None
    """The models' training budget, in steps, frames, epochs or seconds; `budget.steps(len(film),
    batch)` gives steps, None for a budget in seconds. None for a codec that does not train."""
    batch: int = 1
    """Frames per training step of the models."""
    device: torch.device | None = None
    """Device to compute on. A codec that does not train gets the CPU, or None."""
    say: Callable[[str], None] = _silent
    """Shows a line of text as progress, and appends it to `coding.log`."""
    save: Callable[[Mapping[str, torch.Tensor]], None] = _forgotten
    """Saves tensors by name, from any device, in place of those saved before."""
    load: Callable[[], dict[str, torch.Tensor] | None] = _nothing
    """Returns the tensors, on the CPU, that an interrupted encoding on the same terms saved last;
    None at the first attempt."""


class FilmCodec:
    """Base class of every codec: subclass it, and return the class from the hook `zoo_references`.

    It uses only the attributes and methods below; a subclass may use every other name.
    """

    name: ClassVar[str]
    """Name in tables."""
    summary: ClassVar[str]
    """One line for tables."""
    role: ClassVar[Literal["reference"]] = "reference"
    suffix: ClassVar[str] = "bin"
    """Suffix of a file that holds the stream."""
    default: ClassVar[bool] = True
    """Whether a comparison includes it when `--models` names no codec."""
    trains: ClassVar[bool] = False
    """Whether its terms include a seed and a budget; each combination is encoded separately."""
    Options: ClassVar[type[CodecOptions]] = CodecOptions

    def __init__(self, size: FrameSize, options: CodecOptions | None = None) -> None:
        self.size = size
        self.options = self.Options() if options is None else options

    def code(self, film: Film, terms: CodingTerms) -> CodedFilm:
        """Encode every frame of a film of this size in `terms.bytes_per_frame` bytes on average.

        The result is within `TOLERANCE` of this, or as near as the codec gets, with a note that
        says why. Frames are `film.store.array[i]`, uint8 (H, W, 3), RGB, full range. Raises
        ZooError if the codec is not available or refuses the film.
        """
        raise TypeError(f"{type(self).__name__} defines no code(film, terms)")

    def decode(self, stream: bytes) -> Iterator[npt.NDArray[np.uint8]]:
        """Decode the film from the stream alone: every frame in order, uint8 (H, W, 3), RGB."""
        raise TypeError(f"{type(self).__name__} defines no decode(stream)")


def make_codec(codec: type[FilmCodec], size: FrameSize, options: Mapping[str, Any]) -> FilmCodec:
    """Make a codec with a user's options; raises BadInput on an invalid one.

    A codec without options may define `__init__(self, size)`.
    """
    read = validated(codec.name, codec.Options, options)
    return codec(size, read) if codec.Options.model_fields else codec(size)
