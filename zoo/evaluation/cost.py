"""What a model costs to run: speed, memory, arithmetic and energy.

All of it depends on the architecture and its options, the size and number of frames, and the
machine; on no film and on no weights. Untrained models work on frames of noise here, one model at a
time. `zoo.compare.costs` measures several in one pass.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import pydantic
import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder, Batch
from zoo.api.metric import Unavailable
from zoo.api.recipe import Recipe
from zoo.api.sampling import Sampling, noise
from zoo.base.errors import ZooError, is_out_of_memory
from zoo.base.frame_size import FrameSize
from zoo.base.records import Cost, Memory, Throughput
from zoo.base.text import error_line, one_line
from zoo.evaluation.model_summary import anatomy
from zoo.evaluation.profiling import (
    CALLS,
    beyond,
    energy_meter,
    hand_back,
    held,
    joules_per_frame,
    most_held,
    throughput,
    waiter,
)
from zoo.plugins.model_building import build, build_to_train, fits_directly, parse_options
from zoo.plugins.registry import registry
from zoo.training.memory import out_of_memory
from zoo.training.peak import matmul_rate, number_type, operations_per_frame
from zoo.training.ranks import launch
from zoo.training.run_folder import CompileMode, TrainingConfig
from zoo.training.step import TrainingStep

LONGEST_REASON = 500


class Figures:
    """What came out, by the names of `Cost`, and why the rest did not."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.values: dict[str, Any] = {}
        self.unavailable: dict[str, str] = {}

    def asked(self, *names: str) -> _Asked:
        """A `with` block in which whatever goes wrong costs these figures and no others."""
        return _Asked(self, names)


class _Asked:
    """Notes why figures are missing that a block of work did not get to, and goes on after it."""

    def __init__(self, figures: Figures, names: tuple[str, ...]) -> None:
        self.figures = figures
        self.names = names

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        # A plugin is a stranger's code: a call of sys.exit counts as a failure of its own.
        if not isinstance(error, Exception | SystemExit):
            return False
        # Its traceback would keep the tensors of the failed work alive.
        error.__traceback__ = None
        figures = self.figures
        batch = 1 if self.names[0].endswith("_one") else figures.batch
        reason = _reason(error, batch)
        for name in self.names:
            if name not in figures.values:
                figures.unavailable.setdefault(name, reason)
        return True


def _reason(error: BaseException, batch: int) -> str:
    """Why a figure is missing, in one line."""
    if isinstance(error, ZooError | Unavailable):
        said = str(error)
    elif is_out_of_memory(error):
        said = f"memory ran out with a batch of {batch}"
    else:
        return error_line(error, LONGEST_REASON)
    return one_line(said, LONGEST_REASON)


class CostSubject(pydantic.BaseModel):
    """All that a cost depends on, beside the machine."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    model: str
    origin: str
    options: dict[str, Any]
    size: str
    batch: int
    precision: str
    """Of training, one of Fabric's names; encoding and decoding run in 32 bits."""
    compile: CompileMode = "none"
    """Of the training step."""
    source: str = ""
    """Digest of the model's own source."""
    recipe: Recipe = Recipe()

    @classmethod
    def of(cls, config: TrainingConfig) -> Self:
        """What is measured for a training; trainings on other films or seeds cost the same."""
        return cls.model_validate(config.model_dump(include=set(cls.model_fields)))

    @property
    def key(self) -> str:
        """A name of its own for each subject."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def architecture(self) -> type[Autoencoder]:
        """What is measured; raises BadInput if no plugin brings it."""
        return registry().architecture(self.model)

    def build(self, device: torch.device) -> Autoencoder:
        """An untrained instance, laid out as in evaluation."""
        model = build(self.architecture, FrameSize.parse(self.size), self.options)
        return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def build_to_train(self, device: torch.device) -> Autoencoder:
        """An untrained instance with what only training needs, laid out as in training."""
        model = build_to_train(self.architecture, FrameSize.parse(self.size), self.options)
        return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def sampling(self) -> Sampling:
        """How it looks at a film."""
        return Sampling.of(self.architecture)

    def samples(self, device: torch.device, batch: int | None = None) -> Tensor:
        """Samples of noise in a batch of frames, the subject's own if none is given."""
        width, height = FrameSize.parse(self.size)
        count = self.sampling.samples_in(self.batch if batch is None else batch)
        return noise(count, self.sampling, width, height, device)

    def training(self) -> TrainingConfig:
        """A training of it, on no film, for what is counted by training."""
        return TrainingConfig(
            **self.model_dump(), film="none", film_fingerprint="", budget="1steps", seed=0
        )


