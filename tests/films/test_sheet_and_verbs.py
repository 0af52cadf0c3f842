from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.films.making import drifting, encode, opened, rgb
from zoo.cli import main
from zoo.films.sheet import barcode, contact_sheet

COLOURS = [(220, 30, 30), (30, 200, 30), (40, 40, 230)]


@pytest.fixture(scope="module")
def three_shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [rgb(64, 36, colour) for colour in COLOURS for _ in range(20)]
    return encode(tmp_path_factory.mktemp("three") / "three.mkv", frames, codec="ffv1")


@dataclass
class Ended:
    returncode: int
    stdout: str
    stderr: str


Zoo = Callable[..., Ended]


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Zoo:
    """The command line, run in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["zoo", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
            raise SystemExit(0)
        return Ended(int(ended.value.code or 0), *capsys.readouterr())

    return run


def test_the_sheet_shows_the_middle_of_every_shot(three_shots: Path, tmp_path: Path) -> None:
    film = opened(three_shots, tmp_path, holdout=0.1)
    assert len(film.shots) == 3
    sheet = np.asarray(contact_sheet(film)).astype(int)
    for number, colour in enumerate(COLOURS):
        centre = sheet[sheet.shape[0] // 2 + 8, 6 + number * 246 + 120]
        assert np.abs(centre - colour).max() < 8


def test_a_sheet_of_hundreds_of_shots_stays_a_picture(three_shots: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    from zoo.films.film import Shot

    film = opened(three_shots, tmp_path)
    many = replace(film, shots=tuple(Shot(i % 60, i % 60 + 1) for i in range(2000)))
    width, height = contact_sheet(many).size
    assert width <= 2100 and height < 10_000


def test_the_barcode_runs_through_the_film(three_shots: Path, tmp_path: Path) -> None:
    code = np.asarray(barcode(opened(three_shots, tmp_path), width=300, height=20)).astype(int)
    assert code.shape == (20, 300, 3)
    for number, colour in enumerate(COLOURS):
        assert np.abs(code[10, 50 + 100 * number] - colour).max() < 8


def test_the_verbs_from_adding_to_removing(three_shots: Path, tmp_path: Path, zoo: Zoo) -> None:
    added = zoo(
        "films", "add", "three", str(three_shots), "--title", "[bold]Three[/bold]",
        "--licence", "CC0",
    )  # fmt: skip
    assert added.returncode == 0, added.stderr
    listed = zoo("films").stdout
    assert "[bold]Three[/bold]" in listed and "bikes" in listed and "CC0" in listed
    before = zoo("films", "info", "three", "--size", "64x36").stdout
    assert "ffv1" in before and "not known yet" in before
    done = zoo("films", "ingest", "three", "--size", "64x36", "--fps", "12.5")
    assert done.returncode == 0, done.stderr
    assert "30 frames at 64x36" in done.stdout and "30 dropped and 0 repeated" in done.stdout
    sheet = zoo("films", "sheet", "three", "--size", "64x36", "-o", "out")
    assert sheet.returncode == 0, sheet.stderr
    for kind in ("sheet", "barcode"):
        with Image.open(tmp_path / "out" / f"three-{kind}.png") as picture:
            assert picture.mode == "RGB"
    after = zoo("films", "info", "three", "--size", "64x36").stdout
    assert "shots" in after and "60 at 25.000 a second" in after and "not known" not in after
    for fact in ("64x36", "pixel aspect 1:1", "2.400 s", "limited range", "none"):
        assert fact in after
    removed = zoo("films", "remove", "three")
    assert removed.returncode == 0 and "is removed" in removed.stdout
    assert not (tmp_path / ".zoo" / "films" / "three").exists()
    assert three_shots.exists()


def test_a_path_does_for_a_name(three_shots: Path, zoo: Zoo) -> None:
    done = zoo("films", "ingest", str(three_shots), "--size", "32x32", "--holdout", "0")
    assert done.returncode == 0 and "0 frames held out" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ingest", "nothing"], "no film is called 'nothing'"),
        (["ingest", "bikes", "--size", "33x20"], "two even sides"),
        (["ingest", "bikes", "--fit", "squash"], "by crop or by pad"),
        (["ingest", "bikes", "--holdout", "2"], "from 0 to 0.5"),
        (["ingest", "bikes", "--fps", "0"], "a frame rate is written"),
        (["ingest", "./text.mp4"], "text.mp4 is no video"),
        (["add", "x", "text.mp4"], "text.mp4 is no video"),
        (["add", "x", "missing.mp4"], "there is no such file"),
        (["add", "../x", "text.mp4"], "a film's name has letters"),
        (["add", "x", "fifo.mp4"], "no regular file"),
        (["info", "./[red]x[/red].mp4"], "[red]x[/red].mp4: there is no such file"),
        (["remove", "bikes"], "it stays"),
    ],
)
def test_mistakes_end_with_one_line_and_code_2(
    tmp_path: Path, zoo: Zoo, words: list[str], said: str
) -> None:
    (tmp_path / "text.mp4").write_text("no film\n" * 50)
    os.mkfifo(tmp_path / "fifo.mp4")
    ended = zoo("films", *words)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1 and said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "films.toml").exists()


def test_damage_is_reported_by_ingest(tmp_path: Path, zoo: Zoo) -> None:
    one = encode(tmp_path / "one.ts", drifting(64, 36, 30))
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() * 2)
    done = zoo("films", "ingest", "./both.ts", "--size", "32x32")
    assert "damaged: " in done.stdout and "times mended" in done.stdout
