"""Run codecs on the film in their own processes, while models train on the GPU."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess

from benchmarks.gpu.material import ingested, settings
from benchmarks.gpu.worker import Here
from zoo.api.film_entry import FilmEntry
from zoo.base.errors import ZooError
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.evaluation.codec_runs import codec_config, ensure_encoded
from zoo.films.ingest import open_film
from zoo.films.ingested_film import Film
from zoo.plugins.registry import registry
from zoo.training.run_folder import RunFolder, TrainingConfig

NICENESS = 5
"""Added to the niceness of a codec's process."""


@dataclass(frozen=True)
class Coding:
    """One codec coding a film, at one byte per frame for each number of the models' latents."""

    config: TrainingConfig
    process: SpawnProcess

    @classmethod
    def begin(cls, here: Here, entry: FilmEntry, codec: str) -> Coding:
        """Start coding, in a process that ends with this one."""
        chosen = settings(here, "film")
        film = ingested(here, entry, chosen.size)
        config = codec_config(registry().codecs[codec], film, chosen)
        context = multiprocessing.get_context("spawn")
        arguments = (Workspace(here.work), entry, config)
        process = context.Process(target=_code, args=arguments, daemon=True)
        process.start()
        return cls(config, process)

    def finished(self, here: Here, film: Film, spare: float) -> RunFolder:
        """Wait for its run until `spare` seconds before the end of the stage, and return it.

        Raises ZooError if it is not done by then, or failed.
        """
        self.process.join(max(0.0, here.seconds_left - spare))
        if self.process.exitcode is None:
            self.process.terminate()
            raise ZooError("coding took longer than the stage")
        if self.process.exitcode:
            raise ZooError(f"coding failed: its process ended with {self.process.exitcode}")
        return ensure_encoded(Workspace(here.work), self.config, film)


def _code(workspace: Workspace, entry: FilmEntry, config: TrainingConfig) -> None:
    """Code the film, with a lower priority than training, which needs a core for the GPU."""
    os.nice(NICENESS)
    film = open_film(entry, FrameSize.parse(config.size), workspace)
    ensure_encoded(workspace, config, film)
