"""Typed, versioned records of results on disk; reports are made from nothing else.

This module needs no torch. JSON is strict: a number that is not finite is written as null, and an
unknown or missing field is an error that names it.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic

from zoo.base.untrusted_files import LARGEST_JSON, check_countable

SCHEMA_VERSION: Literal[3] = 3
MIN_SHOTS = 8
"""Shots needed for an interval; with fewer, its coverage is below 95 %."""

Part = Literal["seen", "held_out", "other"]
"""`seen`: frames that the model was trained on. `held_out`: frames of that film in shots that were
left out of training. `other`: frames of any other film."""


def _finite_or_none(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, pydantic.BeforeValidator(_finite_or_none)]
"""A measured number; null if it is not finite."""
LARGEST_RESULTS = 512 << 20
"""Size limit of `results.json` in bytes."""


class _Typed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)

    @pydantic.model_validator(mode="after")
    def _countable(self) -> Self:
        for name, value in self.__dict__.items():
            if name not in ("options", "seed"):
                check_countable(value)
        return self


class Summary(_Typed):
    """Statistics of one metric over the frames of one part of a film; all frames count equally."""

    frames: int
    """Number of frames with a value; some metrics have none where nothing moves, for example."""
    shots: int | None = None
    """Number of shots that contain these frames; null in older records."""
    mean: Number
    """Geometric mean for a ratio (a metric whose `better` is `one`), else arithmetic mean."""
    sd: Number
    lowest: Number
    highest: Number
    interval: tuple[Number, Number] | None = None
    """95 % interval of the mean, by Student's t over shot means; null for fewer than `MIN_SHOTS`
    shots. If `shots` is null, it comes from resampling shots, and its coverage is lower."""

    @property
    def sound_interval(self) -> tuple[float, float] | None:
        """The interval if its coverage is 95 %, else None."""
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
    """Peak memory while one batch is processed, in bytes.

    It is the increase over the memory without the model, so libraries and films do not count.
    """

    allocated: int | None
    """Memory in tensors on the device; null on a CPU, where it is not counted."""
    reserved: int
    """Memory reserved on the device, cached memory included; on a CPU, growth of the process."""


class Cost(_Typed):
    """What a model costs to run; null if not measured (a reference is not trained)."""

    batch: int | None
    """Frames per batch; null for a codec, which is timed once over the whole film."""
    train: Throughput | None = None
    encode: Throughput | None = None
    decode: Throughput | None = None
    round_trip: Throughput | None = None
    """Encoding and decoding a batch."""
    encode_one: Throughput | None = None
    """One frame at a time, as in `decode_one` and `round_trip_one`."""
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
    """Number of values of a code; null for real numbers."""
    coded_bytes: Number
    """Bytes per frame on disk, averaged over the film: latents after lossless coding, or a codec's
    elementary stream."""
    decoder_bytes: int | None
    """Size of the decoder at 32 bits per weight, which is stored once per film. Null for a codec,
    whose decoder is the same for every film."""


class RatePoint(_Typed):
    """Quality at a given number of bits per latent number."""

    bits: int
    coded_bytes: Number
    """Bytes per frame, averaged over the film, after lossless coding."""
    kilobits_per_second: Number
    """Rate at the film's frame rate."""
    frames: dict[Part, int]
    """Number of frames that were scored; of a long film, evenly spaced frames."""
    scores: dict[str, dict[Part, Number]]


class DecoderPoint(_Typed):
    """Quality with quantised decoder weights, at 8 bits per latent number."""

    weight_bits: int
    """Bits per weight of matrices and kernels; in addition, each of their rows has a scale."""
    decoder_bytes: int
    scores: dict[str, dict[Part, Number]]
    """Means by metric, over the same frames as the record's rate points."""


class Slice(_Typed):
    """Scores of a slice of a film's frames: those with similar values of one property."""

    by: str
    """The property, such as `brightness`."""
    lowest: Number
    """Lowest value of the property among these frames."""
    highest: Number
    frames: int
    scores: dict[str, Number]
    """Means by metric over these frames."""


class PlainFrame(_Typed):
    """The reconstruction of a frame of one grey level."""

    name: Literal["black", "grey", "white"]
    level: int
    """Grey level of the frame, from 0 to 255."""
    reconstructed: tuple[Number, Number, Number]
    """Mean red, green and blue of the reconstruction, 0 to 255."""
    reconstructed_sd: Number
    """Standard deviation over the reconstruction's samples, each channel about its own mean."""
    scores: dict[str, Number]


class SpreadWithinShots(_Typed):
    """How much of the variation within shots is left in the reconstructions."""

    shots: int
    source_spread: Number
    """Standard deviation over a shot's frames, averaged over samples and shots, in 8-bit levels."""
    reconstructed_spread: Number
    ratio: Number
    """Reconstructed over source spread; near 0, all frames of a shot look the same."""


class BatchDependence(_Typed):
    """How the reconstruction of a frame depends on the other frames in its batch."""

    frames: int
    latent_difference: Number
    """Largest difference of a latent number, as a share of the range of its dimension."""
    levels: int
    """Largest difference of a sample, in 8-bit levels."""
    differing: Number
    """Share of samples that differ by more than one level."""


