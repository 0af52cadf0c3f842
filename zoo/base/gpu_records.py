"""Records that `make gpu` writes to `results/gpu/<device>/`, typed and versioned; needs no torch.

`summary.json` is a `GpuSummary` and holds everything. Each stage also has its own file,
`<stage>.json`, rewritten after every item, so that a killed run keeps what it measured.
`docs/gpu.md` describes the measurements.
"""

from __future__ import annotations

from pathlib import Path
from typing import Generic, Literal, TypeVar

import pydantic

from zoo.base.records import Environment, Number

SCHEMA_VERSION: Literal[1] = 1
SUMMARY = "summary.json"

State = Literal["waiting", "running", "done", "failed", "cut off"]
"""`cut off`: the stage's time did not suffice. In a file, `running` means that the whole run was
killed during this stage, and `waiting` that the run did not get to it."""
NOT_REACHED = "not reached"
"""The error of an item that was not started before the time of its stage was over."""
MOST_NAMES = 12
"""Largest number of such items to list by name."""


class _Typed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)


class MachineResult(_Typed):
    """The device, and the two measured rates that limit its speed: arithmetic and memory copies."""

    capability: str | None
    """CUDA compute capability, such as `9.0`; null on a CPU."""
    memory_bytes: int | None
    multiprocessors: int | None
    driver: str | None
    """Null if nvidia-smi does not report it; so are the next two."""
    power_limit_watts: Number
    graphics_clock_mhz: Number
    """The highest clock that the device allows."""
    cudnn: int | None
    cores: int
    """CPU cores that this process may use."""
    hardware_decoders: list[str]
    """Device types that the installed FFmpeg was built to decode on."""
    matmul_rates: dict[str, Number]
    """Additions and multiplications per second of a large product, by `bf16`, `tf32` and `fp32`."""
    copy_rate: Number
    """Bytes per second of a large copy within the device's memory, both read and written."""


class Resume(_Typed):
    """A training that was stopped and resumed, compared with one that ran without interruption."""

    steps: int
    stopped_at: int
    equal: bool
    """Whether the weights have the same sha256."""
    repeatable: bool | None
    """Whether two uninterrupted trainings have the same sha256; null if `equal` is true. If false,
    `equal` says nothing about resuming, since the device adds numbers in a different order each
    time."""
    difference: Number
    """Largest difference of a weight from its value in the uninterrupted training."""


class SmokeResult(_Typed):
    """Whether one model works on the device, check by check."""

    model: str
    checks: dict[str, str]
    """`ok` or the problem, by check: `step` (the losses of a training step are finite),
    `no waiting` (steps between two reports do not wait for the device), `train`, `resume`,
    `evaluate`, `reconstruct`."""
    resume: Resume | None = None
    frames_reconstructed: int | None = None


class ThroughputResult(_Typed):
    """Speed of a model's training step, with the batches already on the device."""

    model: str
    batch: int
    compiled: bool
    precision: str
    parameters: int
    """Number of trainable parameters."""
    frames_per_second: Number
    """Median over blocks of steps."""
    lower_quartile: Number
    upper_quartile: Number
    blocks: int
    peak_memory_bytes: int | None
    """Peak memory in tensors during a step, the model's included; null on a CPU."""
    operations_per_frame: Number
    """Additions and multiplications of a training step, forward and backward."""
    share_of_peak: Number
    """Share of the measured rate of matrix products in this precision."""
    first_step_seconds: Number
    """Time of the first step, with compilation or cuDNN's choice of kernels."""
    waits: str | None
    """What made a step wait for the device; null if nothing did, and on a CPU."""


class WorkloadResult(_Typed):
    """A training of `broad2016` at full size, with the engine of `zoo train`."""

    batch: int
    compiled: bool
    precision: str
    parameters: int
    film_frames: int
    film_on_device: bool | None
    seconds: Number
    """Training time that was measured, without the first reports."""
    frames_per_second: Number
    share_of_peak: Number
    data_stall: Number
    """Share of the time that the loop spent waiting for frames."""
    feature_seconds: Number
    """Time that the 2016 workload, `frames` x `epochs`, would take at this rate, without ingest and
    evaluation."""
    kernels: dict[str, float] = {}
    """The kernels that took most of the device's time in a few steps, with their shares; empty if
    the time ran out first, or if the driver does not permit profiling."""
    frames: int = 168_000
    epochs: int = 6
    goal_seconds: float = 300.0
    goal_share_of_peak: float = 0.4


