"""Finding the run that a user means by a model and a film."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.api.film_entry import FilmEntry
from zoo.base.errors import BadInput
from zoo.base.workspace import Workspace
from zoo.reconstruct.find_run import finished_run, words_for
from zoo.training.run_folder import RunFolder
from zoo.training.runs import Run, RunStatus


def run(name: str, frames: int | None, modified: float, status: RunStatus = "finished") -> Run:
    return Run(RunFolder(Path(name)), name, status, frames=frames, modified=modified)


RUNS = [
    run("f/ae/short", 100, 9.0),
    run("f/ae/long", 900, 1.0),
    run("f/ae/unfinished", 5000, 9.0, "interrupted"),
    run("f/pca/old", None, 1.0),
    run("f/pca/new", None, 2.0),
    run("g/vae/a", 100, 1.0),
    run("h/vae/a", 900, 1.0),
    run("f/fsq/a", 10, 1.0, "stopped"),
]


@pytest.mark.parametrize(
    ("model", "film", "trained_on", "chosen"),
    [
        ("ae", "f", None, "f/ae/long"),
        ("pca", "f", None, "f/pca/new"),
        ("vae", "f", "g", "g/vae/a"),
        ("ae", "g", "f", "f/ae/long"),
    ],
)
def test_the_most_trained_and_of_equals_the_newest(
    model: str, film: str, trained_on: str | None, chosen: str
) -> None:
    assert finished_run(RUNS, model, film, trained_on).name == chosen


def test_advice_names_a_run_by_its_model_and_film_where_these_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [
        run("f/ae/20260101T000000-1ba2ffff", 100, 9.0),
        run("f/ae/20260101T000000-3cd4ffff", 900, 1.0),
    ]
    monkeypatch.setattr("zoo.reconstruct.find_run.find_runs", lambda workspace: runs)
    monkeypatch.setattr("zoo.reconstruct.find_run.was_trained_on", lambda *_: None)
    workspace, film = Workspace(tmp_path), FilmEntry(name="f", files=(tmp_path / "f.mkv",))
    assert words_for(workspace, runs[1], film) == "ae --film f"
    words = words_for(workspace, runs[0], film)
    assert words == runs[0].digest and len(words) < len(runs[0].name)
    elsewhere = FilmEntry(name="f", files=(tmp_path / "f.mkv",), path="./a film.mkv")
    assert words_for(workspace, runs[1], elsewhere) == "ae --film './a film.mkv'"


@pytest.mark.parametrize(
    ("same", "chosen"),
    [
        ({"f/ae/short": True, "f/ae/long": False}, "f/ae/short"),
        ({"f/ae/short": None, "f/ae/long": False}, "f/ae/short"),
        ({"f/ae/short": True, "f/ae/long": None}, "f/ae/short"),
        ({"f/ae/short": None, "f/ae/long": None}, "f/ae/long"),
        ({"f/ae/short": False, "f/ae/long": False}, None),
    ],
)
def test_the_frames_a_run_was_trained_on_matter_more_than_the_film_s_name(
    same: dict[str, bool | None], chosen: str | None
) -> None:
    def trained_on_film(run: Run) -> bool | None:
        return same.get(run.name, False)

    if chosen is not None:
        assert finished_run(RUNS, "ae", "f", trained_on_film=trained_on_film).name == chosen
        assert finished_run(RUNS, "ae", "g", "f", trained_on_film=trained_on_film).name == chosen
        return
    with pytest.raises(BadInput, match=r"trained on frames that f no longer has.*zoo train.*--run"):
        finished_run(RUNS, "ae", "f", trained_on_film=trained_on_film)


def test_a_renamed_film_still_finds_its_run() -> None:
    found = finished_run(RUNS, "vae", "renamed", trained_on_film=lambda run: run.film == "g")
    assert found.name == "g/vae/a"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("vae", "f"), "there is one on g, h: --trained-on g uses it for f"),
        (("vae", "f"), "or `zoo train vae --film f`"),
        (("ae", "g", "h"), "on h: `zoo train ae --film h`; there are runs of it on f"),
        (("fsq", "f"), "f/fsq/a is stopped; `zoo train fsq --film f` continues it"),
        (("coded_pca", "f"), "no finished run of coded_pca on f: `zoo train coded_pca --film f`"),
        (("coded_pca", "f", None, "./f.mp4"), "zoo train coded_pca --film ./f.mp4"),
    ],
)
def test_the_error_says_which_runs_there_are(words: tuple[str, ...], expected: str) -> None:
    with pytest.raises(BadInput) as refused:
        finished_run(RUNS, *words)
    assert expected in str(refused.value)
