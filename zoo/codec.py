"""The contract for a film codec: a whole film in, bytes out, and the film again from the bytes.

A codec is a reference that is not frame-wise: a coded frame leans on the frames around it, so
there is no latent of one frame, and nothing that could be held out. What it is given is a number
of bytes a frame, those of the models' latents; what is counted is the stream it hands back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from zoo.frame_size import FrameSize

if TYPE_CHECKING:
    from zoo.films.film import Film

TOLERANCE = 0.03
"""How far a stream's length may lie from what was asked before the report says so."""


@dataclass(frozen=True)
class CodedFilm:
    """A film as a codec stores it."""

    stream: bytes
    """All that `decode` may see; every byte of it is counted."""
    seconds: float | None = None
    """How long this coding took, a search for it aside; None where nobody looked."""
    note: str = ""
    """Why the stream is not as long as was asked, where it is not: a clause without a full stop."""


class FilmCodec:
    """Base of every codec: subclass it, and return the class from the hook `zoo_references`."""

    name: ClassVar[str]
    """What tables call it."""
    summary: ClassVar[str]
    """One line for tables."""
    role: ClassVar[Literal["reference"]] = "reference"
    suffix: ClassVar[str] = "bin"
    """How the name of a file that holds the stream ends."""

    def __init__(self, size: FrameSize) -> None:
        self.size = size

    def code(self, film: Film, bytes_a_frame: float) -> CodedFilm:
        """Code every frame of a film of this size in `bytes_a_frame` bytes each, on average.

        Within `TOLERANCE` of it, or as near as the codec comes, with a note that says why. Frames
        are `film.store.array[i]`, uint8 (H, W, 3), RGB, full range. Raises ZooError where the
        codec is not there or refuses the film.
        """
        raise TypeError(f"{type(self).__name__} defines no code(film, bytes_a_frame)")

    def decode(self, stream: bytes) -> Iterator[npt.NDArray[np.uint8]]:
        """Draw the film from the stream alone: every frame in order, uint8 (H, W, 3), RGB."""
        raise TypeError(f"{type(self).__name__} defines no decode(stream)")