class Takedown(_Typed):
    """Whether a content-matching system would recognise the film from its reconstruction.

    Two PDQ hashes match if they differ in at most 31 of 256 bits and both have a quality of at
    least 50. Shares are from 0 to 1, or null if there was nothing to count.
    """

    frame_step: int
    """N if every Nth frame was compared; 1 unless the film is long."""
    comparable: int
    """Number of original frames with a quality of at least 50."""
    matched: Number
    """Share of these frames that their own reconstruction matches."""
    retrieved: Number
    """Share of these frames whose reconstruction matches the frame itself or one close in time, and
    is nearer to it than to any other frame of any film."""
    found: Number
    """Share of these frames that any reconstructed frame matches."""
    film_matches: bool
    """Whether the film as a whole would match: `found` is at least 0.8."""
    precision: Number
    """Share of all matches between a reconstructed frame and a film in which this is the frame's
    own film; null if no other film was searched."""
    false_matches: dict[str, float]
    """For each other film, the share of comparable reconstructed frames that match it."""


class FailureAnalysis(_Typed):
    """Analysis of where a model fails."""

    slices: dict[Part, list[Slice]]
    plain: list[PlainFrame]
    still_shots: SpreadWithinShots | None
    """Spread in the quarter of the shots that change least; null if no shot has two frames."""
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
    """A frame kept for the report; paths are relative to the results folder."""

    frame: int
    time_code: str
    part: Part
    kind: Literal["typical", "best", "worst"]
    """Rank among the frames of its part, by the median over all models trained on the film."""
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
    """Mode of torch.compile for the training step; `none` if it was not compiled. Nothing else is
    compiled."""
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
    """A video of the film and its reconstructions side by side."""

    video: str
    """Path relative to the results folder."""
    panels: list[str]
    """What the panels show, from left to right."""
    sound: bool
    """Whether it has the film's sound."""
    why_silent: str | None = None
    """Why the film's sound is missing; null if it is present, or if the film has none."""
    time_code: str | None = None
    """Time code in the film at which the video begins; null if it begins with the film."""


class FilmInfo(_Typed):
    """A film of a comparison, with the settings that were used."""

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
    """For each other film of the comparison, the share of this film's frames that match one of its
    frames; null in older records."""
    begins: float = 0.0
    """Time of the first frame, in seconds from the start of the source."""
    barcode: str | None = None
    """A picture with one column per point in time; relative to the results folder."""
    series: str | None = None
    """The file of scores per frame, a `Series`; relative to the results folder."""
    video: str | None = None
    """The film itself at this size; relative to the results folder."""
    video_start: int = 0
    """The first frame of this video and of the models' videos."""
    sheet: str | None = None
    """A contact sheet, a picture with one frame per shot; relative to the results folder."""
    side_by_side: SideBySide | None = None


class MetricInfo(_Typed):
    """A metric, as it is described in reports."""

    name: str
    label: str
    unit: str
    better: Literal["higher", "lower", "one"]
    """`one`: nearer to 1 is better, as for a ratio."""
    digits: int = pydantic.Field(ge=0, le=15)
    source: str
    unavailable: str | None = None
    """Why the metric could not be measured; null if it could."""


class Record(_Typed):
    """One model or reference, trained on one film with one seed, evaluated on one film."""

    schema_version: Literal[3] = SCHEMA_VERSION
    """Records without this field have the same schema."""
    model: str
    summary: str
    role: Literal["model", "reference"]
    kind: Literal["autoencoder", "codec"] = "autoencoder"
    """A codec encodes the whole film at once, held-out frames included."""
    pretrained: bool = False
    """Whether its weights come from elsewhere, so that it learned nothing from the film."""
    origin: str
    """Package that provides the model, with its version."""
    trained_on: str
    evaluated_on: str
    evaluation_fingerprint: str
    """Fingerprint of the film's frames and of the choice of held-out frames."""
    seed: int
    options: dict[str, Any]
    status: Literal["ok", "failed"]
    reason: str | None = None
    note: str | None = None
    """What a reader must know about a successful run, such as how far a codec missed the requested
    bytes."""
    run: str | None = None
    """The run's folder, relative to the workspace."""
    unequal_terms: list[str] | None = None
    """What the model gets in training that others do not, and what its loss shares with metrics;
    null in older records."""
    tuned_on: list[str] | None = None
    """Films on which the model's defaults were chosen; null in older records."""
    waivers: dict[str, str] | None = None
    """Reasons for promises of the contract that the model breaks on purpose, by the name of the
    check; null in older records."""
    training: TrainingReceived | None = None
    parameters: int | None = None
    latent: LatentInfo | None = None
    scores: dict[str, dict[Part, Summary]] = {}
    rate: list[RatePoint] = []
    """In order of decreasing bits; only on the film that the model was trained on."""
    rounded_decoders: list[DecoderPoint] = []
    """In order of decreasing bits; empty in older records."""
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
    """The machine of the run, as `zoo.report.aggregate.environment_key` distinguishes machines;
    null in the series of a single comparison, where the run's name suffices."""
    scores: dict[str, list[Number]]
    """By metric, a value for each frame of the series; null for a frame without a value."""


class Series(_Typed):
    """Scores per frame of everything trained on a film, saved as `series/<film>.json`."""

    largest: ClassVar[int] = LARGEST_JSON
    schema_version: Literal[3] = SCHEMA_VERSION
    film: str
    frames: list[int]
    """Ascending frame numbers: all frames, or evenly spaced frames of a long film."""
    seconds: list[float]
    rows: list[SeriesRow]


class Results(_Typed):
    """All results of one comparison, saved as `results/results.json`."""

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
