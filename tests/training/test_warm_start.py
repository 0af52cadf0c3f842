"""Beginning with the weights of another run, of the same film or of another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file

from tests.conftest import Said
from zoo.base.workspace import Workspace
from zoo.training.runs import find_runs

TINY = ("--preset", "quick", "--size", "32x32", "--set", "width=8", "--budget", "80frames")


def test_a_training_begins_with_another_films_weights(
    zoo: Callable[..., Said], workspace: Path
) -> None:
    train = ("train", "vaegan", *TINY, "--latent", "4")
    assert zoo(*train, "--film", "carphone").code == 0
    said = zoo(*train, "--film", "bikes", "--init-from", "carphone", "--recipe", "lr=1e-9")
    assert said.code == 0, said.err
    runs = {run.film: run for run in find_runs(Workspace(workspace))}
    assert f"begins with the weights of {runs['carphone'].name}" in said.out.replace("\n", " ")
    description = runs["bikes"].description
    assert description is not None and description.started_from == runs["carphone"].name
    assert description.config.init_from is not None
    first, second = (load_file(runs[film].folder.weights) for film in ("carphone", "bikes"))
    for name, tensor in first.items():
        assert (tensor - second[name]).abs().max() < 1e-6, name
    # Begun anew, it would have other weights and another name.
    again = zoo(*train, "--film", "bikes", "--recipe", "lr=1e-9")
    assert again.code == 0 and len(find_runs(Workspace(workspace))) == 3


def test_what_cannot_be_begun_with_is_one_line(zoo: Callable[..., Said], workspace: Path) -> None:
    train = ("train", "ae", *TINY, "--latent", "4", "--film", "carphone")
    assert zoo(*train).code == 0
    for words, reason in (
        ((*train, "--init-from", "nothing"), "no run is called 'nothing'"),
        (("train", "vae", *train[2:], "--init-from", "ae"), "no run is called 'ae'"),
        (("train", "vae", *train[2:], "--init-from", "carphone/ae"), "is a run of ae"),
        ((*train, "--size", "48x32", "--init-from", "carphone"), "--size 32x32"),
        ((*train, "--latent", "5", "--init-from", "carphone"), "latent=4"),
        (("train", "pca", *train[2:], "--init-from", "carphone"), "begins with no weights"),
    ):
        said = zoo(*words)
        assert said.code == 2, (words, said.err)
        assert said.err.count("\n") == 1 and reason in said.err, said.err
