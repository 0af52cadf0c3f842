"""What a run leaves on disk, typed and versioned: the only thing a report is made from.

Nothing here needs torch. JSON is strict: a number that is not finite is written as null, and an
unknown or missing field is an error that names it.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic

from zoo.base.untrusted_files import LARGEST_JSON, check_countable

SCHEMA_VERSION: Literal[3] = 3
MIN_SHOTS = 8
"""Shots that an interval needs: of fewer, no interval holds what it says."""

Part = Literal["seen", "held_out", "other"]
"""Frames the model was trained on, frames of that film in shots it never saw, and frames of a film
that it was not trained on at all."""


def _finite_or_none(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, pydantic.BeforeValidator(_finite_or_none)]
"""A measured number; null where it is not finite."""
LARGEST_RESULTS = 512 << 20
"""Bytes of `results.json`."""


class _Typed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)

    @pydantic.model_validator(mode="after")
    def _countable(self) -> Self:
        for name, value in self.__dict__.items():
            if name not in ("options", "seed"):
                check_countable(value)
        return self


class Summary(_Typed):
    """One metric over one part of a film: statistics over frames, each frame counted once."""

    frames: int
    """Frames that have a value; some metrics have none where nothing moves, for example."""
    shots: int | None = None
    """Shots that these frames lie in; null in records from before it was written down."""
    mean: Number
    """Geometric for a metric that is a ratio, whose `better` is `one`."""
    sd: Number
    lowest: Number
    highest: Number
    interval: tuple[Number, Number] | None = None
    """95 % interval of the mean, by Student's t over the means of shots; null for fewer than
    `MIN_SHOTS` shots. Without `shots` it is one from resampling shots, which holds less."""

    @property
    def sound_interval(self) -> tuple[float, float] | None:
        """The interval where it holds the mean in 95 % of cases, else None."""
        if self.shots is None or self.shots < MIN_SHOTS or not self.interval:
            return None
        low, high = self.interval
        return None if low is None or high is None else (low, high)


class Throughput(_Typed):
    """Frames per second: the median and quartiles of repeated timings."""

    median: Number
    lower_quartile: Number
    upper_quartile: Number
    repeats: int


class Memory(_Typed):
    """The most memory that was held while one batch was worked on, in bytes.

    Above what is held without the model: libraries and films are not in it.
    """

    allocated: int | None
    """Of the device, in tensors; on a CPU null: nothing counts them there."""
    reserved: int
    """Taken from the device, what is kept for reuse included; on a CPU the process's growth."""


class Cost(_Typed):
    """What a model costs to run; null where it was not measured (a reference is not trained)."""

    batch: int | None
    """Frames per batch; null for a codec, which was timed once over the whole film."""
    train: Throughput | None = None
    encode: Throughput | None = None
    decode: Throughput | None = None
    round_trip: Throughput | None = None
    """A batch encoded and decoded again."""
    encode_one: Throughput | None = None
    """One frame at a time, as for the next four."""
    decode_one: Throughput | None = None
    round_trip_one: Throughput | None = None
    train_memory: Memory | None = None
    round_trip_memory: Memory | None = None
    encode_multiply_adds: int | None = None
    """Per frame, in convolutions, matrix products and attention; null for a codec."""
    decode_multiply_adds: int | None = None
    train_share_of_peak: Number = None
    """Share of the device's rate for large matrix products that training reaches."""
    round_trip_share_of_peak: Number = None
    train_joules: Number = None
    """Energy of the device per frame; null if it has no meter that can be read."""
    round_trip_joules: Number = None
    unavailable: dict[str, str] = {}
    """Why a requested figure is null, by the name of the figure."""


class LatentInfo(_Typed):
    """The size of a frame's latent, and of the decoder."""

    numbers: int | Number | None
    """Numbers per frame; null for a codec, which has no latent per frame."""
    bits: int | Number | None
    """Bits per frame as the model declares them, before lossless coding: 8 for a real number, and
    enough to distinguish the values of a code. Null for a codec. A padded window counts in full."""
    codes: int | None = None
    """How many values a number can have, where numbers are codes; null where they are real."""
    coded_bytes: Number
    """Bytes per frame on disk, averaged over the film: latents after lossless coding, or a codec's
    elementary stream."""
    decoder_bytes: int | None
    """Size of the decoder at 32 bits per weight: needed once for the whole film. Null for a codec,
    whose decoder is the same for every film."""


