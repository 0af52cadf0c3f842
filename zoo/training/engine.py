"""The training loop: one for every model, read from top to bottom.

What it promises: the same seed, threads and machine give the same weights to the bit on a CPU,
and a training that was killed and resumed ends as one that never was.
"""

from __future__ import annotations

import time
from contextlib import nullcontext

import torch

from zoo.api.autoencoder import Autoencoder
from zoo.api.sampling import Sampling
from zoo.base.errors import BadInput, ZooError, is_out_of_memory
from zoo.base.frame_size import FrameSize
from zoo.base.interrupts import StopRequest, deferred_stop, saving
from zoo.base.presets import Budget
from zoo.films.film import Film
from zoo.films.training_frames import TrainingFrames
from zoo.plugins.model_building import build_to_train
from zoo.plugins.registry import registry
from zoo.training.batches import FrameFeed
from zoo.training.callbacks import Interrupted, Moment, Watcher, nobody
from zoo.training.checkpoint import Progress, load_checkpoint, load_weights
from zoo.training.distributed import agree, launch, share_weights
from zoo.training.memory import keep_freed_memory, out_of_memory
from zoo.training.run_folder import Log, RunFolder, Start, TrainingConfig
from zoo.training.run_writer import Scribe
from zoo.training.step import TrainingStep, parts_of
from zoo.training.throughput import Pace, Speed

CALIBRATED = 16
"""Batches of training frames on which a model may settle after training."""
SECONDS_BETWEEN_REPORTS = 10.0
"""At most, where steps take long."""


def train(
    folder: RunFolder,
    config: TrainingConfig,
    film: Film,
    device: torch.device,
    *,
    watch: Watcher = nobody,
    stop: StopRequest | None = None,
    checkpoint_every: int | None = None,
    measure_peak: bool = False,
    start: Start | None = None,
) -> None:
    """Train until the budget is used, from the last checkpoint where there is one.

    `checkpoint_every` counts steps; without it the clock decides. `measure_peak` first measures
    what the device could do, so that `watch` is told what share of it is reached. `start` are
    weights to begin with in place of preparing the model. Saves and raises
    Interrupted when `stop` was asked or a signal came, and ZooError if a loss is no longer a number
    or memory runs out.
    """
    if device.type == "cpu":
        keep_freed_memory()
    fabric = launch(device, config.precision, config.batch)
    device = fabric.device  # of this rank
    # Frames are of one size, so that cuDNN's fastest kernels are looked for once.
    torch.backends.cudnn.benchmark = True
    architecture = registry().architecture(config.model)
    sampling = Sampling.of(architecture)
    frames_per_step = sampling.frames_in(config.batch)
    pace = Pace(config, fabric, measure_peak, frames_per_step)
    torch.manual_seed(config.seed)
    model = build_to_train(architecture, FrameSize.parse(config.size), config.options)
    if start is not None:
        load_weights(start.weights, model)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    taken = _taken(model, film)
    if not folder.checkpoint.exists():
        if start is None:
            model.prepare(TrainingFrames(film, taken))
        share_weights(fabric, model)
    feed = FrameFeed(
        film,
        config.batch,
        config.seed,
        device,
        rank=fabric.global_rank,
        ranks=fabric.world_size,
        taken=taken,
        sampling=sampling,
    )
    _check_accumulation(config, feed)
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
    # What the checkpoint holds and no line told is told again, in a line that takes its place.
    reported = step.tally.steps[0] if step.tally.steps else progress.step
    log = Log(folder.log, keep_up_to_step=reported)
    scribe = Scribe(folder, config, film, step, feed.resident, start.run if start else None)
    scribe.describe("training", progress)

    report_every = max(1, min(50, (steps or 1000) // 40))
    started = time.monotonic() - progress.seconds
    pace.begin(progress)
    model.train()

    def report(speed: Speed | None = None) -> None:
        if speed is None:
            scribe.refuse_faults(progress)
            speed = pace.since_last(progress)
        score, notes = scribe.told()
        means = step.tally.means(step.reduce)
        moment = Moment(
            step=progress.step,
            steps=steps,
            progress=min(1.0, _used(budget, steps, progress)),
            frames=progress.step * frames_per_step,
            seconds=progress.seconds,
            frames_per_second=speed.frames_per_second,
            data_stall=speed.data_stall,
            share_of_peak=speed.share_of_peak,
            losses=means.losses,
            logged=means.logged,
            score=score,
            notes=notes,
        )
        if fabric.is_global_zero:
            log.add(moment)
            watch(moment)

    # Ranks stop together, after a report: they have the time that it takes.
    patience = saving() if fabric.world_size > 1 else nullcontext()
    with (
        patience,
        deferred_stop() as signalled,
        feed.from_step(progress.step) as batch_of,
        scribe,
    ):
        while True:
            used, stopping = _used(budget, steps, progress), False
            # Several ranks ask one another only as often as they must.
            if fabric.world_size == 1 or steps is None or progress.step % report_every == 0:
                used, stopping = agree(fabric, used, signalled.asked or bool(stop and stop.asked))
            if used >= 1:
                break
            if stopping:
                scribe.save(progress)
                scribe.describe("interrupted", progress)
                raise Interrupted(
                    f"stopped at step {progress.step} and saved; the same command goes on"
                )

            asked = time.monotonic()
            batch = batch_of(progress.step)
            progress.waited += time.monotonic() - asked
            try:
                step(batch, used)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                # Its traceback would keep the tensors of the failed step alive.
                error.__traceback__ = None
                raise ZooError(out_of_memory(step, batch)) from None

            progress.step += 1
            progress.seconds = time.monotonic() - started
            # Ranks would not agree on a clock, and count steps only.
            overdue = fabric.world_size == 1 and pace.seconds > SECONDS_BETWEEN_REPORTS
            # The last report comes below, with the final score.
            if progress.step != steps and (progress.step % report_every == 0 or overdue):
                report()
            scribe.between_steps(progress, checkpoint_every)

        scribe.refuse_faults(progress)
        speed = pace.since_last(progress)
        with torch.no_grad():
            step.average.with_buffers().calibrate(
                batch_of(progress.step + n).frames for n in range(CALIBRATED)
            )
        scribe.score_final(progress)
        if step.tally.rows:
            report(speed)
        scribe.finish(progress)


def _check_accumulation(config: TrainingConfig, feed: FrameFeed) -> None:
    """Raise BadInput unless a process's share of a batch can be cut into equal parts."""
    samples = feed.slice.stop - feed.slice.start
    wanted = min(samples, config.recipe.accumulate)
    if parts_of(samples, wanted) != wanted:
        raise BadInput(
            f"{config.model}: a batch of {samples} samples cannot be cut into {wanted} equal "
            "parts; set --batch or --recipe accumulate=... so that it can"
        )


def _taken(model: Autoencoder, film: Film) -> int:
    """How many training frames the model takes; raises ZooError if there are not so many."""
    seen = len(film.split.seen)
    taken = model.frames_taken(seen)
    if not 1 <= taken <= seen:
        raise ZooError(
            f"{model.name} takes {taken} frames of {film.name}, which has {seen} to show"
        )
    return taken


def _used(budget: Budget, steps: int | None, progress: Progress) -> float:
    """The share of the budget that is used."""
    return progress.step / steps if steps else progress.seconds / budget.amount
