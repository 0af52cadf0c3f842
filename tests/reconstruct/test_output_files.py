"""No command replaces a file that it, or another command, only reads: whatever is named with -o."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from zoo.base.workspace import Workspace
from zoo.films.catalogue import Catalogue

MOMENTS = ("--from", "0.4", "--to", "1.2")
OTHER = ("reconstruct", "ae", "--film", "second", "--trained-on", "first")
KEPT = {"pictures": "strip.png", "coded": "coded.zoo", "graph": "graphs/decoder.pt2"}
"""Files of films in the catalogue with the endings of what commands write."""


@pytest.mark.parametrize(
    ("words", "source", "name"),
    [
        (("walk", "ae", "--film", "first", "-o", "first.mp4"), "first.mp4", "first"),
        (("walk", "ae", "--film", "first", "-o", "strip.mp4"), "strip.png", "pictures"),
        (("sample", "vae", "--film", "first", "-o", "first.mp4"), "first.mp4", "first"),
        (("interpolate", "ae", *MOMENTS, "--film", "first", "-o", "link.mp4"), "link.mp4", "first"),
        (
            ("reconstruct", "ae", "--film", "second", "--trained-on", "first", "-o", "first.mp4"),
            "first.mp4",
            "first",
        ),
        (("encode", "ae", "--film", "first", "-o", "coded.zoo"), "coded.zoo", "coded"),
        (("export", "ae", "--film", "first", "-o", "graphs"), "graphs/decoder.pt2", "graph"),
        (("decode", "bare.zoo", "-o", "first.mp4"), "first.mp4", "first"),
    ],
)
def test_a_source_of_a_film_is_never_replaced(
    words: tuple[str, ...], source: str, name: str, zoo: Callable, studio: Workspace
) -> None:
    for film, file in KEPT.items():
        Path(file).parent.mkdir(exist_ok=True)
        Path(file).write_bytes(b"a film")
        Catalogue.open(studio).add(film, [file])
    Path("link.mp4").symlink_to("first.mp4")
    before = Path(source).read_bytes()
    said = zoo(*words, "--overwrite")
    assert said.code == 2 and said.err.count("\n") == 1, said.err
    assert f"{source} is a file of {name} itself; choose another name" in said.err
    assert Path(source).read_bytes() == before


def test_the_file_that_is_decoded_stays(zoo: Callable, studio: Workspace) -> None:
    assert zoo("encode", "ae", "--film", "first", "-o", "bare.zoo").code == 0
    Path("bare.zoo").rename("bare.mp4")
    before = Path("bare.mp4").read_bytes()
    said = zoo("decode", "bare.mp4", "--overwrite")
    assert said.code == 2 and "bare.mp4 is read by this command itself" in said.err
    assert Path("bare.mp4").read_bytes() == before


@pytest.mark.parametrize("name", ["plan.toml", "films.toml"])
def test_neither_the_plan_nor_the_catalogue_is_replaced_by_a_plan(
    name: str, zoo: Callable, workspace: Path
) -> None:
    Path("plan.toml").write_text('films = ["bikes"]\nmodels = ["ae"]\n')
    Path("films.toml").write_text("# mine\n")
    before = Path(name).read_text()
    said = zoo("compare", "plan.toml", "--save-plan", name, "--overwrite", "--dry-run")
    assert said.code == 2 and f"{name} is read by this command itself" in said.err
    assert Path(name).read_text() == before


def test_a_sheet_is_not_written_over_a_picture_of_a_film(zoo: Callable, studio: Workspace) -> None:
    for number in (1, 2):
        Path(f"shot-{number}.png").write_bytes(b"a film")
    shutil.copy("shot-1.png", "first-sheet.png")
    Catalogue.open(studio).add("pictures", ["shot-1.png", "first-sheet.png"])
    said = zoo("films", "sheet", "first")
    assert said.code == 2 and "first-sheet.png is a file of pictures itself" in said.err
    assert Path("first-sheet.png").read_bytes() == b"a film"


def test_a_report_does_not_replace_a_video_that_is_a_film(zoo: Callable, studio: Workspace) -> None:
    video = Path("results/videos/first/side-by-side.mp4")
    video.parent.mkdir(parents=True)
    shutil.copy("first.mp4", video)
    Catalogue.open(studio).add("again", [video])
    words = ("--films", "first", "--models", "ae", "--preset", "quick", "--size", "32x32")
    small = ("--latent", "4", "--budget", "8steps", "--set", "width=8", "--no-codecs", "--dry-run")
    said = zoo("compare", *words, *small, "--device", "cpu", "--overwrite")
    assert said.code == 2, said.out
    assert f"{video} is a file of again itself; move it, or name another folder" in said.err
    assert zoo("report", "results", "--into", "results").code == 2
    (video.parents[2] / ".merged").touch()
    said = zoo("report", "elsewhere", "--into", "results")
    assert said.code == 2 and "is a file of again itself" in said.err
