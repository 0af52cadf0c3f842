"""Hints of commands for models, runs and results: provoked, cut out of what is printed, and run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.hints.conftest import CPU, FILM, SMALL, Shell
from tests.films.making import drifting, encode

hint = pytest.mark.hint
TINY = (*SMALL, *CPU, "--budget", "2steps")


@hint("zoo/cli/train.py", "`zoo evaluate {}` scores every frame")
@pytest.mark.parametrize("film", ["first", "my films/other.mp4"])
def test_a_training_has_ended(film: str, shell: Shell, place: Path) -> None:
    shell("train", "ae", "--film", film, *SMALL, *CPU, "--budget", "3steps")
    scored = shell.follow("`zoo evaluate {}` scores every frame", "--metrics", "psnr", *CPU)
    assert "PSNR" in scored.out


@hint("zoo/cli/evaluate.py", "no run of {} is finished; `zoo train {} --film FILM`")
def test_nothing_to_evaluate(shell: Shell, place: Path) -> None:
    shell("evaluate", "vae", code=2)
    shell.follow("no run of {} is finished; `zoo train {} --film FILM`", *TINY, FILM="first")
    shell("evaluate", "vae", "--metrics", "psnr", *CPU)


@hint("zoo/reconstruct/find_run.py", "no run of {} is finished; `zoo train {} --film FILM`")
def test_nothing_to_walk(shell: Shell, place: Path) -> None:
    shell("walk", "vae", code=2)
    shell.follow("no run of {} is finished; `zoo train {} --film FILM`", *TINY, FILM="first")
    shell("walk", "vae", "--seconds", "0.2")


@hint("zoo/cli/evaluate.py", "--film says which, or name a run as `zoo runs` does")
@hint("zoo/reconstruct/find_run.py", "--film says which, or name a run as `zoo runs` does")
def test_a_model_of_two_films(shell: Shell, place: Path) -> None:
    shell("films", "add", "my films/other.mp4")
    shell("train", "ae", "--film", "my films/other.mp4", *TINY)
    verbs = [("evaluate", "--metrics", "psnr", *CPU), ("walk", "--seconds", "0.2")]
    for verb, *more in verbs:
        shell.printed = ""
        shell(verb, "ae", code=2)
        listed = shell.follow("--film says which, or name a run as `zoo runs` does", "--json").out
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


@hint("zoo/reconstruct/find_run.py", "No run is called so either: `zoo runs` lists them")
def test_neither_a_model_nor_a_run(shell: Shell, place: Path) -> None:
    shell("walk", "a3", code=2)
    shell.follow("No run is called so either: `zoo runs` lists them")


@hint("zoo/cli/models.py", "your own: `zoo runs`")
def test_trained_already(shell: Shell, place: Path) -> None:
    shell("models")
    assert "first" in shell.follow("your own: `zoo runs`").out


@hint("zoo/cli/plugins.py", "is called {}; `zoo plugins` lists them")
@hint("zoo/cli/plugins.py", "no plugin but film-zoo's own is installed; `zoo plugins` lists them")
def test_no_such_plugin(shell: Shell, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell("plugins", "check", "nonsense", code=2)
    assert "embedded" in shell.follow("is called {}; `zoo plugins` lists them").out
    monkeypatch.setattr("zoo.cli.plugins._all_plugins", list)
    shell("plugins", "check", code=2)
    shell.follow("no plugin but film-zoo's own is installed; `zoo plugins` lists them")
