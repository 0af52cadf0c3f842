"""The training loop, the same for every model, and the callbacks that follow it.

On a CPU the same seed, threads and machine give the same weights to the bit, and a training that
was killed and resumed ends exactly as an undisturbed one.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

import torch

from zoo.api.autoencoder import Autoencoder
from zoo.api.recipe_and_events import FollowedRun, TrainingCallback, TrainingEvent
from zoo.api.samples_and_latents import Sampling
from zoo.base.errors import BrokenContract, ZooError, is_out_of_memory
from zoo.base.frame_size import FrameSize
from zoo.base.interrupts import RESUME, Interrupted, StopRequest, deferred_stop, saving
from zoo.base.presets_and_budgets import Budget
from zoo.base.safe_text import describe_value, error_line
from zoo.films.ingested_film import Film
from zoo.plugins.model_building import build_to_train, placed
from zoo.plugins.registry import registry
from zoo.training.checkpoint import Progress, load_checkpoint, load_weights
from zoo.training.distributed import broadcast_progress, broadcast_weights, launch
from zoo.training.run_folder import InitialWeights, RunFolder, RunLog, TrainingConfig
from zoo.training.run_writer import RunWriter
from zoo.training.step import TrainingStep
from zoo.training.throughput_and_memory import (
    Throughput,
    ThroughputMeter,
    keep_freed_memory,
    out_of_memory,
)
from zoo.training.training_frames import BatchLoader, TrainingFrames
from zoo.training.weight_rounding import round_weights, trained_matrices

CALIBRATION_BATCHES = 16
"""Batches of training frames given to `Autoencoder.calibrate` after training."""
SECONDS_BETWEEN_REPORTS = 10.0
"""The longest time between reports, even if steps are slow."""

Callback = Callable[[TrainingEvent], None]


def ignore_event(_: TrainingEvent) -> None:
    """Do nothing: the default callback."""


def call_all(*callbacks: Callback) -> Callback:
    """Return a callback that calls several in order."""

    def call(event: TrainingEvent) -> None:
        for callback in callbacks:
            callback(event)

    return call


@contextmanager
def following(
    kinds: Sequence[type[TrainingCallback]],
    run: FollowedRun,
    notify: Callable[[str], None],
) -> Iterator[Callback]:
    """Yield a callback that passes events on to callbacks of plugins, made for this run.

    A callback that fails is reported to `notify` and gets no more events, and the training goes on.
    Raises BadInput if a callback cannot be used.
    """
    active = [kind(run) for kind in kinds]

    def guarded(callback: TrainingCallback, act: Callable[[], None]) -> None:
        try:
            act()
        except (Exception, SystemExit) as error:
            notify(f"{callback.name} failed and gets no more reports: {error_line(error)}")
            if callback in active:
                active.remove(callback)

    def pass_on(event: TrainingEvent) -> None:
        for callback in list(active):
            guarded(callback, partial(callback, event))

    everyone = list(active)
    try:
        yield pass_on
    finally:
        for callback in everyone:
            guarded(callback, callback.close)


def train(
    folder: RunFolder,
    config: TrainingConfig,
    film: Film,
    device: torch.device,
    *,
    callback: Callback = ignore_event,
    stop: StopRequest | None = None,
    checkpoint_every: int | None = None,
    measure_peak: bool = False,
    initial_weights: InitialWeights | None = None,
) -> None:
    """Train until the budget is used up, from the last checkpoint if there is one.

    Checkpoints are written every `checkpoint_every` steps, or by the clock if that is None. With
    `measure_peak` the device's peak is measured first, and events report the share of it reached.
    A model that starts from `initial_weights` is not prepared. Saves and raises Interrupted on
    `stop` or a signal; raises ZooError if a loss is not finite or memory runs out.
    """
    if device.type == "cpu":
        keep_freed_memory()
    fabric = launch(device, config.precision, config.batch)
    device = fabric.device  # of this rank
    # All batches have one size, so cuDNN searches for its fastest kernels once.
    torch.backends.cudnn.benchmark = True
    architecture = registry().architecture(config.model)
    sampling = Sampling.of(architecture)
    frames_per_step = sampling.frames_in(config.batch)
    throughput_meter = ThroughputMeter(config, fabric, measure_peak, frames_per_step)
    torch.manual_seed(config.seed)
    model = build_to_train(architecture, FrameSize.parse(config.size), config.options)
    if initial_weights is not None:
        load_weights(initial_weights.weights, model)
    model = placed(model, device)
    taken = _frames_taken(model, film)
    if not folder.checkpoint.exists():
        if initial_weights is None:
            model.prepare(TrainingFrames(film, taken))
        broadcast_weights(fabric, model)
    loader = BatchLoader(
        film,
        config.batch,
        config.seed,
        device,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        taken=taken,
        sampling=sampling,
    )
    config.recipe.check_accumulation(loader.slice.stop - loader.slice.start, config.model)
    budget = Budget.parse(config.budget)
    steps = budget.steps(len(film.split.seen), frames_per_step)
    step = TrainingStep(
        model,
        fabric,
        compile_mode=config.compile,
        seed=config.seed,
        recipe=config.recipe,
        steps=steps,
    )

    progress = Progress()
    if folder.checkpoint.exists():
        progress = load_checkpoint(folder.checkpoint, step)
    # Losses that the checkpoint still holds were not reported when it was saved: report them again.
    reported = step.loss_averager.steps[0] if step.loss_averager.steps else progress.step
    log = RunLog(folder.log, keep_up_to_step=reported)
    started_from = initial_weights.run if initial_weights else None
    writer = RunWriter(folder, config, film, step, loader.resident, started_from)
    writer.used = _used(budget, steps, progress)
    if progress.step:
        of = f" of {steps:,}" if steps else ""
        writer.notes.append(f"resumed at step {progress.step:,}{of}")
    writer.write_description("training", progress)

    report_every = max(1, min(50, (steps or 1000) // 40))
    started = time.monotonic() - progress.seconds
    throughput_meter.begin(progress)
    model.train()

    def report(throughput: Throughput | None = None) -> None:
        if throughput is None:
            writer.check_finite(progress)
            throughput = throughput_meter.since_last(progress)
        score, notes = writer.pop_news()
        means = step.loss_averager.means(step.reduce)
        event = TrainingEvent(
            step=progress.step,
            steps=steps,
            progress=min(1.0, _used(budget, steps, progress)),
            frames=progress.step * frames_per_step,
            seconds=progress.seconds,
            frames_per_second=throughput.frames_per_second,
            data_stall=throughput.data_stall,
            share_of_peak=throughput.share_of_peak,
            losses=means.losses,
            logged=means.logged,
            score=score,
            notes=notes,
        )
        if fabric.is_global_zero:
            log.add(event)
            callback(event)

    # Several ranks stop together after a report, which may take a while after the signal.
    with (
        saving() if fabric.world_size > 1 else nullcontext(),
        deferred_stop() as signalled,
        loader.from_step(progress.step) as batch_at,
        writer,
    ):
        while True:
            used, stopping = _used(budget, steps, progress), False
            # Several ranks synchronise no more often than they must.
            if fabric.world_size == 1 or steps is None or progress.step % report_every == 0:
                stopping = signalled.asked or bool(stop and stop.asked)
                used, stopping = broadcast_progress(fabric, used, stopping)
            if used >= 1:
                break
            if stopping:
                with saving():
                    writer.save(progress)
                    writer.write_description("interrupted", progress)
                raise Interrupted(f"stopped at step {progress.step} and saved; {RESUME}")

            requested = time.monotonic()
            batch = batch_at(progress.step)
            progress.waited += time.monotonic() - requested
            try:
                step(batch, used)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                # The traceback would keep the tensors of the failed step alive.
                error.__traceback__ = None
                raise ZooError(out_of_memory(step, batch)) from None

            progress.step += 1
            progress.seconds = time.monotonic() - started
            # Several ranks have different clocks, so they report by steps only.
            overdue = fabric.world_size == 1 and throughput_meter.seconds > SECONDS_BETWEEN_REPORTS
            # The last report follows below, with the final score.
            if progress.step != steps and (progress.step % report_every == 0 or overdue):
                report()
            writer.after_step(progress, _used(budget, steps, progress), checkpoint_every)

        writer.check_finite(progress)
        throughput = throughput_meter.since_last(progress)
        with torch.no_grad():
            kept = step.ema.with_latest_buffers()
            round_weights(kept, trained_matrices(step.model), config.recipe.weight_bits)
            kept.calibrate(batch_at(progress.step + n).frames for n in range(CALIBRATION_BATCHES))
        writer.score_final(progress)
        if step.loss_averager.rows:
            report(throughput)
        writer.finish(progress)


def _frames_taken(model: Autoencoder, film: Film) -> int:
    """Return how many training frames the model takes; raises ZooError if there are fewer."""
    seen = len(film.split.seen)
    given = model.frames_taken(seen)
    try:
        taken = operator.index(given)
    except TypeError:
        raise BrokenContract(
            f"{model.name}: frames_taken gave {describe_value(given)}; it must give a whole number "
            "of frames"
        ) from None
    if not 1 <= taken <= seen:
        raise ZooError(
            f"{model.name} takes {taken} training frames of {film.name}, which has {seen}"
        )
    return taken


def _used(budget: Budget, steps: int | None, progress: Progress) -> float:
    return progress.step / steps if steps else progress.seconds / budget.amount
