"""The cost of a model: speed, memory, arithmetic and energy of training and inference.

Costs depend on the architecture and its options, the size and number of frames, and the machine,
but on no film and no weights: untrained models are measured on noise, one at a time.
`zoo.compare.costs` measures several in one pass.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import pydantic
import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder, Batch
from zoo.api.metric import Unavailable
from zoo.api.recipe_and_events import Recipe
from zoo.api.samples_and_latents import Sampling, noise
from zoo.base.errors import ZooError, is_out_of_memory
from zoo.base.frame_size import FrameSize
from zoo.base.records import Cost, Memory, Throughput
from zoo.base.safe_text import error_line, one_line
from zoo.evaluation.model_summary import summarise_model
from zoo.evaluation.profiling import (
    FEWEST_CALLS,
    energy_meter,
    joules_per_frame,
    measure_throughput,
    memory_above,
    memory_in_use,
    peak_memory,
    release_memory,
    synchroniser,
)
from zoo.plugins.model_building import build, build_to_train, fits_directly, parse_options, placed
from zoo.plugins.registry import registry
from zoo.training.distributed import launch
from zoo.training.run_folder import CompileMode, TrainingConfig
from zoo.training.step import TrainingStep
from zoo.training.throughput_and_memory import (
    compute_dtype,
    matmul_rate,
    operations_per_frame,
    out_of_memory,
)

LONGEST_REASON = 500
PEAK_SECONDS = 1.0
HALFWAY = 0.5
"""The progress of training at which a step is timed."""


class Measurements:
    """Measured values by the names of `Cost`, and reasons for the missing ones."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.values: dict[str, Any] = {}
        self.unavailable: dict[str, str] = {}

    @contextmanager
    def guarded(self, *names: str) -> Iterator[None]:
        """Run a block in which an error makes only these values unavailable.

        Values that the block had not measured yet get the error as their reason.
        """
        try:
            yield
        except (Exception, SystemExit) as error:
            # A plugin may do anything: a call of sys.exit counts as its failure. The traceback
            # would keep the tensors of the failed block alive.
            error.__traceback__ = None
            reason = _reason(error, 1 if names[0].endswith("_one") else self.batch)
            for name in names:
                if name not in self.values:
                    self.unavailable.setdefault(name, reason)


def _reason(error: BaseException, batch: int) -> str:
    """Why a value is missing, in one line."""
    if isinstance(error, ZooError | Unavailable):
        text = str(error)
    elif is_out_of_memory(error):
        text = f"memory ran out with a batch of {batch}"
    else:
        return error_line(error, LONGEST_REASON)
    return one_line(text, LONGEST_REASON)


class CostSubject(pydantic.BaseModel):
    """The model whose cost is measured: everything but the machine that its cost depends on."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    model: str
    origin: str
    options: dict[str, Any]
    size: str
    batch: int
    precision: str
    """The precision of training, by Fabric's name; encoding and decoding run in 32 bits."""
    compile: CompileMode = "none"
    """How the training step is compiled."""
    source: str = ""
    """Digest of the model's own source."""
    recipe: Recipe = Recipe()

    @classmethod
    def of(cls, config: TrainingConfig) -> Self:
        """The subject of a training; trainings on other films or with other seeds cost the same."""
        return cls.model_validate(config.model_dump(include=set(cls.model_fields)))

    @property
    def key(self) -> str:
        """A unique name."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def architecture(self) -> type[Autoencoder]:
        """Its architecture; raises BadInput if no plugin provides it."""
        return registry().architecture(self.model)

    def build(self, device: torch.device) -> Autoencoder:
        """An untrained instance, in the memory layout of evaluation."""
        model = build(self.architecture, FrameSize.parse(self.size), self.options)
        return placed(model, device)

    def build_to_train(self, device: torch.device) -> Autoencoder:
        """An untrained instance with what only training needs, in the memory layout of training."""
        model = build_to_train(self.architecture, FrameSize.parse(self.size), self.options)
        return placed(model, device)

    @property
    def sampling(self) -> Sampling:
        """How it samples a film: single frames, or windows."""
        return Sampling.of(self.architecture)

    def samples(self, device: torch.device, batch: int | None = None) -> Tensor:
        """Make a batch of noise with `batch` frames, by default the subject's batch size."""
        width, height = FrameSize.parse(self.size)
        count = self.sampling.samples_in(self.batch if batch is None else batch)
        return noise(count, self.sampling, width, height, device)

    def training(self) -> TrainingConfig:
        """The configuration of a training on no film, for counting its operations."""
        return TrainingConfig(
            **self.model_dump(), film="none", film_fingerprint="", budget="1steps", seed=0
        )


