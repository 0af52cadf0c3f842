"""Stage `throughput`: the training step of each model at the `film` preset, by batch size."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.gpu.material import MAIN, architectures, settings
from benchmarks.gpu.waiting import what_waits
from benchmarks.gpu.worker import Here, Work
from zoo.api.autoencoder import Autoencoder, Batch
from zoo.base.errors import ZooError, is_out_of_memory
from zoo.base.gpu_records import Item, ThroughputResult
from zoo.conformance import fake_gpu
from zoo.evaluation.cost import HALFWAY, CostSubject, training_step
from zoo.evaluation.profiling import synchroniser
from zoo.plugins.model_building import placed
from zoo.plugins.registry import registry
from zoo.training.settings import choose_compile_mode
from zoo.training.throughput_and_memory import compute_dtype, matmul_rate, operations_of

BATCHES = (32, 128, 512)
TINY_BATCHES = (2, 4)
SECONDS = {False: 1.0, True: 0.05}
"""Seconds of timing per item, by whether the run is tiny."""
BLOCK = {False: 0.1, True: 0.01}
"""Seconds that a block of steps takes at least."""
FEWEST_BLOCKS = 3


def works(here: Here) -> dict[str, Work]:
    """An item for each model, batch size and compile mode, the most informative first."""
    models = list(architectures(here))
    main = [name for name in MAIN if name in models]
    rest = [name for name in models if name not in main]
    small, *large = TINY_BATCHES if here.tiny else BATCHES
    # What is not compiled takes seconds and comes first; compiling takes half a minute each time.
    order = [(name, batch, False) for batch in (small, *large) for name in main]
    order += [(name, batch, False) for batch in (small, *large[:-1]) for name in rest]
    order += [(name, batch, True) for batch in (small, *large) for name in main]
    order += [(name, large[-1], False) for name in rest]
    order += [(name, batch, True) for batch in (small, *large) for name in rest]
    measure = Measure(here)
    return {_name(*one): measure.work(*one) for one in order if not (one[2] and here.tiny)}


def _name(model: str, batch: int, compiled: bool) -> str:
    return f"{model}, batch {batch}" + (", compiled" if compiled else "")


class Measure:
    """Times steps; models are built, operations counted and the device's rate found once."""

    def __init__(self, here: Here) -> None:
        self.here = here
        self._built: dict[str, Autoencoder] = {}
        self._rates: dict[torch.dtype, float] = {}
        self._operations: dict[str, float] = {}

    def work(self, name: str, batch: int, compiled: bool) -> Work:
        """Return the function that makes one measurement."""

        def measured(item: Item[ThroughputResult]) -> None:
            try:
                item.result = self._measured(name, batch, compiled)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                # Its traceback would keep the tensors of the failed step alive.
                error.__traceback__ = None
                raise ZooError(f"memory ran out with a batch of {batch}") from None
            finally:
                if compiled:
                    torch.compiler.reset()

        return measured

    def _measured(self, name: str, batch: int, compiled: bool) -> ThroughputResult:
        here, tiny = self.here, self.here.tiny
        subject = self.subject(name, batch, compiled)
        torch.backends.cudnn.benchmark = True
        on_gpu = here.device.type == "cuda"
        before = torch.cuda.memory_allocated(here.device) if on_gpu else 0
        model = placed(self.built(subject), here.device)
        samples = Batch.numbered(subject.samples(here.device), model.window)
        wait = synchroniser(here.device)
        step = training_step(model, samples, subject.precision, subject.compile, subject.recipe)

        def take() -> None:
            step(samples, HALFWAY)
            # Read now and then in training; here a row would be kept for every call.
            step.loss_averager.clear()

        began = time.perf_counter()
        take()
        wait()
        first = time.perf_counter() - began
        take()
        waits = what_waits(here.device, take)
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(here.device)
        rates = timed(take, len(samples) * model.window, wait, SECONDS[tiny], BLOCK[tiny])
        peak = torch.cuda.max_memory_allocated(here.device) - before if on_gpu else None
        lower, median, upper = np.percentile(rates, [25, 50, 75])
        operations = self.operations(subject)
        return ThroughputResult(
            model=name,
            batch=batch,
            compiled=compiled,
            precision=subject.precision,
            parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
            frames_per_second=float(median),
            lower_quartile=float(lower),
            upper_quartile=float(upper),
            blocks=len(rates),
            peak_memory_bytes=peak,
            operations_per_frame=operations,
            share_of_peak=float(median) * operations / self.rate(subject.precision),
            first_step_seconds=first,
            waits=waits,
        )

    def subject(self, name: str, batch: int, compiled: bool) -> CostSubject:
        """What is measured: a model at the `film` preset."""
        chosen = settings(self.here, "film", batch=batch)
        terms = chosen.terms(registry().architecture(name))
        compile_mode = choose_compile_mode(compiled, self.here.device)
        return CostSubject(**{**terms, "compile": compile_mode})

    def built(self, subject: CostSubject) -> Autoencoder:
        """A new untrained model to train, on the CPU."""
        if subject.model not in self._built:
            self._built[subject.model] = subject.build_to_train(torch.device("cpu")).train()
        return copy.deepcopy(self._built[subject.model])

    def rate(self, precision: str) -> float:
        """Operations per second of a large matrix product in a precision."""
        kind = compute_dtype(precision)
        if kind not in self._rates:
            self._rates[kind] = matmul_rate(self.here.device, kind)
        return self._rates[kind]

    def operations(self, subject: CostSubject) -> float:
        """Operations per frame of a training step, counted on tensors without data."""
        if subject.model not in self._operations:
            model = self.built(subject)
            with fake_gpu.moved(model, fake_gpu.CPU) as samples:
                self._operations[subject.model] = operations_of(model, samples)
        return self._operations[subject.model]


def timed(
    call: Callable[[], None], frames: int, wait: Callable[[], None], seconds: float, block: float
) -> list[float]:
    """Frames per second of each of some blocks of warm calls that take about `seconds` together."""
    wait()
    began = time.perf_counter()
    call()
    wait()
    calls = max(1, math.ceil(block / max(time.perf_counter() - began, 1e-9)))
    rates: list[float] = []
    first = time.perf_counter()
    while len(rates) < FEWEST_BLOCKS or time.perf_counter() - first < seconds:
        began = time.perf_counter()
        for _ in range(calls):
            call()
        wait()
        rates.append(calls * frames / (time.perf_counter() - began))
    return rates