class MediaResult(_Typed):
    """Speed of one task: ingest, encoding, evaluation or a metric."""

    task: Literal["ingest", "encode", "evaluate", "metric"]
    subject: str
    """The decoder, model or metric that was timed."""
    frames: int
    size: str
    """Size of the frames that ingest produces or that are scored."""
    source: str | None = None
    """For ingest: codec and size of the decoded file."""
    seconds: Number
    frames_per_second: Number


class FilmResult(_Typed):
    """A model or reference on a film; paths are relative to the device's folder."""

    model: str
    film: str
    licence: str | None
    size: str
    latent: int | None
    """Numbers per frame; null for a codec, as are all training settings."""
    film_frames: int
    film_seconds: tuple[float, float]
    """The part of the film's time line that was used."""
    batch: int | None
    precision: str | None
    steps: int | None
    """Null for a codec, and for a reference that is fitted directly."""
    train_seconds: Number
    """Duration of training or fitting; null for a codec."""
    frames_per_second: Number
    scores: dict[str, dict[str, Number]]
    """Mean of each metric by part of the film: `seen`, `held_out`."""
    coded_bytes: Number
    """Bytes per frame, as in the records."""
    record: str | None
    strip: str | None
    video: str | None


R = TypeVar("R", bound=_Typed)


class Item(_Typed, Generic[R]):
    """One measurement of a stage: its result, or the reason why there is none."""

    name: str
    state: State = "waiting"
    seconds: Number = None
    error: list[str] = []
    """Last lines of the traceback, or one line that says why the result is missing."""
    result: R | None = None

    @property
    def not_reached(self) -> bool:
        """Whether the measurement was never started, so that it neither worked nor failed."""
        return self.state == "waiting" or self.error == [NOT_REACHED]


class Stage(_Typed, Generic[R]):
    """One stage, saved as `<stage>.json`."""

    schema_version: Literal[1] = SCHEMA_VERSION
    stage: str
    state: State = "waiting"
    """`done` if every item was tried, even if some failed; `cut off` if some were not tried."""
    began: str | None = None
    """UTC, ISO 8601."""
    allowed_seconds: float
    """The stage's share of the time that was left when it began."""
    seconds: Number = None
    environment: Environment | None = None
    """Null if the stage ended before it was recorded."""
    error: list[str] = []
    items: list[Item[R]] = []

    @property
    def left_out(self) -> str | None:
        """`3 not reached: ...`, with the first names; None if every item was started."""
        names = [item.name for item in self.items if item.not_reached]
        if not names:
            return None
        more = len(names) - MOST_NAMES
        named = [*names[:MOST_NAMES], f"and {more} more"] if more > 1 else names
        return f"{len(names)} {NOT_REACHED}: {'; '.join(named)}"


class GpuSummary(_Typed):
    """Everything that was measured on one device, saved as `summary.json`."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tiny: bool
    """Whether this was a test of the script at a tiny size, whose numbers mean nothing."""
    began: str
    minutes: float
    """Time limit of the whole run."""
    seconds: float
    sources: list[str]
    """Names of the film files that were used; the embedded clips if none was given."""
    machine: Stage[MachineResult] | None = None
    smoke: Stage[SmokeResult] | None = None
    throughput: Stage[ThroughputResult] | None = None
    workload: Stage[WorkloadResult] | None = None
    media: Stage[MediaResult] | None = None
    films: Stage[FilmResult] | None = None


def summaries(results: Path) -> list[Path]:
    """The paths of all summaries in a results folder, `gpu/<device>/summary.json`, sorted."""
    return sorted(results.glob(f"gpu/*/{SUMMARY}"))
