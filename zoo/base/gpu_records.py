"""Records that `make gpu` writes to `results/gpu/<device>/`, typed and versioned; needs no torch.

`summary.json` is a `GpuSummary` and holds everything. Each stage also has a file of its own,
`<stage>.json`, written again after every item: what a run that was killed had measured is there.
`docs/gpu.md` says how the measurements are made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Generic, Literal, TypeVar

import pydantic

from zoo.base.records import Environment, Number

SCHEMA_VERSION: Literal[1] = 1
SUMMARY = "summary.json"

State = Literal["waiting", "running", "done", "failed", "cut off"]
"""`cut off` is what a stage's time did not suffice for; in a file, `running` means that the whole
run was killed there, and `waiting` that it was not reached."""
NOT_REACHED = "not reached"
"""The error of an item that was not begun before the time of its stage was over."""
MOST_NAMES = 12
"""Of such items, where they are listed."""


class _Typed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)


class MachineResult(_Typed):
    """The device, and the two rates that bound all work on it, measured."""

    capability: str | None
    """Of CUDA, such as `9.0`; null on a CPU."""
    memory_bytes: int | None
    multiprocessors: int | None
    driver: str | None
    """Null where nvidia-smi does not report it, as for the next two."""
    power_limit_watts: Number
    graphics_clock_mhz: Number
    """The highest that the device allows."""
    cudnn: int | None
    cores: int
    """Of the processor, that this process may use."""
    hardware_decoders: list[str]
    """Device types that the installed FFmpeg was built to decode on."""
    matmul_rates: dict[str, Number]
    """Additions and multiplications per second of a large product, by `bf16`, `tf32` and `fp32`."""
    copy_rate: Number
    """Bytes per second of a large copy within the device's memory, both read and written."""


class Resume(_Typed):
    """A training that was stopped and resumed against one that was not."""

    steps: int
    stopped_at: int
    equal: bool
    """Whether the weights have the same sha256."""
    repeatable: bool | None
    """Whether two trainings that were never stopped have; null where `equal` already says so. Where
    they have not, `equal` says nothing of resuming: the device adds up in another order each
    time."""
    difference: Number
    """Largest difference of a weight from the uninterrupted training."""


class SmokeResult(_Typed):
    """Whether one model works on the device, check by check."""

    model: str
    checks: dict[str, str]
    """`ok`, or why not, by check: `step` (a training step's losses are finite), `no waiting` (steps
    between two reports do not wait for the device), `train`, `resume`, `evaluate`,
    `reconstruct`."""
    resume: Resume | None = None
    frames_reconstructed: int | None = None


class ThroughputResult(_Typed):
    """A model's training step on batches that lie on the device."""

    model: str
    batch: int
    compiled: bool
    precision: str
    parameters: int
    """Trainable ones."""
    frames_per_second: Number
    """The median of blocks of steps."""
    lower_quartile: Number
    upper_quartile: Number
    blocks: int
    peak_memory_bytes: int | None
    """Allocated in tensors at most during a step, the model's own included; null on a CPU."""
    operations_per_frame: Number
    """Additions and multiplications of a training step, forward and backward."""
    share_of_peak: Number
    """Of the measured rate of matrix products in this precision."""
    first_step_seconds: Number
    """Compiling, or the choice of cuDNN's kernels, included."""
    waits: str | None
    """What made a step wait for the device; null where none did, and on a CPU."""


class WorkloadResult(_Typed):
    """A training of `broad2016` at full size, by the engine that `zoo train` uses."""

    batch: int
    compiled: bool
    precision: str
    parameters: int
    film_frames: int
    film_on_device: bool | None
    seconds: Number
    """Of training that was measured, without the first reports."""
    frames_per_second: Number
    share_of_peak: Number
    data_stall: Number
    """Share of the time that the loop waited for frames."""
    feature_seconds: Number
    """What `frames` x `epochs` of the 2016 workload would take at this rate, without ingest and
    evaluation."""
    kernels: dict[str, float] = {}
    """Those that took most of the device's time in a few steps, with their shares of it; empty
    where the time ended before, or the driver lets nobody look."""
    frames: int = 168_000
    epochs: int = 6
    goal_seconds: float = 300.0
    goal_share_of_peak: float = 0.4


