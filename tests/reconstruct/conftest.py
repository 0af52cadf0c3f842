"""A workspace with two films and a model that was trained on the first for a moment."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from tests.reconstruct.flashing_film import flashing_film
from zoo.api.film_entry import FilmEntry
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.films.catalogue import Catalogue
from zoo.films.ingest import open_film
from zoo.films.ingested_film import Film
from zoo.plugins.registry import registry
from zoo.training.settings import Settings
from zoo.training.trained_models import ensure_trained

TIMES = [n / 25 for n in range(75)]
FLASHES = [0.4, 1.6, 2.6]
SIZE = FrameSize(32, 32)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    first = flashing_film(folder / "first.mp4", FLASHES, times=TIMES, tags={"title": "The First"})
    second = flashing_film(folder / "second.mkv", [0.4, 1.2], times=TIMES[:40])
    workspace = Workspace(folder)
    catalogue = Catalogue.open(workspace)
    catalogue.add("first", [first], licence="CC BY 3.0", crop="none")
    catalogue.add("second", [second], crop="none")
    for model, seed, steps in (("ae", 0, 60), ("ae", 1, 8), ("vae", 0, 8)):
        settings = Settings.choose(
            "quick", size=str(SIZE), latent=4, budget=f"{steps}steps", seed=seed, device="cpu",
            options={"width": 8},
        )  # fmt: skip
        film = open_film(catalogue.film("first"), SIZE, workspace)
        config = settings.config(registry().architecture(model), film)
        ensure_trained(workspace, config, film, torch.device("cpu"))
    return folder


@pytest.fixture
def studio(trained: Path, workspace: Path) -> Workspace:
    """The current folder, with the films and the runs in it."""
    shutil.copytree(trained, workspace, dirs_exist_ok=True)
    return Workspace(workspace)


def film_and_entry(studio: Workspace, name: str) -> tuple[FilmEntry, Film]:
    entry = Catalogue.open(studio).film(name)
    return entry, open_film(entry, SIZE, studio)
