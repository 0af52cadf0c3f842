"""Writes a run's files while it trains: checkpoints, previews, its page, run.json, weights."""

from __future__ import annotations

import time
from typing import Self

import torch
from torch import nn

from zoo.api.recipe_and_events import Score
from zoo.api.samples_and_latents import Sampling
from zoo.base import devices
from zoo.base.atomic_files import best_effort
from zoo.base.errors import ZooError
from zoo.base.interrupts import saving
from zoo.base.records import TrainingReceived
from zoo.films.ingested_film import Film
from zoo.training.checkpoint import CheckpointWriter, Progress, save_weights
from zoo.training.curves_and_progress_page import CURVES, plot_curves, write_progress_page
from zoo.training.run_folder import RunFile, RunFolder, RunState, TrainingConfig, read_log
from zoo.training.step import TrainingStep
from zoo.training.validation import SECONDS_BEFORE_LPIPS, OverfittingMonitor, Scorer, write_preview

SECONDS_BETWEEN_CHECKPOINTS = 30.0
SECONDS_BETWEEN_PREVIEWS = 15.0
"""The shortest time between previews, longer if they would exceed `LARGEST_SHARE`."""
SECONDS_BETWEEN_PAGES = 5.0
LARGEST_SHARE = 0.01
"""The most training time, as a share, for each of checkpoints, previews and the page."""


