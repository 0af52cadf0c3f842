"""The contract for a film codec: a whole film in, bytes out, and the film again from the bytes.

A codec is a reference that is not frame-wise: a coded frame leans on the frames around it, so
there is no latent of one frame, and nothing that could be held out. What it is given is a number
of bytes per frame, those of the models' latents; what is counted is the stream it returns.
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
"""How far a stream's length may lie from what was asked before the report says so."""


@names_its_fields
@dataclass(frozen=True)
class CodedFilm:
    """A film as a codec stores it."""

    stream: bytes
    """All that `decode` may see; every byte of it is counted."""
    seconds: float | None = None
    """How long this coding took, a search for it aside; None where nobody looked."""
    note: str = ""
    """Why the stream is not as long as was asked, where it is not: a clause without a full stop."""


class CodecOptions(pydantic.BaseModel):
    """A codec's settings, typed and described: `--set quality=8` on the command line.

    Subclass it as `Options` inside the codec and give every field a default and a description.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _silent(line: str) -> None:
    """Discard a line of progress."""


def _forgotten(state: Mapping[str, torch.Tensor]) -> None:
    """Keep no state."""


def _nothing() -> None:
    """Have no state."""


@dataclass(frozen=True)
class CodingTerms:
    """What a codec is given beside the film: how many bytes, and what models are given, too."""

    bytes_per_frame: float
    """To spend on a frame, on average: what the models' latents have."""
    seed: int = 0
    """All chance of a codec that trains comes from it; 0 for one that does not train."""
    budget: Budget | None = None
    """What models may train for, in steps, frames, epochs or seconds; `budget.steps(len(film),
    batch)` are steps, None if the clock decides. None for a codec that does not train."""
    batch: int = 1
    """Frames in a training step of the models."""
    device: torch.device | None = None
    """Where to compute; None, and the processor for a codec that does not train."""
    say: Callable[[str], None] = _silent
    """Called with a line of text, shows how far the coding is and keeps it in `coding.log`."""
    save: Callable[[Mapping[str, torch.Tensor]], None] = _forgotten
    """Called with tensors by name, of any device, writes them in place of those saved before."""
    load: Callable[[], dict[str, torch.Tensor] | None] = _nothing
    """The tensors that an interrupted coding on the same terms saved last, on the processor; None
    at the first attempt."""


class FilmCodec:
    """Base of every codec: subclass it, and return the class from the hook `zoo_references`.

    Its own attributes and methods are those below; every other name is a subclass's to use.
    """

    name: ClassVar[str]
    """What tables call it."""
    summary: ClassVar[str]
    """One line for tables."""
    role: ClassVar[Literal["reference"]] = "reference"
    suffix: ClassVar[str] = "bin"
    """How the name of a file that holds the stream ends."""
    default: ClassVar[bool] = True
    """Whether it is part of a comparison that names no codec in `--models`."""
    trains: ClassVar[bool] = False
    """Whether its terms have a seed and a budget: each seed and budget is a coding of its own."""
    Options: ClassVar[type[CodecOptions]] = CodecOptions

    def __init__(self, size: FrameSize, options: CodecOptions | None = None) -> None:
        self.size = size
        self.options = self.Options() if options is None else options

    def code(self, film: Film, terms: CodingTerms) -> CodedFilm:
        """Code every frame of a film of this size in `terms.bytes_per_frame` bytes, on average.

        Within `TOLERANCE` of it, or as near as the codec comes, with a note that says why. Frames
        are `film.store.array[i]`, uint8 (H, W, 3), RGB, full range. Raises ZooError where the
        codec is not there or refuses the film.
        """
        raise TypeError(f"{type(self).__name__} defines no code(film, terms)")

    def decode(self, stream: bytes) -> Iterator[npt.NDArray[np.uint8]]:
        """Decode the film from the stream alone: every frame in order, uint8 (H, W, 3), RGB."""
        raise TypeError(f"{type(self).__name__} defines no decode(stream)")


def make_codec(codec: type[FilmCodec], size: FrameSize, options: Mapping[str, Any]) -> FilmCodec:
    """An instance with options as a user gives them; raises BadInput on a wrong one.

    A codec without options may be written with `__init__(self, size)`.
    """
    read = validated(codec.name, codec.Options, options)
    return codec(size, read) if codec.Options.model_fields else codec(size)