class MediaResult(_Typed):
    """Decoding and scoring: what `task` did, and how fast."""

    task: Literal["ingest", "encode", "evaluate", "metric"]
    subject: str
    """The decoder, the model, or the metric."""
    frames: int
    size: str
    """Of the frames that come out of ingest, or are scored."""
    source: str | None = None
    """Of ingest: codec and size of the file that was decoded."""
    seconds: Number
    frames_per_second: Number


class FilmResult(_Typed):
    """A model or a reference on a film; files are relative to the device's folder."""

    model: str
    film: str
    licence: str | None
    size: str
    latent: int | None
    """Numbers per frame; null for a codec, as all settings of a training are."""
    film_frames: int
    film_seconds: tuple[float, float]
    """The part of the film's time line that was taken."""
    batch: int | None
    precision: str | None
    steps: int | None
    """Null for a reference that is fitted directly, too."""
    train_seconds: Number
    """Of training or fitting; null for a codec."""
    frames_per_second: Number
    scores: dict[str, dict[str, Number]]
    """Mean of each metric by part of the film: `seen`, `held_out`."""
    coded_bytes: Number
    """A frame, as the records have it."""
    record: str | None
    strip: str | None
    video: str | None


R = TypeVar("R", bound=_Typed)


class Item(_Typed, Generic[R]):
    """One measurement of a stage: its result, or why there is none."""

    name: str
    state: State = "waiting"
    seconds: Number = None
    error: list[str] = []
    """Last lines of the traceback, or one line that says why it is missing."""
    result: R | None = None

    @property
    def not_reached(self) -> bool:
        """Whether it was never begun, which says nothing of what it would have measured."""
        return self.state == "waiting" or self.error == [NOT_REACHED]


class Stage(_Typed, Generic[R]):
    """One stage: `<stage>.json`."""

    schema_version: Literal[1] = SCHEMA_VERSION
    stage: str
    state: State = "waiting"
    """`done` when every item was tried, even where some failed; `cut off` when some were not."""
    began: str | None = None
    """UTC, ISO 8601."""
    allowed_seconds: float
    """Its share of the time that was left when it began."""
    seconds: Number = None
    environment: Environment | None = None
    """Null where the stage did not come to say it."""
    error: list[str] = []
    items: list[Item[R]] = []

    @property
    def left_out(self) -> str | None:
        """`3 not reached: ...`, with the first names; None where every item was begun."""
        names = [item.name for item in self.items if item.not_reached]
        if not names:
            return None
        more = len(names) - MOST_NAMES
        named = [*names[:MOST_NAMES], f"and {more} more"] if more > 1 else names
        return f"{len(names)} {NOT_REACHED}: {'; '.join(named)}"


class GpuSummary(_Typed):
    """Everything that was measured on one device: `summary.json`."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tiny: bool
    """Whether it was a trial of the script at a tiny size, whose numbers mean nothing."""
    began: str
    minutes: float
    """What the whole was allowed."""
    seconds: float
    sources: list[str]
    """Names of the film files that were used; the embedded clips if there were none."""
    machine: Stage[MachineResult] | None = None
    smoke: Stage[SmokeResult] | None = None
    throughput: Stage[ThroughputResult] | None = None
    workload: Stage[WorkloadResult] | None = None
    media: Stage[MediaResult] | None = None
    films: Stage[FilmResult] | None = None


def summaries(results: Path) -> list[Path]:
    """The summaries below a results folder, `gpu/<device>/summary.json`, in order of name."""
    return sorted(results.glob(f"gpu/*/{SUMMARY}"))