class Throttle:
    """Decides when something slow is due again, so that it takes a small share of the time."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self.spent = 0.0
        """Seconds of training time that it has taken."""

    def due(self, least: float) -> bool:
        """Whether `least` seconds have passed since the last time, and the share allows it."""
        now = time.monotonic()
        return now - self._last >= least and self.spent <= LARGEST_SHARE * (now - self._began)

    def done(self, seconds: float) -> None:
        """Record that it has just been done, and took `seconds` of training time."""
        self._last = time.monotonic()
        self.spent += seconds


class RunWriter:
    """Writes a run's files while it trains, on rank 0 only.

    Use it in a `with` block, whose end waits for a checkpoint that is still being written.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: TrainingConfig,
        film: Film,
        step: TrainingStep,
        resident: bool,
        started_from: str | None = None,
    ) -> None:
        """`resident`: whether the film's frames are on the device; `started_from`: the run whose
        weights the training started from."""
        self.folder = folder
        self.config = config
        self.film = film
        self.step = step
        self.resident = resident
        self.started_from = started_from
        sampling = Sampling.of(step.model)
        self.frames_per_step = sampling.frames_in(config.batch)
        self.writes = step.fabric.is_global_zero
        if self.writes:
            self.scorer = Scorer(film, sampling, step.device)
            logged = (entry.score for entry in read_log(folder.log))
            self.overfitting = OverfittingMonitor([score for score in logged if score])
        self.score: Score | None = None
        """The latest score that has not been reported."""
        self.notes: list[str] = []
        """Messages that have not been reported."""
        self.final: dict[str, dict[str, float]] | None = None
        self.used = 0.0
        """Share of the budget that was used at the last step."""
        self.environment = devices.describe(step.device, config.precision, config.compile)
        self.checkpoints = CheckpointWriter(folder.checkpoint)
        self.checkpointed_step: int | None = None
        self.checkpoint_throttle, self.preview_throttle = Throttle(), Throttle()
        self.page_throttle = Throttle()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.checkpoints.close()

    def write_description(self, state: RunState, progress: Progress) -> None:
        """Write run.json and, when training has ended or stopped, the learning curves."""
        if not self.writes:
            return
        # Plotting takes about half a second, too long to repeat during training. When training has
        # finished, run.json comes last; when interrupted, first, because somebody waits for it.
        if state == "finished":
            plot_curves(self.folder.log, self.folder.path / CURVES)
            self.write_page(state, 1.0)
        self.folder.write(
            RunFile(
                state=state,
                config=self.config,
                environment=self.environment,
                training=self._received(progress),
                started_from=self.started_from,
                frames_fingerprint=self.film.store.manifest.fingerprint,
                data_stall=progress.waited / progress.seconds if progress.seconds else None,
                film_on_device=self.resident,
                score=self.final,
            )
        )
        if state == "interrupted":
            plot_curves(self.folder.log, self.folder.path / CURVES)
        if state != "finished":
            self.write_page(state, self.used)

    def write_page(self, state: RunState, used: float) -> None:
        """Write the page of progress, if possible; `used` is the share of the budget."""
        if self.writes:
            with best_effort("the page of progress"):
                write_progress_page(self.folder, self.config, state, used)

    def check_finite(self, progress: Progress) -> None:
        """Raise ZooError if a loss or a weight is not finite."""
        non_finite = self.step.loss_averager.first_non_finite()
        if non_finite:
            step, player_name, term = non_finite
            raise ZooError(
                f"{self.config.model}: the loss {term!r} of the player {player_name!r} was not "
                f"finite at step {step}; {self._last_checkpoint()}"
            )
        for player in self.step.players.players:
            # One norm over all parameters, so that the host waits for the device once.
            with torch.no_grad():
                largest = nn.utils.get_total_norm(player.parameters, torch.inf)
            if not bool(largest.isfinite()):
                raise ZooError(
                    f"{self.config.model}: weights of the player {player.name!r} were not finite "
                    f"after step {progress.step}; {self._last_checkpoint()}"
                )

    def _last_checkpoint(self) -> str:
        self.checkpoints.close()
        if self.folder.checkpoint.exists():
            return f"the last good checkpoint is {self.folder.checkpoint}"
        return "there is no checkpoint yet"

    def save(self, progress: Progress) -> None:
        """Write a checkpoint and wait until it is on disk."""
        if not self.writes:
            return
        with saving():
            self._begin_checkpoint(progress)
            self._await_checkpoint()

    def _begin_checkpoint(self, progress: Progress) -> None:
        """Begin to write a checkpoint, unless a loss or weight is not finite."""
        if progress.step == self.checkpointed_step:
            return
        self._await_checkpoint()
        began = time.monotonic()
        self.check_finite(progress)
        self.checkpoints.begin(progress, self.step)
        self.checkpointed_step = progress.step
        self.checkpoint_throttle.done(time.monotonic() - began)

    def _await_checkpoint(self) -> None:
        """Wait for the checkpoint that is being written; raises its error if it failed."""
        used = self.checkpoints.wait()
        # A GPU trains meanwhile; on a CPU the thread takes time from the training.
        if self.step.device.type == "cpu":
            self.checkpoint_throttle.spent += used

    def after_step(self, progress: Progress, used: float, checkpoint_every: int | None) -> None:
        """Write a checkpoint, a preview and the page of progress when they are due.

        Checkpoints are due every `checkpoint_every` steps, or by the clock if that is None. Raises
        the error of an earlier checkpoint that could not be written.
        """
        if not self.writes:
            return
        if not self.checkpoints.busy:
            self._await_checkpoint()  # an error is raised at once
        if checkpoint_every:
            due = progress.step % checkpoint_every == 0
        else:
            due = not self.checkpoints.busy and self.checkpoint_throttle.due(
                SECONDS_BETWEEN_CHECKPOINTS
            )
        if due:
            self._begin_checkpoint(progress)
        if self.preview_throttle.due(SECONDS_BETWEEN_PREVIEWS):
            began = time.monotonic()
            self._preview(progress)
            self.preview_throttle.done(time.monotonic() - began)
        self.used = used
        if self.page_throttle.due(SECONDS_BETWEEN_PAGES):
            began = time.monotonic()
            self.write_page("training", used)
            self.page_throttle.done(time.monotonic() - began)

    def _preview(self, progress: Progress) -> None:
        if progress.seconds >= SECONDS_BEFORE_LPIPS:
            self._add_lpips()
        self.score, strip = self.scorer(self.step.ema.with_latest_buffers(), progress.step)
        write_preview(self.folder.preview, *strip)
        if message := self.overfitting.add(self.score):
            self.notes.append(message)

    def _add_lpips(self) -> None:
        before = self.scorer.unavailable
        self.scorer.add_lpips()
        if self.scorer.unavailable != before:
            self.notes.append(f"LPIPS is not scored while training: {self.scorer.unavailable}")

    def pop_news(self) -> tuple[Score | None, tuple[str, ...]]:
        """Return the score and notes that have not been reported, and clear them."""
        news = self.score, tuple(self.notes)
        self.score, self.notes = None, []
        return news

    def score_final(self, progress: Progress) -> None:
        """Score the averaged model, and the mean frame beside it."""
        if not self.writes:
            return
        self.score, strip = self.scorer(self.step.ema.module, progress.step)
        write_preview(self.folder.preview, *strip)
        self.final = self.scorer.final(self.score, self.film)

    def finish(self, progress: Progress) -> None:
        """Write the final weights and mark the run as finished."""
        if not self.writes:
            return
        self.check_finite(progress)
        with saving():
            # Waits without raising: a failed checkpoint is no longer needed, but one still being
            # written would reappear after its removal below.
            self.checkpoints.close()
            save_weights(self.folder.weights, self.step.ema.module)
            self.write_description("finished", progress)
            self.folder.checkpoint.unlink(missing_ok=True)

    def _received(self, progress: Progress) -> TrainingReceived:
        frames = progress.step * self.frames_per_step
        return TrainingReceived(
            frames=frames,
            steps=progress.step,
            epochs=frames / len(self.film.split.seen),
            seconds=progress.seconds,
        )