class RatePoint(_Typed):
    """Quality at one number of bits per latent number."""

    bits: int
    coded_bytes: Number
    """Bytes per frame, averaged over the film, after lossless coding."""
    kilobits_per_second: Number
    """At the film's frame rate."""
    frames: dict[Part, int]
    """Frames that were scored: evenly spaced ones of a long film."""
    scores: dict[str, dict[Part, Number]]


class DecoderPoint(_Typed):
    """Quality with the decoder's matrices and kernels rounded, at 8 bits per latent number."""

    weight_bits: int
    """Of each weight of a matrix or kernel; each of its rows has a scale besides."""
    decoder_bytes: int
    scores: dict[str, dict[Part, Number]]
    """Means over the frames of the record's rate points by metric."""


class Slice(_Typed):
    """A slice of a film's frames, by one of their properties, with its scores."""

    by: str
    """The property, such as `brightness`."""
    lowest: Number
    """Lowest value of the property among these frames."""
    highest: Number
    frames: int
    scores: dict[str, Number]
    """Means over these frames by metric."""


class PlainFrame(_Typed):
    """The reconstruction of a frame of one grey level."""

    name: Literal["black", "grey", "white"]
    level: int
    """Of the frame, from 0 to 255."""
    reconstructed: tuple[Number, Number, Number]
    """Mean red, green and blue of the reconstruction, 0 to 255."""
    reconstructed_sd: Number
    """Standard deviation over the reconstruction's samples, each channel about its own mean."""
    scores: dict[str, Number]


class SpreadWithinShots(_Typed):
    """How much of the change within shots is left in the reconstructions."""

    shots: int
    source_spread: Number
    """Standard deviation over a shot's frames, averaged over samples and shots: 8-bit levels."""
    reconstructed_spread: Number
    ratio: Number
    """Of the two; near 0, every frame of a shot has become one picture."""


class BatchDependence(_Typed):
    """How the reconstruction of a frame depends on the other frames in its batch."""

    frames: int
    latent_difference: Number
    """Largest, as a share of the range of its dimension over the film."""
    levels: int
    """Largest difference of a sample, in 8-bit levels."""
    differing: Number
    """Share of samples that differ by more than one level."""


class Takedown(_Typed):
    """Whether a content-matching system would know the film by its reconstruction.

    PDQ hashes match within 31 of 256 bits where both are of quality 50 or more. Shares are from 0
    to 1, null of nothing.
    """

    frame_step: int
    """N where every Nth frame was compared, which is 1 unless the film is long."""
    comparable: int
    """Frames of the original of quality 50 or more."""
    matched: Number
    """Share of these whose reconstruction matches them."""
    retrieved: Number
    """Share of these whose reconstruction matches its own frame or one close to it in time, and is
    nearer to it than to any other frame of any film."""
    found: Number
    """Share of these that any reconstructed frame matches."""
    film_matches: bool
    """Whether the film as a whole would match: `found` is at least 0.8."""
    precision: Number
    """Of all matches of a reconstructed frame with a film, the share with its own; null where no
    other film was searched."""
    false_matches: dict[str, float]
    """By other film, the share of comparable reconstructed frames that match a frame of it."""


class FailureAnalysis(_Typed):
    """Where a model fails."""

    slices: dict[Part, list[Slice]]
    plain: list[PlainFrame]
    still_shots: SpreadWithinShots | None
    """The quarter of the film's shots that change least; null where no shot has two frames."""
    all_shots: SpreadWithinShots | None
    batch_dependence: BatchDependence | None
    """Null for a codec, which does not code single frames."""


class TrainingReceived(_Typed):
    """The training a model received."""

    frames: int
    steps: int
    epochs: Number
    seconds: Number


class Picture(_Typed):
    """A frame kept for the report: files are relative to the results folder."""

    frame: int
    time_code: str
    part: Part
    kind: Literal["typical", "best", "worst"]
    """Among the frames of its part, by the median over all models trained on the film."""
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


class SideBySide(_Typed):
    """A video of the film beside its reconstructions."""

    video: str
    """Relative to the results folder."""
    panels: list[str]
    """What they show, from left to right."""
    sound: bool
    """Whether it has the film's sound."""
    why_silent: str | None = None
    """Why the film's sound is missing; null where it is not, or where the film has none."""
    time_code: str | None = None
    """When in the film it begins; null where it begins with the film."""


