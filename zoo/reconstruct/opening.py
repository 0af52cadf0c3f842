"""A run put before a film: the film at the run's size, and the eyes to watch it with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.films.catalogue import FilmEntry
from zoo.films.film import Film
from zoo.reconstruct.eyes import Eyes, as_trained, open_eyes
from zoo.training.runs import Run


def run_size(run: Run) -> FrameSize:
    """The size of frames that a run was trained on."""
    assert run.description is not None, "a finished run has a description"
    return FrameSize.parse(run.description.config.size)


@dataclass(frozen=True)
class Opener:
    """Opens runs for films.

    `ingest` opens a film at a size; `told` hears, in a line, what takes time or is worth knowing.
    """

    workspace: Workspace
    device: torch.device
    ingest: Callable[[FilmEntry, FrameSize], Film]
    told: Callable[[str], None]

    def open(
        self, run: Run, entry: FilmEntry, trained_on: FilmEntry | None = None
    ) -> tuple[Film, Eyes]:
        """The film at the size of a finished run, and the run's network with its scale.

        `trained_on` is the film that the run was trained on, where it is another; it is opened only
        if nobody has evaluated the run yet. Raises BadInput where it is needed and not given, or
        is no longer what the run was trained on.
        """
        assert run.description is not None, "a finished run has a description"
        config = run.description.config
        size = run_size(run)
        film = self.ingest(entry, size)
        frames = run.description.frames_fingerprint
        own = entry.name == config.film or frames == film.store.manifest.fingerprint
        unchanged = as_trained(entry, config, self.workspace, film)

        def film_as_trained() -> Film:
            if unchanged is not None or (own and trained_on in (None, entry)):
                found = unchanged
            elif trained_on is None:
                raise BadInput(
                    f"the scale of {run.name} is not known before its network has watched "
                    f"{config.film} once, and no film is called that here: --trained-on takes a "
                    "path too"
                )
            else:
                at_size = self.ingest(trained_on, size)
                found = as_trained(trained_on, config, self.workspace, at_size)
            if found is None:
                now = (trained_on or entry).word
                raise BadInput(
                    f"{config.film} is not what {run.name} was trained on: its files, range, crop, "
                    "fit or rate are others by now, or another share is held out. `zoo train "
                    f"{config.model} --film {now}` trains on it as it is; --holdout takes the "
                    "share of then"
                )
            return found

        eyes = open_eyes(run, self.device, film_as_trained, self.told)
        if own and unchanged is None:
            self.told(
                f"{entry.name} has other frames than when {run.name} was trained, or holds out "
                "others: it is drawn as any other film"
            )
        return unchanged or film, eyes
