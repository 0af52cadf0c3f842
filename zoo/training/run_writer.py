"""The files that a training writes as it goes."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import torch
from torch import nn

from zoo.api.sampling import Sampling
from zoo.base import environment
from zoo.base.errors import ZooError
from zoo.base.interrupts import saving
from zoo.base.records import TrainingReceived
from zoo.films.film import Film
from zoo.training.callbacks import Score
from zoo.training.checkpoint import CheckpointWriter, Progress, save_weights
from zoo.training.curves import CURVES, draw_curves
from zoo.training.run_folder import RunFile, RunFolder, State, TrainingConfig, read_log
from zoo.training.step import TrainingStep
from zoo.training.validation import SECONDS_BEFORE_LPIPS, Decline, Scorer, write_preview

SECONDS_BETWEEN_CHECKPOINTS = 30.0
SECONDS_BETWEEN_PREVIEWS = 15.0
"""At least; more where they would cost more than `LARGEST_SHARE` of the time."""
LARGEST_SHARE = 0.01
"""Of a training's time that goes into its checkpoints, and as much again into its previews."""


class Rhythm:
    """When something that takes time is due again, so that it takes a small share of the time."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self.spent = 0.0
        """Seconds that it took from the training so far."""

    def due(self, least: float) -> bool:
        """Whether `least` seconds are over since it was last done, and the share allows it."""
        now = time.monotonic()
        return now - self._last >= least and self.spent <= LARGEST_SHARE * (now - self._began)

    def done(self, seconds: float) -> None:
        """It was done just now, and held the training up for so long."""
        self._last = time.monotonic()
        self.spent += seconds


class Scribe:
    """Writes a run's files while it trains; on rank 0 alone.

    Used in a `with` block: what is still being written when the block ends is waited for.
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
        """`resident` says whether the film's frames lie on the device; `started_from` names the
        run whose weights it began with."""
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
            self.decline = Decline([score for score in logged if score])
        self.score: Score | None = None
        """The last one that was not yet told."""
        self.notes: list[str] = []
        """What was not yet told."""
        self.final: dict[str, dict[str, float]] | None = None
        self.environment = environment.describe(step.device, config.precision, config.compile)
        self.checkpoints = CheckpointWriter(folder.checkpoint)
        self.checkpointed_step: int | None = None
        self.checkpoint_rhythm, self.preview_rhythm = Rhythm(), Rhythm()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.checkpoints.close()

    def describe(self, state: State, progress: Progress) -> None:
        """Write the run's description and, once training rests, its learning curves."""
        if not self.writes:
            return
        # A drawing takes about half a second: too much to repeat while training goes on. It comes
        # first where nothing is done to the run any more, and last where somebody waits.
        if state == "finished":
            draw_curves(self.folder.log, self.folder.path / CURVES)
        self.folder.write(
            RunFile(
                state=state,
                config=self.config,
                environment=self.environment,
                training=self._spent(progress),
                started_from=self.started_from,
                frames_fingerprint=self.film.store.manifest.fingerprint,
                data_stall=progress.waited / progress.seconds if progress.seconds else None,
                film_on_device=self.resident,
                score=self.final,
            )
        )
        if state == "interrupted":
            draw_curves(self.folder.log, self.folder.path / CURVES)

    def refuse_faults(self, progress: Progress) -> None:
        """Raise ZooError if a loss or a weight is not finite."""
        fault = self.step.tally.first_fault()
        if fault:
            step, player, term = fault
            raise ZooError(
                f"{self.config.model}: the loss {term!r} of the player {player!r} was not a "
                f"number at step {step}; {self._what_is_saved()}"
            )
        for player_ in self.step.players.players:
            # The largest of all, so that the device is waited for once.
            with torch.no_grad():
                largest = nn.utils.get_total_norm(player_.parameters, torch.inf)
            if not bool(largest.isfinite()):
                raise ZooError(
                    f"{self.config.model}: weights of the player {player_.name!r} were not "
                    f"numbers after step {progress.step}; {self._what_is_saved()}"
                )

    def _what_is_saved(self) -> str:
        self.checkpoints.close()
        if self.folder.checkpoint.exists():
            return f"the last good checkpoint is {self.folder.checkpoint}"
        return "there is no checkpoint yet"

    def save(self, progress: Progress) -> None:
        """Write all that is needed to go on, and wait until it is on disk."""
        if not self.writes:
            return
        with saving():
            self._begin_checkpoint(progress)
            self._await_checkpoint()

    def _begin_checkpoint(self, progress: Progress) -> None:
        """Begin to write a checkpoint; nothing is written once a number is wrong."""
        if progress.step == self.checkpointed_step:
            return
        self._await_checkpoint()
        began = time.monotonic()
        self.refuse_faults(progress)
        self.checkpoints.begin(progress, self.step)
        self.checkpointed_step = progress.step
        self.checkpoint_rhythm.done(time.monotonic() - began)

    def _await_checkpoint(self) -> None:
        """Wait for the checkpoint that is being written; raises what went wrong with it."""
        used = self.checkpoints.wait()
        # A GPU goes on meanwhile; on a processor the thread takes time from the training.
        if self.step.device.type == "cpu":
            self.checkpoint_rhythm.spent += used

    def between_steps(self, progress: Progress, checkpoint_every: int | None) -> None:
        """Refresh checkpoint and preview when they are due.

        `checkpoint_every` counts steps; without it the clock decides. Raises what went wrong with
        the checkpoint that was being written.
        """
        if not self.writes:
            return
        if not self.checkpoints.busy:
            self._await_checkpoint()  # what failed is said at once
        if checkpoint_every:
            due = progress.step % checkpoint_every == 0
        else:
            due = not self.checkpoints.busy and self.checkpoint_rhythm.due(
                SECONDS_BETWEEN_CHECKPOINTS
            )
        if due:
            self._begin_checkpoint(progress)
        if self.preview_rhythm.due(SECONDS_BETWEEN_PREVIEWS):
            began = time.monotonic()
            self._preview(progress)
            self.preview_rhythm.done(time.monotonic() - began)

    def _preview(self, progress: Progress) -> None:
        """Score a few frames, and write a strip of them."""
        if progress.seconds >= SECONDS_BEFORE_LPIPS:
            self._add_lpips()
        self.score, strip = self.scorer(self.step.average.with_buffers(), progress.step)
        write_preview(self.folder.preview, *strip)
        if line := self.decline.line(self.score):
            self.notes.append(line)

    def _add_lpips(self) -> None:
        before = self.scorer.unavailable
        self.scorer.add_lpips()
        if self.scorer.unavailable != before:
            self.notes.append(f"LPIPS is not scored while training: {self.scorer.unavailable}")

    def told(self) -> tuple[Score | None, tuple[str, ...]]:
        """The score and the notes since this was last asked."""
        found = self.score, tuple(self.notes)
        self.score, self.notes = None, []
        return found

    def score_final(self, progress: Progress) -> None:
        """Score what is kept of the model, and the mean frame beside it."""
        if not self.writes:
            return
        self.score, strip = self.scorer(self.step.average.module, progress.step)
        write_preview(self.folder.preview, *strip)
        self.final = self.scorer.final(self.score, self.film)

    def finish(self, progress: Progress) -> None:
        """Write the final weights and say that the run is finished."""
        if not self.writes:
            return
        self.refuse_faults(progress)
        with saving():
            # An earlier checkpoint that could not be written is needed no more; one that is still
            # being written would come back after it was removed.
            self.checkpoints.close()
            save_weights(self.folder.weights, self.step.average.module)
            self.describe("finished", progress)
            self.folder.checkpoint.unlink(missing_ok=True)

    def _spent(self, progress: Progress) -> TrainingReceived:
        """What training has had so far."""
        frames = progress.step * self.frames_per_step
        return TrainingReceived(
            frames=frames,
            steps=progress.step,
            epochs=frames / len(self.film.split.seen),
            seconds=progress.seconds,
        )