class FilmInfo(_Typed):
    """One film as it was compared."""

    name: str
    title: str
    licence: str | None
    """Null if none is stated; pictures of such a film must not be published."""
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
    shot_starts: list[int] = []
    """First frame of every shot, in order."""
    overlaps: dict[str, float] | None = None
    """By other film of the comparison, the share of this one's frames that match a frame of it;
    null in records from before films were compared."""
    begins: float = 0.0
    """Time of the first frame, in seconds from the start of the source."""
    barcode: str | None = None
    """A picture of the whole film, a column per point in time; relative to the results folder."""
    series: str | None = None
    """The scores per frame, a `Series`; relative to the results folder."""
    video: str | None = None
    """The film itself at this size; relative to the results folder."""
    video_start: int = 0
    """The first frame of this video and of the models' videos."""
    sheet: str | None = None
    """A contact sheet, a picture with one frame per shot; relative to the results folder."""
    side_by_side: SideBySide | None = None


class MetricInfo(_Typed):
    """A metric."""

    name: str
    label: str
    unit: str
    better: Literal["higher", "lower", "one"]
    """`one`: the nearer to 1 the better, as for a ratio."""
    digits: int = pydantic.Field(ge=0, le=15)
    source: str
    unavailable: str | None = None
    """Why the metric could not be measured, where it could not."""


class Record(_Typed):
    """One model or reference, trained on one film with one seed, evaluated on one film."""

    schema_version: Literal[3] = SCHEMA_VERSION
    """Records from before it was written down here are of the same schema."""
    model: str
    summary: str
    role: Literal["model", "reference"]
    kind: Literal["autoencoder", "codec"] = "autoencoder"
    """A codec codes the whole film at once, held-out frames included."""
    pretrained: bool = False
    """Whether it learned nothing from the film: its weights come from elsewhere."""
    origin: str
    """Package and version that provides the model."""
    trained_on: str
    evaluated_on: str
    evaluation_fingerprint: str
    """Of the film's frames and of which of them are held out."""
    seed: int
    options: dict[str, Any]
    status: Literal["ok", "failed"]
    reason: str | None = None
    note: str | None = None
    """What a reader must know about a run that succeeded, such as how far a codec is from the
    requested bytes."""
    run: str | None = None
    """The run's folder, relative to the workspace."""
    unequal_terms: list[str] | None = None
    """What the model gets in training that others do not, and what its loss shares with metrics;
    null in records from before it was noted."""
    tuned_on: list[str] | None = None
    """Films that the model's defaults were chosen on; null in records from before it was noted."""
    waivers: dict[str, str] | None = None
    """Promises of the contract that the model breaks on purpose, by the name of the check, and why;
    null in records from before it was noted."""
    training: TrainingReceived | None = None
    parameters: int | None = None
    latent: LatentInfo | None = None
    scores: dict[str, dict[Part, Summary]] = {}
    rate: list[RatePoint] = []
    """By falling number of bits; of the trained film alone."""
    rounded_decoders: list[DecoderPoint] = []
    """By falling number of bits; empty in records from before they were measured."""
    failure_analysis: FailureAnalysis | None = None
    takedown: Takedown | None = None
    cost: Cost | None = None
    pictures: list[Picture] = []
    video: str | None = None
    """The reconstructed film; relative to the results folder."""
    environment: Environment


class SeriesRow(_Typed):
    """The scores per frame of one record."""

    run: str
    """The record's `run`."""
    machine: tuple[str, ...] | None = None
    """Whose run it is, as `zoo.report.aggregate.environment_key` tells them apart; null in the
    series of one comparison, where runs have names enough."""
    scores: dict[str, list[Number]]
    """A value for each of the series' frames by metric; null where it has none."""


class Series(_Typed):
    """The scores of a film's frames, by all that were trained on it: `series/<film>.json`."""

    largest: ClassVar[int] = LARGEST_JSON
    schema_version: Literal[3] = SCHEMA_VERSION
    film: str
    frames: list[int]
    """Frame numbers, ascending: all, or evenly spaced ones of a long film."""
    seconds: list[float]
    rows: list[SeriesRow]


class Results(_Typed):
    """All results of one comparison: `results/results.json`."""

    largest: ClassVar[int] = LARGEST_RESULTS
    schema_version: Literal[3] = SCHEMA_VERSION
    created: str
    """UTC, ISO 8601."""
    command: str
    preset: str
    budget: str
    batch: int
    films: list[FilmInfo]
    metrics: list[MetricInfo]
    records: list[Record]