PEAK_SECONDS = 1.0
HALFWAY = 0.5
"""Of its training, where a step is timed."""


class Machine:
    """The device that is measured on, and what it could do at most."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.wait = waiter(device)
        self._rates: dict[torch.dtype, float] = {}

    def time(self, call: Callable[[], object], frames: int) -> Throughput:
        """Time a call that works on `frames` frames."""
        return throughput(call, frames, self.wait, CALLS[self.device.type])

    def joules(self, call: Callable[[], object], frames: int, speed: Throughput) -> float:
        """Energy a frame of a call that was timed; raises Unavailable where none is metered."""
        meter = energy_meter(self.device)
        return joules_per_frame(meter, call, frames, speed.median or 1.0, self.wait)

    def peak(self, kind: torch.dtype) -> float:
        """Operations a second of a large matrix product, measured once for each type."""
        if kind not in self._rates:
            before = torch.get_float32_matmul_precision()
            # On a GPU convolutions in 32 bits may round to TF32 unasked, and products may not. The
            # peak must be that of the faster, or a network could be above it.
            if self.device.type == "cuda":
                torch.set_float32_matmul_precision("high")
            try:
                self._rates[kind] = matmul_rate(self.device, kind, PEAK_SECONDS)
            finally:
                torch.set_float32_matmul_precision(before)
            hand_back(self.device)
        return self._rates[kind]


def measure_cost(subject: CostSubject, machine: Machine) -> Cost:
    """Measure one model; what could not be is null, with its reason in `unavailable`.

    Nothing else should run on the machine meanwhile. A reference that is fitted directly has no
    figures of training. Nothing that a model raises gets out of here.
    """
    figures = Figures(subject.batch)
    _measure_inference(subject, machine, figures)
    trains = False
    with figures.asked("train"):
        trains = not fits_directly(subject.architecture)
    if trains:
        _measure_training(subject, machine, figures)
    _count(subject, machine, figures)
    return Cost(batch=subject.batch, **figures.values, unavailable=figures.unavailable)


def _measure_inference(subject: CostSubject, machine: Machine, figures: Figures) -> None:
    with figures.asked(
        *("encode", "decode", "round_trip", "encode_one", "decode_one", "round_trip_one"),
        *("round_trip_memory", "round_trip_joules"),
    ):
        most = _infer(subject, machine, figures)
        if most:
            figures.values["round_trip_memory"] = beyond(most, held(machine.device))


def _infer(subject: CostSubject, machine: Machine, figures: Figures) -> Memory | None:
    """Returns the most memory that was held; the model and its frames are gone by then."""
    model = subject.build(machine.device).eval()
    with torch.inference_mode():
        return _time_inference(model, subject.samples(machine.device), machine, figures)


def _time_inference(
    model: Autoencoder, frames: Tensor, machine: Machine, figures: Figures
) -> Memory | None:
    def round_trip() -> Tensor:
        return model.decode(model.encode(frames))

    one, window = frames[:1], model.window
    _time_halves(model, frames, "", machine, figures)
    _time_halves(model, one, "_one", machine, figures)
    with figures.asked("round_trip_one"):
        figures.values["round_trip_one"] = machine.time(
            lambda: model.decode(model.encode(one)), window
        )
    count = len(frames) * window
    with figures.asked("round_trip", "round_trip_memory", "round_trip_joules"):
        speed = figures.values["round_trip"] = machine.time(round_trip, count)
        with figures.asked("round_trip_joules"):
            figures.values["round_trip_joules"] = machine.joules(round_trip, count, speed)
        return most_held(machine.device, round_trip)
    return None


def _time_halves(
    model: Autoencoder, frames: Tensor, suffix: str, machine: Machine, figures: Figures
) -> None:
    encode, decode = "encode" + suffix, "decode" + suffix
    with figures.asked(encode, decode):
        latent = model.encode(frames)
        count = len(frames) * model.window
        figures.values[encode] = machine.time(lambda: model.encode(frames), count)
        figures.values[decode] = machine.time(lambda: model.decode(latent), count)


def _measure_training(subject: CostSubject, machine: Machine, figures: Figures) -> None:
    with figures.asked("train", "train_memory", "train_joules"):
        most = _train(subject, machine, figures)
        if subject.compile != "none":
            # Compiled code keeps memory of its own.
            torch.compiler.reset()
        if most:
            figures.values["train_memory"] = beyond(most, held(machine.device))


def _train(subject: CostSubject, machine: Machine, figures: Figures) -> Memory | None:
    """Returns the most memory that was held; the model and its frames are gone by then."""
    model = subject.build_to_train(machine.device).train()
    batch = Batch.numbered(subject.samples(machine.device), model.window)
    count = len(batch) * model.window
    most = None
    step = training_step(model, batch, subject.precision, subject.compile, subject.recipe)

    def take() -> None:
        step(batch, HALFWAY)
        # Read now and then in training; here a row would be kept for every call.
        step.tally.clear()

    try:
        speed = figures.values["train"] = machine.time(take, count)
        with figures.asked("train_joules"):
            figures.values["train_joules"] = machine.joules(take, count, speed)
        with figures.asked("train_memory"):
            most = most_held(machine.device, take)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        error.__traceback__ = None
        raise ZooError(out_of_memory(step, batch)) from None
    return most


def training_step(
    model: Autoencoder,
    batch: Batch,
    precision: str,
    compiled: CompileMode,
    recipe: Recipe | None = None,
) -> TrainingStep:
    """The step that training takes, for one batch that lies on the device.

    It moves `model`. What training does between steps, such as writing its log, is no part of it.
    """
    fabric = launch(batch.frames.device, precision, len(batch))
    return TrainingStep(model, fabric, compile_mode=compiled, recipe=recipe)


def _count(subject: CostSubject, machine: Machine, figures: Figures) -> None:
    """Count operations on instances of their own, and hold speeds to the device's peak."""
    with figures.asked("encode_multiply_adds", "decode_multiply_adds", "round_trip_share_of_peak"):
        architecture = subject.architecture
        options = parse_options(architecture, subject.options)
        found = anatomy(architecture, FrameSize.parse(subject.size), options)
        figures.values["encode_multiply_adds"] = found.encode
        figures.values["decode_multiply_adds"] = found.decode
        speed = _median(figures, "round_trip")
        figures.values["round_trip_share_of_peak"] = (
            speed * 2 * (found.encode + found.decode) / machine.peak(torch.float32)
        )
    if "train" in figures.values or "train" in figures.unavailable:
        with figures.asked("train_share_of_peak"):
            figures.values["train_share_of_peak"] = (
                _median(figures, "train")
                * operations_per_frame(subject.training(), machine.device)
                / machine.peak(number_type(subject.precision))
            )
    hand_back(machine.device)


def _median(figures: Figures, name: str) -> float:
    """A speed that was measured; raises Unavailable with the reason why it was not."""
    timed: Throughput | None = figures.values.get(name)
    if timed is None or timed.median is None:
        raise Unavailable(figures.unavailable.get(name, "no speed was measured"))
    return timed.median
