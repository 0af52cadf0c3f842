"""Hints of commands for models and runs: provoked, cut out of what is printed, and run."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.hints.conftest import CPU, FILM, SMALL, Shell
from tests.films.making import drifting, encode

hint = pytest.mark.hint
TINY = (*SMALL, *CPU, "--budget", "2steps")
REFERENCE = ("--preset", "quick", "--size", "32x32", "--latent", "4", *CPU, "--on", "inline")
CODED = (*REFERENCE, "--metrics", "psnr", "--videos", "0")


@hint("zoo/cli/train.py", "`zoo evaluate {}` scores every frame")
@pytest.mark.parametrize("film", ["first", "my films/other.mp4"])
def test_a_training_has_ended(film: str, shell: Shell, place: Path) -> None:
    shell("train", "ae", "--film", film, *SMALL, *CPU, "--budget", "3steps")
    scored = shell.follow("`zoo evaluate {}` scores every frame", "--metrics", "psnr", *CPU)
    assert "PSNR" in scored.out


@hint("zoo/reconstruct/find_run.py", "no run of {} is finished; `zoo train {} --film FILM`")
def test_nothing_to_evaluate(shell: Shell, place: Path) -> None:
    shell("evaluate", "vae", code=2)
    shell.follow("no run of {} is finished; `zoo train {} --film FILM`", *TINY, FILM="first")
    shell("evaluate", "vae", "--metrics", "psnr", *CPU)


@hint("zoo/reconstruct/find_run.py", "no run of {} is finished; `zoo train {} --film FILM`")
def test_nothing_to_walk(shell: Shell, place: Path) -> None:
    shell("walk", "vae", code=2)
    shell.follow("no run of {} is finished; `zoo train {} --film FILM`", *TINY, FILM="first")
    shell("walk", "vae", "--seconds", "0.2")


@hint("zoo/reconstruct/find_run.py", "choose one with --film, or name a run as `zoo runs` lists it")
def test_a_model_of_two_films(shell: Shell, place: Path) -> None:
    shell("films", "add", "my films/other.mp4")
    shell("train", "ae", "--film", "my films/other.mp4", *TINY)
    verbs = [("evaluate", "--metrics", "psnr", *CPU), ("walk", "--seconds", "0.2")]
    for verb, *more in verbs:
        shell.printed = ""
        shell(verb, "ae", code=2)
        listed = shell.follow(
            "choose one with --film, or name a run as `zoo runs` lists it", "--json"
        ).out
        shell(verb, json.loads(listed)["runs"][0]["name"], *more)


@hint("zoo/reconstruct/find_run.py", "`zoo train {} --film {}`")
@pytest.mark.parametrize("why", ["none", "unfinished", "changed", "path"])
def test_no_run_for_a_film(why: str, shell: Shell, place: Path) -> None:
    film = "first"
    (run,) = place.glob("runs/first/ae/*/run.json")
    match why:
        case "none":
            shell("films", "add", "my films/other.mp4", "--from", "0.2")
            film = "other"
        case "unfinished":
            said = json.loads(run.read_text())
            run.write_text(json.dumps({**said, "state": "training"}))
        case "changed":
            encode(place / FILM, drifting(32, 32, 30, seed=9))
        case "path":
            film = "my films/a new one.mp4"
            encode(place / film, drifting(32, 32, 20, seed=8))
    shell("reconstruct", "ae", "--film", film, code=2)
    shell.follow("`zoo train {} --film {}`", *TINY)
    shell("reconstruct", "ae", "--film", film, "-o", "a.mp4")


@hint("zoo/reconstruct/model_loader.py", "is held out. `zoo train {} --film {}` trains on it")
def test_a_film_that_has_changed(shell: Shell, place: Path) -> None:
    encode(place / FILM, drifting(32, 32, 30, seed=9))
    (run,) = place.glob("runs/first/ae/*")
    again = ("reconstruct", f"first/ae/{run.name}", "--film", "first", "-o", "a.mp4")
    shell(*again, code=2)
    shell.follow("is held out. `zoo train {} --film {}` trains on it", *TINY)
    said = shell("reconstruct", "ae", "--film", "first", "-o", "a.mp4")
    assert run.name not in said.out


@hint("zoo/training/trained_models.py", "zoo train {} --film {} --overwrite")
@pytest.mark.parametrize("film", ["first", "my films/other.mp4"])
def test_weights_that_are_damaged(film: str, shell: Shell, place: Path) -> None:
    shutil.rmtree(place / "runs")
    shell("train", "ae", "--film", film, *TINY)
    (weights,) = place.glob("runs/*/ae/*/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-8])
    shell("reconstruct", "ae", "--film", film, code=2)
    shell.followed.add("zoo train {} --film {} --overwrite")
    shell.follow("`zoo train {} --film {} --overwrite`, with its options", *TINY)
    shell("reconstruct", "ae", "--film", film, "-o", "a.mp4")


@hint("zoo/reconstruct/find_run.py", "No run is called that either: `zoo runs` lists them")
def test_neither_a_model_nor_a_run(shell: Shell, place: Path) -> None:
    shell("walk", "a3", code=2)
    shell.follow("No run is called that either: `zoo runs` lists them")


@hint("zoo/cli/runs.py", "no runs here; `zoo train` and", "and `zoo compare` leave them in runs/")
@hint("zoo/cli/runs.py", "with film-zoo comes {}: `zoo walk {}`")
@pytest.mark.slow
def test_no_runs(shell: Shell, place: Path) -> None:
    shutil.rmtree(place / "runs")
    shell("runs")
    shell.follow("with film-zoo comes {}: `zoo walk {}`", "--seconds", "0.2")
    shell.follow("no runs here; `zoo train` and", "ae", "--film", "first", *TINY)
    shell.follow(
        "and `zoo compare` leave them in runs/",
        *("--films", "first", "--models", "mean", "--no-codecs", *CODED),
    )
    assert list(place.glob("runs/first/mean/*/run.json"))
    listed = shell("runs").out
    assert "no runs here" not in listed and "mean" in listed


@hint("zoo/cli/models_and_plugins.py", "your own: `zoo runs`")
def test_trained_already(shell: Shell, place: Path) -> None:
    shell("models")
    assert "first" in shell.follow("your own: `zoo runs`").out


@hint("zoo/training/curves_and_progress_page.py", "`zoo runs` says whether it still does")
def test_the_page_of_a_training(shell: Shell, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zoo.training.curves_and_progress_page as module

    pages, atomic_write = [], module.atomic_write

    @contextmanager
    def kept(path: Path) -> Iterator[Path]:
        with atomic_write(path) as temporary:
            yield temporary
            if path.name == module.PAGE:
                pages.append(temporary.read_text())

    monkeypatch.setattr(module, "atomic_write", kept)
    shell("train", "vae", "--film", "first", *TINY)
    shell.printed = html.unescape(re.sub("<[^>]+>", "", " ".join(pages[0].split())))
    assert "finished" in shell.follow("`zoo runs` says whether it still does").out
