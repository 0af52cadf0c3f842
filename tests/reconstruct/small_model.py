"""A small model, trained on a film that flashes and clicks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.reconstruct.flashing_film import flashing_film
from zoo.base.workspace import Workspace
from zoo.reconstruct.frame_conversion import Pixels
from zoo.reconstruct.reconstruct_film import Reconstruction, stream_frames
from zoo.training.runs import find_runs

TIMES = [n / 25 for n in range(75)]
TINY = ("--preset", "quick", "--size", "64x48", "--latent", "4", "--device", "cpu")


def train(zoo: Callable, film: Path, model: str = "vae", steps: int = 6) -> None:
    """Train a model for a moment on a film."""
    width = () if model in ("pca", "mean") else ("--set", "width=4")
    done = zoo("train", model, "--film", film, *TINY, *width, "--budget", f"{steps}steps")
    assert done.code == 0, done.err


def film_in(folder: Path, audio: str | None = "aac", suffix: str = "mp4") -> Path:
    """Write a film of three seconds that flashes and clicks twice."""
    return flashing_film(folder / f"flash.{suffix}", [0.4, 1.6], times=TIMES, audio=audio)


def reconstructed(folder: Path, film: str, model: str) -> Iterator[Pixels]:
    """The frames that `zoo reconstruct` hands to the video's encoder, with the model's one run."""
    import zoo

    (run,) = (run for run in find_runs(Workspace(folder)) if run.model == model)
    loaded = zoo.load(run.model, film=film, workspace=folder, device="cpu")
    for (picture,) in stream_frames(
        [Reconstruction(loaded.film, run.model, loaded.trained)], 0, len(loaded.film)
    ):
        yield np.array(picture)
