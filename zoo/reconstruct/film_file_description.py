"""The description in a `.zoo` file: typed, versioned and validated metadata."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal, Self

import pydantic

from zoo.api.samples_and_latents import BITS, LARGEST, MOST_CODES, FilmSamples, Sampling, code_bits
from zoo.base.time_code import LARGEST_OF_RATE, TICKS
from zoo.training.run_folder import FilmName, TrainingConfig

SCHEMA_VERSION: Literal[5] = 5
READ_VERSIONS = (1, 2, 3, 4, 5)
"""Version 1 does not state the decoder's size; versions 1 and 2 have neither codes nor windows;
version 4 added rounded decoders. Up to version 4, `summary` was named `told`, and
`ticks_per_second` was named `ticks_a_second`."""
MOST_FRAMES = 1 << 24
"""More than a week at 25 frames/s."""

LONGEST_TEXT = 10_000
Text = Annotated[str, pydantic.Field(max_length=LONGEST_TEXT)]
Digest = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
DecoderBits = Literal[32, 16, 8]
Seconds = Annotated[float, pydantic.Field(ge=0, le=1e7)]


class _Typed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FilmPart(_Typed):
    """The film that was encoded."""

    name: FilmName
    title: Text
    licence: Text | None
    source: Text
    """Names of the source files, for display."""
    source_bytes: int = pydantic.Field(ge=0)
    fingerprint: Text
    frames: int = pydantic.Field(ge=1, le=MOST_FRAMES)
    rate: tuple[
        Annotated[int, pydantic.Field(ge=1, le=LARGEST_OF_RATE)],
        Annotated[int, pydantic.Field(ge=1, le=LARGEST_OF_RATE)],
    ]
    """Frames per second as a fraction, the mean if the rate varies."""
    first_tick: int = pydantic.Field(ge=0, le=1 << 50)
    ticks_per_second: Literal[120_000] = pydantic.Field(
        default=TICKS, validation_alias=pydantic.AliasChoices("ticks_per_second", "ticks_a_second")
    )

    @property
    def fps(self) -> Fraction:
        """Frames per second."""
        return Fraction(*self.rate)


class LatentPart(_Typed):
    """The latents of the film."""

    shape: tuple[Annotated[int, pydantic.Field(ge=0, le=1 << 24)], ...] = pydantic.Field(
        max_length=8
    )
    """Shape of one latent as the model returns it."""
    bits: int = pydantic.Field(ge=1, le=24)
    """Bits per number: at most 8, except for codes."""
    codes: int | None = pydantic.Field(default=None, ge=1, le=MOST_CODES)
    """Number of codes, which count from 0; None if numbers are quantised on a scale."""
    window: int = pydantic.Field(default=1, ge=1, le=LARGEST)
    shots: list[Annotated[int, pydantic.Field(ge=1, le=MOST_FRAMES)]] = pydantic.Field(
        default=[], max_length=MOST_FRAMES
    )
    """Frames in each shot if the model has a window, as no latent spans a cut; else empty."""

    @pydantic.model_validator(mode="after")
    def _bits_fit(self) -> Self:
        if self.codes is None and self.bits > BITS:
            raise ValueError(f"numbers that are not codes must have at most {BITS} bits")
        if self.codes is not None and self.bits != code_bits(self.codes):
            raise ValueError(f"{self.codes:,} codes do not take {self.bits} bits")
        return self

    def samples(self, frames: int) -> FilmSamples:
        """The samples of a film; raises ValueError unless its shots have `frames` frames."""
        if (self.window == 1) != (not self.shots) or (self.shots and sum(self.shots) != frames):
            raise ValueError("its shots do not fit its frames")
        return FilmSamples.of(Sampling(self.window), self.shots or [frames])


class ModelPart(_Typed):
    """The model that decodes the film."""

    run: Text
    """Name of the run below `runs/` that the film was encoded with."""
    config: TrainingConfig
    """Model, options, frame size and training, as in the run's `run.json`."""
    weights: Digest
    """SHA-256 over the names, types, shapes and values of all its weights."""
    decoder_bytes: int | None = pydantic.Field(default=None, ge=0)
    """Bytes of the decoder's weights, whether in this file or not; None if not stated."""
    decoder_bits: DecoderBits = 32
    """Bits per weight of the decoder's matrices and kernels, if it is in this file."""


class SoundPart(_Typed):
    """The sound in the file."""

    codec: Text
    summary: Text = pydantic.Field(validation_alias=pydantic.AliasChoices("summary", "told"))
    """How the source's sound was written, in one line."""


class ChapterPart(_Typed):
    """A chapter of the film, with times in seconds."""

    start: Seconds
    stop: Seconds
    title: Text


class Description(_Typed):
    """All metadata of a film file."""

    schema_version: Literal[1, 2, 3, 4, 5] = SCHEMA_VERSION
    made_by: Text
    film: FilmPart
    latent: LatentPart
    model: ModelPart
    sound: SoundPart | None
    tags: dict[Text, Text] = pydantic.Field(max_length=100)
    """Tags for a video decoded from this file: title, comment and so on."""
    chapters: list[ChapterPart] = pydantic.Field(max_length=10_000)
    content_sha256: Digest = "0" * 64
    """SHA-256 of the whole file, computed with zeros in place of these 64 digits."""
