"""A run that is trained or encoded again stays until the new one is whole."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.step_profile import StopAfter
from tests.training.tiny_runs import CPU, config_of
from zoo.api.recipe_and_events import TrainingEvent
from zoo.base.errors import CannotWrite
from zoo.base.interrupts import Interrupted
from zoo.base.workspace import Workspace
from zoo.compare.run_store import _part_files
from zoo.evaluation.codec_runs import codec_config, ensure_encoded
from zoo.films.ingested_film import Film
from zoo.plugins.registry import registry
from zoo.training import run_writer, trained_models
from zoo.training.curves_and_progress_page import PAGE
from zoo.training.run_folder import RunFolder
from zoo.training.settings import Settings
from zoo.training.trained_models import ensure_trained


def contents(folder: Path) -> dict[str, bytes]:
    """What is in a run, but for the locks and what is to replace it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    }


def evaluated(folder: RunFolder) -> None:
    (folder.path / "evaluation" / "film").mkdir(parents=True)
    (folder.path / "evaluation" / "film" / "record.json").write_text("{}")


@pytest.mark.parametrize("model", ["ae", "pca"])
def test_an_earlier_run_stays_until_the_new_one_is_finished(
    model: str, film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    config = config_of(model, film, **({"options": {"latent": 4}} if model == "pca" else {}))
    folder = ensure_trained(workspace, config, film, CPU)
    evaluated(folder)
    before = contents(folder.path)

    def full(*_: Any, **__: Any) -> None:
        raise CannotWrite("the disk is full") from OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as broken:
        broken.setattr(trained_models, "save_weights", full)
        broken.setattr(run_writer, "save_weights", full)
        with pytest.raises(CannotWrite):
            ensure_trained(workspace, config, film, CPU, overwrite=True)
    assert contents(folder.path) == before
    # Without --overwrite it is still the run that is there.
    assert ensure_trained(workspace, config, film, CPU) == folder
    assert contents(folder.path) == before
    stored = {path.relative_to(folder.path).as_posix() for path in _part_files(folder, folder.path)}
    assert stored == before.keys() - {"evaluation/film/record.json"}

    ensure_trained(workspace, config, film, CPU, overwrite=True)
    after = contents(folder.path)
    assert after.keys() == before.keys() - {"evaluation/film/record.json"}
    assert after["weights.safetensors"] == before["weights.safetensors"]
    assert not (folder.path / ".replacement").exists()


def test_a_replacement_that_was_stopped_is_resumed_by_the_same_command(
    film: Film, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path)
    config = config_of("ae", film)
    folder = ensure_trained(workspace, config, film, CPU)
    before = contents(folder.path)
    with pytest.raises(Interrupted):
        ensure_trained(workspace, config, film, CPU, overwrite=True, stop=StopAfter(10))
    assert contents(folder.path) == before and folder.state == "finished"
    steps: list[int] = []
    ensure_trained(
        workspace, config, film, CPU, overwrite=True, callback=lambda e: steps.append(e.step)
    )
    assert steps and steps[0] > 10
    assert contents(folder.path)["weights.safetensors"] == before["weights.safetensors"]


def test_the_page_of_a_run_that_is_trained_again_is_that_of_the_new_training(
    film: Film, workspace: Path, zoo: Callable
) -> None:
    config = config_of("ae", film)
    folder = ensure_trained(Workspace(workspace), config, film, CPU)
    said: list[str] = []

    def watch(event: TrainingEvent) -> None:
        page = folder.path / ".replacement" / PAGE
        page.write_text("")
        said.append(zoo("runs", "watch").out.strip())

    ensure_trained(Workspace(workspace), config, film, CPU, overwrite=True, callback=watch)
    assert said and all(line.endswith(f"/.replacement/{PAGE}") for line in said)
    assert zoo("runs", "watch").code == 2, "nothing is being trained any more"


def test_a_film_that_cannot_be_encoded_again_keeps_its_stream(
    film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    codec = registry().codecs["x264"]
    settings = Settings.choose("quick", size=str(film.size), device="cpu")
    config = codec_config(codec, film, settings)
    folder = ensure_encoded(workspace, config, film)
    evaluated(folder)
    before = contents(folder.path)
    with monkeypatch.context() as broken:
        broken.setattr(codec, "code", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ensure_encoded(workspace, config, film, overwrite=True)
    assert contents(folder.path) == before
    ensure_encoded(workspace, config, film, overwrite=True)
    assert contents(folder.path).keys() == before.keys() - {"evaluation/film/record.json"}
