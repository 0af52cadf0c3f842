"""The training loop: one for every model, read from top to bottom.

What it promises: the same seed, threads and machine give the same weights to the bit on a CPU,
and a training that was killed and resumed ends as one that never was.
"""

from __future__ import annotations

import math
import time

import torch
from lightning_fabric import Fabric
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor

from zoo import environment
from zoo.autoencoder import Autoencoder, Step
from zoo.errors import ZooError
from zoo.films.film import Film
from zoo.frame_size import FrameSize
from zoo.plugins import registry
from zoo.records import Spent
from zoo.training.budget import Budget
from zoo.training.checkpoint import (
    Progress,
    load_checkpoint,
    save_checkpoint,
    save_weights,
)
from zoo.training.feed import FrameFeed
from zoo.training.players import Players
from zoo.training.preview import preview_frames, write_preview
from zoo.training.ranks import average_over_ranks, launch
from zoo.training.run_folder import Log, RunFile, RunFolder, State, TrainingConfig
from zoo.training.tally import Tally
from zoo.training.watching import Moment, StopRequest, Watcher, nobody

AVERAGED = 0.02
"""The share of a training over which weights are averaged."""
LONGEST_AVERAGE = 0.9999
SECONDS_BETWEEN_CHECKPOINTS = 30.0
SECONDS_BETWEEN_PREVIEWS = 15.0


class Interrupted(ZooError):
    """Training was asked to stop, and saved where it was."""

    exit_code = 130