class Profiler:
    """Measures calls on a device, and the device's peak arithmetic rate."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.wait = synchroniser(device)
        self._rates: dict[torch.dtype, float] = {}

    def time(self, call: Callable[[], object], frames: int) -> Throughput:
        """Throughput of a call on `frames` frames."""
        return measure_throughput(call, frames, self.wait, FEWEST_CALLS[self.device.type])

    def joules(self, call: Callable[[], object], frames: int, speed: Throughput) -> float:
        """Energy per frame of a timed call; raises Unavailable without a meter."""
        meter = energy_meter(self.device)
        return joules_per_frame(meter, call, frames, speed.median or 1.0, self.wait)

    def peak(self, kind: torch.dtype) -> float:
        """Operations per second of a large matrix product, measured once per type."""
        if kind not in self._rates:
            before = torch.get_float32_matmul_precision()
            # By default, 32-bit convolutions on a GPU may use TF32 and matrix products may not. The
            # peak is measured with TF32, or a network could exceed it.
            if self.device.type == "cuda":
                torch.set_float32_matmul_precision("high")
            try:
                self._rates[kind] = matmul_rate(self.device, kind, PEAK_SECONDS)
            finally:
                torch.set_float32_matmul_precision(before)
            release_memory(self.device)
        return self._rates[kind]


def measure_cost(subject: CostSubject, profiler: Profiler) -> Cost:
    """Measure one model; what cannot be measured is null, with the reason in `unavailable`.

    Nothing else should run on the machine meanwhile. A reference that is fitted directly has no
    costs of training. Errors of a model are never raised.
    """
    measurements = Measurements(subject.batch)
    _measure_inference(subject, profiler, measurements)
    trains = False
    with measurements.guarded("train"):
        trains = not fits_directly(subject.architecture)
    if trains:
        _measure_training(subject, profiler, measurements)
    _count(subject, profiler, measurements)
    return Cost(batch=subject.batch, **measurements.values, unavailable=measurements.unavailable)


def _measure_inference(
    subject: CostSubject, profiler: Profiler, measurements: Measurements
) -> None:
    with measurements.guarded(
        *("encode", "decode", "round_trip", "encode_one", "decode_one", "round_trip_one"),
        *("round_trip_memory", "round_trip_joules"),
    ):
        peak = _inference_memory(subject, profiler, measurements)
        if peak:
            measurements.values["round_trip_memory"] = memory_above(
                peak, memory_in_use(profiler.device)
            )


def _inference_memory(
    subject: CostSubject, profiler: Profiler, measurements: Measurements
) -> Memory | None:
    """Returns the peak memory; the model and its frames are freed by then."""
    model = subject.build(profiler.device).eval()
    with torch.inference_mode():
        return _time_inference(model, subject.samples(profiler.device), profiler, measurements)


def _time_inference(
    model: Autoencoder, frames: Tensor, profiler: Profiler, measurements: Measurements
) -> Memory | None:
    def round_trip() -> Tensor:
        return model.decode(model.encode(frames))

    one, window = frames[:1], model.window
    _time_encode_decode(model, frames, "", profiler, measurements)
    _time_encode_decode(model, one, "_one", profiler, measurements)
    with measurements.guarded("round_trip_one"):
        measurements.values["round_trip_one"] = profiler.time(
            lambda: model.decode(model.encode(one)), window
        )
    count = len(frames) * window
    peak = None
    with measurements.guarded("round_trip", "round_trip_memory", "round_trip_joules"):
        speed = measurements.values["round_trip"] = profiler.time(round_trip, count)
        with measurements.guarded("round_trip_joules"):
            measurements.values["round_trip_joules"] = profiler.joules(round_trip, count, speed)
        with measurements.guarded("round_trip_memory"):
            peak = peak_memory(profiler.device, round_trip)
    return peak


def _time_encode_decode(
    model: Autoencoder, frames: Tensor, suffix: str, profiler: Profiler, measurements: Measurements
) -> None:
    encode, decode = "encode" + suffix, "decode" + suffix
    with measurements.guarded(encode, decode):
        latent = model.encode(frames)
        count = len(frames) * model.window
        measurements.values[encode] = profiler.time(lambda: model.encode(frames), count)
        measurements.values[decode] = profiler.time(lambda: model.decode(latent), count)


def _measure_training(subject: CostSubject, profiler: Profiler, measurements: Measurements) -> None:
    with measurements.guarded("train", "train_memory", "train_joules"):
        peak = _training_memory(subject, profiler, measurements)
        if subject.compile != "none":
            # Compiled code holds memory of its own.
            torch.compiler.reset()
        if peak:
            measurements.values["train_memory"] = memory_above(peak, memory_in_use(profiler.device))


def _training_memory(
    subject: CostSubject, profiler: Profiler, measurements: Measurements
) -> Memory | None:
    """Returns the peak memory; the model and its frames are freed by then."""
    model = subject.build_to_train(profiler.device).train()
    batch = Batch.numbered(subject.samples(profiler.device), model.window)
    count = len(batch) * model.window
    peak = None
    step = training_step(model, batch, subject.precision, subject.compile, subject.recipe)

    def take() -> None:
        step(batch, HALFWAY)
        # Training clears it at every report; here it would grow with every call.
        step.loss_averager.clear()

    try:
        speed = measurements.values["train"] = profiler.time(take, count)
        with measurements.guarded("train_joules"):
            measurements.values["train_joules"] = profiler.joules(take, count, speed)
        with measurements.guarded("train_memory"):
            peak = peak_memory(profiler.device, take)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        error.__traceback__ = None
        raise ZooError(out_of_memory(step, batch)) from None
    return peak


def training_step(
    model: Autoencoder,
    batch: Batch,
    precision: str,
    compiled: CompileMode,
    recipe: Recipe | None = None,
) -> TrainingStep:
    """The training step, for one batch on the device.

    It updates `model`. What training does between steps, such as writing its log, is not included.
    """
    fabric = launch(batch.frames.device, precision, len(batch))
    return TrainingStep(model, fabric, compile_mode=compiled, recipe=recipe)


def _count(subject: CostSubject, profiler: Profiler, measurements: Measurements) -> None:
    """Count operations on new instances, and compare speeds with the device's peak."""
    with measurements.guarded(
        "encode_multiply_adds", "decode_multiply_adds", "round_trip_share_of_peak"
    ):
        architecture = subject.architecture
        options = parse_options(architecture, subject.options)
        found = summarise_model(architecture, FrameSize.parse(subject.size), options)
        measurements.values["encode_multiply_adds"] = found.encode
        measurements.values["decode_multiply_adds"] = found.decode
        speed = _median(measurements, "round_trip")
        measurements.values["round_trip_share_of_peak"] = (
            speed * 2 * (found.encode + found.decode) / profiler.peak(torch.float32)
        )
    if "train" in measurements.values or "train" in measurements.unavailable:
        with measurements.guarded("train_share_of_peak"):
            measurements.values["train_share_of_peak"] = (
                _median(measurements, "train")
                * operations_per_frame(subject.training(), profiler.device)
                / profiler.peak(compute_dtype(subject.precision))
            )
    release_memory(profiler.device)


def _median(measurements: Measurements, name: str) -> float:
    """The median of a measured speed; raises Unavailable with the reason if there is none."""
    timed: Throughput | None = measurements.values.get(name)
    if timed is None or timed.median is None:
        raise Unavailable(measurements.unavailable.get(name, "no speed was measured"))
    return timed.median
