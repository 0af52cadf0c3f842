"""A workspace in which a third-party plugin with odd models is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compare.sleepy_models import CLOCK, Forgetful, Large, Quits, Sleepy
from tests.plugin_sources import describe_package
from zoo.base.records import Results
from zoo.base.untrusted_files import read_json
from zoo.evaluation import cost, profiling
from zoo.plugins.registry import registry

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the path, in which the plugin is installed."""
    target = tmp_path_factory.mktemp("odd")
    shutil.copy(Path(__file__).with_name("odd_models.py"), target)
    describe_package(target, "odd-models", {"odd": "odd_models"})
    return target


@pytest.fixture
def compare(odd: Path, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start `zoo compare` on models so small that they take seconds, in a folder of its own."""

    def start(*words: str, folder: str = "here") -> subprocess.Popen[str]:
        there = tmp_path / folder
        there.mkdir(exist_ok=True)
        path = os.pathsep.join([str(odd), str(ROOT), str(ROOT / "plugins")])
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "zoo", "compare", "--preset", "quick"),
                *("--size", "32x32", "--latent", "4", "--device", "cpu", "--videos", "0"),
                *words,
            ],
            cwd=there,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    return start


def finished(process: subprocess.Popen[str], code: int = 0) -> str:
    """What it printed, once it ended with that code."""
    said, _ = process.communicate(timeout=400)
    assert process.returncode == code, said
    return said


def results_of(folder: Path) -> Results:
    return read_json(folder / "results" / "results.json", Results)


@pytest.fixture
def sleepy_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models of `tests.compare.sleepy_models` are installed, and timed by their own clock."""
    monkeypatch.setattr(profiling, "time", CLOCK)
    monkeypatch.setattr(profiling, "BLOCK_SECONDS", 0.0)
    monkeypatch.setattr(profiling, "LONG_SECONDS", 0.0)
    monkeypatch.setattr(cost, "PEAK_SECONDS", 0.0)
    monkeypatch.setattr(profiling, "METERED_SECONDS", 0.0)
    for model in (Sleepy, Forgetful, Quits, Large):
        monkeypatch.setitem(registry().models, model.name, model)
        monkeypatch.setitem(registry().origins, model.name, "a test 0")
