from __future__ import annotations

import pytest

from tests.training.small import SIZE, config_of
from zoo.conformance.fixtures import scene_as_film
from zoo.films.film import Film
from zoo.training.run_folder import TrainingConfig


@pytest.fixture(scope="session")
def film() -> Film:
    return scene_as_film(SIZE, count=40)


@pytest.fixture
def config(film: Film) -> TrainingConfig:
    return config_of("vaegan", film)
