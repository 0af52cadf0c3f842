"""The files that a training writes as it goes."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from zoo import environment
from zoo.errors import ZooError
from zoo.films.film import Film
from zoo.records import Spent
from zoo.sampling import Sampling
from zoo.stopping import saving
from zoo.training.checkpoint import Progress, save_checkpoint, save_weights
from zoo.training.curves import CURVES, draw_curves
from zoo.training.preview import preview_samples, write_preview
from zoo.training.run_folder import RunFile, RunFolder, State, TrainingConfig
from zoo.training.step import TrainingStep

SECONDS_BETWEEN_CHECKPOINTS = 30.0
SECONDS_BETWEEN_PREVIEWS = 15.0


class Scribe:
    """Writes a run's files while it trains; on rank 0 alone."""

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
        self.shown: Tensor = preview_samples(film, sampling, step.device)
        self.environment = environment.describe(step.device, config.precision, config.compile)
        self.checkpointed = self.previewed = time.monotonic()
        self.checkpointed_step: int | None = None

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
                spent=self._spent(progress),
                started_from=self.started_from,
                frames_fingerprint=self.film.store.manifest.fingerprint,
                data_stall=progress.waited / progress.seconds if progress.seconds else None,
                film_on_device=self.resident,
            )
        )
        if state == "interrupted":
            draw_curves(self.folder.log, self.folder.path / CURVES)

    def refuse_faults(self, progress: Progress) -> None:
        """Raise ZooError if a loss or a weight is not finite."""
        fault = self.step.tally.first_fault()
        saved = "there is no checkpoint yet"
        if self.folder.checkpoint.exists():
            saved = f"the last good checkpoint is {self.folder.checkpoint}"
        if fault:
            step, player, term = fault
            raise ZooError(
                f"{self.config.model}: the loss {term!r} of the player {player!r} was not a "
                f"number at step {step}; {saved}"
            )
        for player_ in self.step.players.players:
            # The largest of all, so that the device is waited for once.
            with torch.no_grad():
                largest = nn.utils.get_total_norm(player_.parameters, torch.inf)
            if not bool(largest.isfinite()):
                raise ZooError(
                    f"{self.config.model}: weights of the player {player_.name!r} were not "
                    f"numbers after step {progress.step}; {saved}"
                )

    def checkpoint(self, progress: Progress) -> None:
        """Save all that is needed to go on; nothing is saved once a number is wrong."""
        if not self.writes or progress.step == self.checkpointed_step:
            return
        self.refuse_faults(progress)
        with saving():
            save_checkpoint(self.folder.checkpoint, progress, self.step)
        self.checkpointed, self.checkpointed_step = time.monotonic(), progress.step

    def between_steps(self, progress: Progress, checkpoint_every: int | None) -> None:
        """Refresh checkpoint and preview when they are due."""
        if checkpoint_every:
            due = progress.step % checkpoint_every == 0
        else:
            due = time.monotonic() - self.checkpointed > SECONDS_BETWEEN_CHECKPOINTS
        if due:
            self.checkpoint(progress)
        if self.writes and time.monotonic() - self.previewed > SECONDS_BETWEEN_PREVIEWS:
            write_preview(self.folder.preview, self.step.average.with_buffers(), self.shown)
            self.previewed = time.monotonic()

    def finish(self, progress: Progress) -> None:
        """Write the final weights and say that the run is finished."""
        if not self.writes:
            return
        self.refuse_faults(progress)
        with saving():
            save_weights(self.folder.weights, self.step.average.module)
            write_preview(self.folder.preview, self.step.average.module, self.shown)
            self.describe("finished", progress)
            self.folder.checkpoint.unlink(missing_ok=True)

    def _spent(self, progress: Progress) -> Spent:
        """What training has had so far."""
        frames = progress.step * self.frames_per_step
        return Spent(
            frames=frames,
            steps=progress.step,
            epochs=frames / len(self.film.split.seen),
            seconds=progress.seconds,
        )
