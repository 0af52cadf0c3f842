"""A small film of moving shapes and a model that trains in no time."""

from __future__ import annotations

import pytest
import torch

from zoo.conformance.subject import scene_as_film
from zoo.films.film import Film
from zoo.frame_size import FrameSize
from zoo.training.run_folder import TrainingConfig

SIZE = FrameSize(32, 32)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    # Equality to the bit is promised for one number of threads.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def film() -> Film:
    return scene_as_film(SIZE, count=40)


@pytest.fixture
def config(film: Film) -> TrainingConfig:
    return config_of("vaegan", film)


def config_of(model: str, film: Film, **changes: object) -> TrainingConfig:
    """A training of a few steps."""
    settings = {
        "model": model,
        "options": {"latent": 4, "width": 8},
        "film": film.name,
        "film_fingerprint": film.fingerprint,
        "size": str(SIZE),
        "budget": "24steps",
        "batch": 4,
        "seed": 5,
        "precision": "32-true",
        **changes,
    }
    return TrainingConfig.model_validate(settings)
