"""Stage `workload`: the training of 2016, `broad2016` at full size, by the engine itself."""

from __future__ import annotations

import shutil
import statistics
import time
from contextlib import ExitStack, suppress

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.material import ingested, main_part, settings
from benchmarks.gpu.throughput import Measure
from benchmarks.gpu.worker import Here, Work
from zoo.api.recipe_and_events import TrainingEvent
from zoo.base.errors import ZooError
from zoo.base.gpu_records import Item, WorkloadResult
from zoo.plugins.registry import registry
from zoo.training.engine import train
from zoo.training.run_folder import RunFolder
from zoo.training.settings import choose_compile_mode

MODEL = "broad2016"
WAYS = ((128, False), (512, False), (128, True), (512, True), (32, False), (12, False))
"""(batch size, compiled). Compiling takes half a minute or more. The batch of 2016 was 12."""
TINY_WAYS = ((4, False),)
SECONDS = {False: 4.0, True: 0.5}
"""Seconds of training measured per item."""
UNSETTLED = 3
"""First reports, which do not count: kernels are chosen and code is compiled."""
FRAMES_A_REPORT = {False: 640, True: 8}
"""Approximate frames per report: the engine reports forty times in a training."""
MOST_KERNELS = 12


def works(here: Here) -> dict[str, Work]:
    """An item for each of `WAYS`."""
    measure = Measure(here)
    return {
        f"batch {batch}" + (", compiled" if compiled else ""): _work(measure, batch, compiled)
        for batch, compiled in (TINY_WAYS if here.tiny else WAYS)
    }


class _Measured(Exception):
    """Ends a training once its speed is known: its weights are not needed."""


def _work(measure: Measure, batch: int, compiled: bool) -> Work:
    def trained(item: Item[WorkloadResult]) -> None:
        item.result = _trained(measure, batch, compiled)

    return trained


def _trained(measure: Measure, batch: int, compiled: bool) -> WorkloadResult:
    here = measure.here
    steps = 40 * max(2, FRAMES_A_REPORT[here.tiny] // batch)
    chosen = settings(here, "film", batch=batch, budget=f"{steps}steps")
    film = ingested(here, main_part(here), chosen.size)
    architecture = registry().architecture(MODEL)
    config = chosen.config(architecture, film)
    config = config.model_copy(update={"compile": choose_compile_mode(compiled, here.device)})
    folder = RunFolder(here.work / "workload")
    shutil.rmtree(folder.path, ignore_errors=True)
    events: list[tuple[float, TrainingEvent]] = []
    on_gpu = here.device.type == "cuda"
    profiler = profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU])
    measured = False

    def on_event(event: TrainingEvent) -> None:
        nonlocal measured
        if measured:
            raise _Measured
        events.append((time.monotonic(), event))
        settled = events[UNSETTLED:]
        measured = len(settled) > 1 and settled[-1][0] - settled[0][0] > SECONDS[here.tiny]
        if measured:
            # The steps up to the next report no longer count.
            profiling.enter_context(profiler)

    try:
        with suppress(_Measured), ExitStack() as profiling:
            train(folder, config, film, here.device, callback=on_event)
    finally:
        if compiled:
            torch.compiler.reset()
    if len(events) < UNSETTLED + 2:
        raise ZooError("the training ended before its speed could be measured")
    (began, first), *_, (ended, last) = events[UNSETTLED:]
    rate = (last.frames - first.frames) / (ended - began)
    subject = measure.subject(MODEL, batch, compiled)
    described = folder.read()
    model = measure.built(subject)
    result = WorkloadResult(
        batch=batch,
        compiled=compiled,
        precision=config.precision,
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        film_frames=len(film),
        film_on_device=described.film_on_device if described else None,
        seconds=ended - began,
        frames_per_second=rate,
        share_of_peak=rate * measure.operations(subject) / measure.rate(config.precision),
        data_stall=statistics.mean(event.data_stall for _, event in events[UNSETTLED + 1 :]),
        feature_seconds=None,
        kernels=_longest(profiler, on_gpu) if measured else {},
    )
    result.feature_seconds = result.frames * result.epochs / rate
    return result


def _longest(profiler: profile, on_gpu: bool) -> dict[str, float]:
    """The kernels that took most of the device's time, with their shares of it."""
    kind = "CUDA" if on_gpu else "CPU"
    times = {
        one.key: one.self_device_time_total if on_gpu else one.self_cpu_time_total
        for one in profiler.key_averages()
        if one.device_type.name == kind
    }
    longest = sorted(times, key=times.__getitem__, reverse=True)[:MOST_KERNELS]
    return {name[:160]: times[name] / sum(times.values()) for name in longest if times[name]}
