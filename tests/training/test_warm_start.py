"""Starting from the weights of another run, of the same film or of another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file

from tests.conftest import Said
from tests.training.tiny_runs import TINY
from zoo.base.workspace import Workspace
from zoo.training.runs import Run, find_runs

SHORT = (*TINY[2:], "--budget", "80frames")
"""Of any film."""


def test_training_starts_from_another_films_weights(
    zoo: Callable[..., Said], workspace: Path
) -> None:
    train = ("train", "vaegan", *SHORT)
    assert zoo(*train, "--film", "carphone").code == 0
    result = zoo(*train, "--film", "bikes", "--init-from", "carphone", "--recipe", "lr=1e-9")
    assert result.code == 0, result.err

    def of_the_model() -> list[Run]:
        """Not those of the references that a training is scored beside."""
        return [run for run in find_runs(Workspace(workspace)) if run.model == "vaegan"]

    runs = {run.film: run for run in of_the_model()}
    assert f"begins with the weights of {runs['carphone'].name}" in result.out.replace("\n", " ")
    description = runs["bikes"].description
    assert description is not None and description.started_from == runs["carphone"].name
    assert description.config.init_from is not None
    first, second = (load_file(runs[film].folder.weights) for film in ("carphone", "bikes"))
    for name, tensor in first.items():
        assert (tensor - second[name]).abs().max() < 1e-6, name
    # Without --init-from it is another run.
    again = zoo(*train, "--film", "bikes", "--recipe", "lr=1e-9")
    assert again.code == 0 and len(of_the_model()) == 3


def test_unusable_initial_weights_are_refused_in_one_line(
    zoo: Callable[..., Said], workspace: Path
) -> None:
    train = ("train", "ae", *SHORT, "--film", "carphone")
    assert zoo(*train).code == 0
    for words, reason in (
        ((*train, "--init-from", "nothing"), "no run is called 'nothing'"),
        (("train", "vae", *train[2:], "--init-from", "ae"), "no run is called 'ae'"),
        (("train", "vae", *train[2:], "--init-from", "carphone/ae"), "is a run of ae"),
        ((*train, "--size", "48x32", "--init-from", "carphone"), "--size 32x32"),
        ((*train, "--latent", "5", "--init-from", "carphone"), "latent=4"),
        (("train", "pca", *train[2:], "--init-from", "carphone"), "takes no initial weights"),
    ):
        result = zoo(*words)
        assert result.code == 2, (words, result.err)
        assert result.err.count("\n") == 1 and reason in result.err, result.err
