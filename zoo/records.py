"""What a run leaves on disk, typed and versioned: the only thing a report is made from.

Nothing here needs torch. JSON is strict: a number that is not finite is written as null, and an
unknown or missing field is an error that names it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic

from zoo.errors import BadInput
from zoo.workspace import written_aside

SCHEMA_VERSION: Literal[1] = 1

_T = TypeVar("_T", bound=pydantic.BaseModel)

Part = Literal["seen", "held_out"]
"""Frames the model was trained on, and frames of shots it never saw."""


def _finite_or_none(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, pydantic.BeforeValidator(_finite_or_none)]
"""A measured number; null where it is not finite."""


class _Typed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)


class Summary(_Typed):
    """One metric over one part of a film: statistics over frames, each frame counted once."""

    frames: int
    mean: Number
    sd: Number
    lowest: Number
    highest: Number


class Throughput(_Typed):
    """Frames per second: the median and quartiles of repeated timings."""

    median: Number
    lower_quartile: Number
    upper_quartile: Number
    repeats: int


class Cost(_Typed):
    """What a model costs to run; null where it was not measured (a reference is not trained)."""

    batch: int | None
    """Frames a batch; null for a codec, which was timed once over the whole film."""
    train: Throughput | None = None
    encode: Throughput | None = None
    decode: Throughput | None = None


class LatentInfo(_Typed):
    """How small a frame becomes."""

    numbers: int | None
    """Numbers a frame; null for a codec, which has no latent of a frame."""
    bits: int | None
    """Bits a frame after quantising each number to 8 bits; null for a codec."""
    coded_bytes: Number
    """Bytes a frame on disk, averaged over the film: latents after lossless coding, or a codec's
    elementary stream."""
    decoder_bytes: int | None
    """What the decoder itself takes, at 32 bits a weight: needed once for the whole film. Null for
    a codec, whose decoder knows nothing of the film."""


class Spent(_Typed):
    """The training a model received."""

    frames: int
    steps: int
    epochs: Number
    seconds: Number


class Picture(_Typed):
    """A frame kept for the report: files are relative to the folder of the run or the results."""

    frame: int
    time_code: str
    part: Part
    original: str
    reconstruction: str


class Environment(_Typed):
    """The machine and the software that made a record."""

    device: str
    """`cpu` or `cuda`."""
    device_name: str
    precision: str
    memory_format: str
    compile: str = "none"
    """How the training step was compiled, as torch.compile names its modes; `none` if it was not.
    Everything else runs as it is."""
    threads: int
    python: str
    torch: str
    cuda: str | None
    pyav: str
    ffmpeg: str
    film_zoo: str
    commit: str | None
    """Commit of the checkout that film-zoo ran from; null in an installed package."""


class FilmInfo(_Typed):
    """One film as it was compared."""

    name: str
    title: str
    licence: str | None
    """Null where none is stated; pictures of such a film are for its owner's eyes."""
    source: str
    fingerprint: str
    size: str
    """`WIDTHxHEIGHT`."""
    frames: int
    fps: Number
    shots: int
    seen_frames: int
    held_out_frames: int
    held_out: list[tuple[int, int]]
    """Held-out runs of frames, `[start, stop)`."""


class MetricInfo(_Typed):
    """A column."""

    name: str
    label: str
    unit: str
    better: Literal["higher", "lower"]
    digits: int
    source: str
    unavailable: str | None = None
    """Why the metric could not be measured, where it could not."""


class Record(_Typed):
    """One model or reference, trained on one film with one seed, evaluated on one film."""

    model: str
    summary: str
    role: Literal["model", "reference"]
    kind: Literal["autoencoder", "codec"] = "autoencoder"
    """A codec codes the whole film at once, held-out frames included."""
    origin: str
    """Package and version that brought the model."""
    trained_on: str
    watched: str
    seed: int
    options: dict[str, Any]
    status: Literal["ok", "failed"]
    reason: str | None = None
    """Why a failed cell failed, in one line."""
    note: str | None = None
    """What a reader must know of a cell that worked, such as a codec's distance from the bytes
    that were asked for."""
    run: str | None = None
    """The run's folder, relative to the workspace."""
    spent: Spent | None = None
    parameters: int | None = None
    latent: LatentInfo | None = None
    scores: dict[str, dict[Part, Summary]] = {}
    """By metric, then by part of the film."""
    cost: Cost | None = None
    pictures: list[Picture] = []
    environment: Environment


class Results(_Typed):
    """All that one comparison found: `results/results.json`."""

    schema_version: Literal[1] = SCHEMA_VERSION
    created: str
    """UTC, ISO 8601."""
    command: str
    """What makes these results again."""
    preset: str
    budget: str
    batch: int
    films: list[FilmInfo]
    metrics: list[MetricInfo]
    records: list[Record]


def write_json(path: Path, record: pydantic.BaseModel) -> None:
    """Write a record as strict JSON, whole or not at all."""
    with written_aside(path) as aside:
        aside.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_json(path: Path, kind: type[_T]) -> _T:
    """Read a record; raises BadInput in one line if the file is missing, foreign or damaged."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from None
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInput(
            f"{path} is not a {kind.__name__} of this version: {where}: {first['msg']}"
        ) from None