def train(
    folder: RunFolder,
    config: TrainingConfig,
    film: Film,
    device: torch.device,
    *,
    watch: Watcher = nobody,
    stop: StopRequest | None = None,
    checkpoint_every: int | None = None,
) -> None:
    """Train until the budget is used, from the last checkpoint where there is one.

    `checkpoint_every` counts steps; without it the clock decides. Raises Interrupted when
    `stop` was asked, and ZooError if a loss is no longer a number.
    """
    architecture = registry().architecture(config.model)
    budget = Budget.parse(config.budget)
    steps = budget.steps(len(film.split.seen), config.batch)

    fabric = launch(device, config.precision, config.batch)
    torch.manual_seed(config.seed)
    model = architecture.build(FrameSize.parse(config.size), config.options)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    generator = torch.Generator(device).manual_seed(config.seed)
    players = Players(model)
    average = ModelEmaV3(model, decay=_decay(steps), use_warmup=True)
    feed = FrameFeed(film, config.batch, config.seed, device, fabric.global_rank, fabric.world_size)
    reduce = average_over_ranks(fabric)
    tally = Tally(device)

    progress = Progress()
    if folder.checkpoint.exists():
        progress, others = load_checkpoint(folder.checkpoint, model, average.module, players)
        generator.set_state(others.pop("generator"))
        torch.set_rng_state(others.pop("torch"))
        tally.load(others)
    folder.path.mkdir(parents=True, exist_ok=True)
    log = Log(folder.log, keep_up_to_step=progress.step)
    scribe = _Scribe(folder, config, film, fabric, model, average, players, generator, tally)
    scribe.describe("training", progress)

    report_every = max(1, min(50, (steps or 1000) // 40))
    last_report = (time.monotonic(), progress.step)
    started = time.monotonic() - progress.seconds
    model.train()
    while True:
        used = _used(budget, steps, progress)
        if used >= 1:
            break
        if stop and stop.asked:
            scribe.checkpoint(progress)
            scribe.describe("interrupted", progress)
            raise Interrupted(
                f"stopped at step {progress.step} and saved; the same command goes on from there"
            )

        frames = feed(progress.step)
        step = Step(
            torch.tensor(used, device=device), generator, fabric.global_rank, fabric.world_size
        )
        with fabric.autocast():
            losses = model.losses(frames, step)
        if progress.step == 0:
            players.check(losses)
        players.step(losses, used, reduce)
        average.update(model, step=progress.step)
        tally.add(losses, progress.step)

        progress.step += 1
        progress.seconds = time.monotonic() - started
        if progress.step % report_every == 0 or progress.step == steps:
            scribe.refuse_faults(progress)
            now = time.monotonic()
            rate = (progress.step - last_report[1]) * config.batch / (now - last_report[0])
            last_report = (now, progress.step)
            moment = Moment(
                step=progress.step,
                steps=steps,
                progress=min(1.0, _used(budget, steps, progress)),
                frames=progress.step * config.batch,
                seconds=progress.seconds,
                frames_per_second=rate,
                losses=tally.means(),
            )
            if fabric.is_global_zero:
                log.add(
                    {
                        "step": moment.step,
                        "frames": moment.frames,
                        "losses": moment.losses,
                        "seconds": round(moment.seconds, 3),
                    }
                )
                watch(moment)
        scribe.between_steps(progress, checkpoint_every)

    scribe.finish(progress)


class _Scribe:
    """Writes a run's files while it trains; on rank 0 alone."""

    def __init__(
        self,
        folder: RunFolder,
        config: TrainingConfig,
        film: Film,
        fabric: Fabric,
        model: Autoencoder,
        average: ModelEmaV3,
        players: Players,
        generator: torch.Generator,
        tally: Tally,
    ) -> None:
        self.folder = folder
        self.config = config
        self.film = film
        self.writes = fabric.is_global_zero
        self.device = fabric.device
        self.model = model
        self.average = average
        self.players = players
        self.generator = generator
        self.tally = tally
        self.shown: Tensor = preview_frames(film, fabric.device)
        self.environment = environment.describe(fabric.device, config.precision)
        self.checkpointed = self.previewed = time.monotonic()

    def describe(self, state: State, progress: Progress) -> None:
        if self.writes:
            self.folder.write(
                RunFile(
                    state=state,
                    config=self.config,
                    origin=registry().origins[self.config.model],
                    environment=self.environment,
                    spent=spent(self.config, self.film, progress),
                )
            )

    def refuse_faults(self, progress: Progress) -> None:
        """Raise ZooError if a loss or a weight is not finite."""
        fault = self.tally.first_fault()
        saved = "there is no checkpoint yet"
        if self.folder.checkpoint.exists():
            saved = f"the last good checkpoint is {self.folder.checkpoint}"
        if fault:
            step, player, term = fault
            raise ZooError(
                f"{self.config.model}: the loss {term!r} of the player {player!r} was not a "
                f"number at step {step}; {saved}"
            )
        for player_ in self.players.players:
            if not all(bool(p.isfinite().all()) for p in player_.parameters):
                raise ZooError(
                    f"{self.config.model}: weights of the player {player_.name!r} were not "
                    f"numbers after step {progress.step}; {saved}"
                )

    def checkpoint(self, progress: Progress) -> None:
        """Save all that is needed to go on; nothing is saved once a number is wrong."""
        if not self.writes:
            return
        self.refuse_faults(progress)
        others = {
            "generator": self.generator.get_state(),
            "torch": torch.get_rng_state(),
            **self.tally.state(),
        }
        save_checkpoint(
            self.folder.checkpoint, progress, self.model, self.average.module, self.players, others
        )
        self.checkpointed = time.monotonic()

    def between_steps(self, progress: Progress, checkpoint_every: int | None) -> None:
        """Refresh checkpoint and preview when they are due."""
        if checkpoint_every:
            due = progress.step % checkpoint_every == 0
        else:
            due = time.monotonic() - self.checkpointed > SECONDS_BETWEEN_CHECKPOINTS
        if due:
            self.checkpoint(progress)
        if self.writes and time.monotonic() - self.previewed > SECONDS_BETWEEN_PREVIEWS:
            write_preview(self.folder.preview, self.average.module, self.shown)
            self.previewed = time.monotonic()

    def finish(self, progress: Progress) -> None:
        """Write the final weights and say that the run is finished."""
        if not self.writes:
            return
        self.refuse_faults(progress)
        save_weights(self.folder.weights, self.average.module)
        write_preview(self.folder.preview, self.average.module, self.shown)
        self.describe("finished", progress)
        self.folder.checkpoint.unlink(missing_ok=True)


def spent(config: TrainingConfig, film: Film, progress: Progress) -> Spent:
    """What training has had so far."""
    frames = progress.step * config.batch
    return Spent(
        frames=frames,
        steps=progress.step,
        epochs=frames / len(film.split.seen),
        seconds=progress.seconds,
    )


def _used(budget: Budget, steps: int | None, progress: Progress) -> float:
    """The share of the budget that is used."""
    return progress.step / steps if steps else progress.seconds / budget.amount


def _decay(steps: int | None) -> float:
    """The averaging factor whose memory is a fixed share of the training."""
    memory = max(1.0, AVERAGED * (steps or 20_000))
    return min(LONGEST_AVERAGE, math.exp(-1 / memory))
