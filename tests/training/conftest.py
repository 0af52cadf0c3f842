from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.reliability.lock_holder import HOLD_LOCK, start
from tests.training.fake_runs import RunMaker
from tests.training.tiny_runs import SIZE, config_of
from zoo.api.autoencoder import Autoencoder
from zoo.conformance.fixtures import scene_as_film
from zoo.films.ingested_film import Film
from zoo.plugins.registry import registry
from zoo.training.run_folder import RunFolder, TrainingConfig


@pytest.fixture(scope="session")
def film() -> Film:
    return scene_as_film(SIZE, count=40)


@pytest.fixture
def config(film: Film) -> TrainingConfig:
    return config_of("vaegan", film)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Autoencoder]], None]:
    """Register a model for one test."""

    def add(architecture: type[Autoencoder]) -> None:
        monkeypatch.setitem(registry().models, architecture.name, architecture)
        monkeypatch.setitem(registry().origins, architecture.name, "test 0")

    return add


@pytest.fixture
def maker(workspace: Path) -> RunMaker:
    return RunMaker(workspace)


@pytest.fixture
def hold_lock() -> Iterator[Callable[[RunFolder], None]]:
    """Have another process hold the lock of a run until the test ends."""
    holders = []

    def hold(folder: RunFolder) -> None:
        holders.append(start(HOLD_LOCK, folder.path / ".lock"))

    yield hold
    for holder in holders:
        holder.communicate("let go\n", timeout=30)
