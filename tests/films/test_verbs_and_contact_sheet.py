from __future__ import annotations

import os
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.films.making import drifting, encode, opened, rgb
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.cli import main
from zoo.films.catalogue import Catalogue
from zoo.films.contact_sheet import barcode, contact_sheet
from zoo.films.ingest import open_film

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

    from zoo.films.ingested_film import Shot

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
        "films", "add", "--name", "three", str(three_shots), "--title", "[bold]Three[/bold]",
        "--licence", "CC0",
    )  # fmt: skip
    assert added.returncode == 0, added.stderr
    listed = zoo("films").stdout
    assert "[bold]Three[/bold]" in listed and "bikes" in listed and "CC0" in listed
    before = zoo("films", "info", "three", "--size", "64x36").stdout
    assert "ffv1" in before and "not known yet" in before
    done = zoo("films", "ingest", "three", "--size", "64x36")
    assert done.returncode == 0, done.stderr
    assert "60 frames at 64x36" in done.stdout
    sheet = zoo("films", "sheet", "three", "--size", "64x36", "-o", "out")
    assert sheet.returncode == 0, sheet.stderr
    for kind in ("sheet", "barcode"):
        with Image.open(tmp_path / "out" / f"three-{kind}.png") as picture:
            assert picture.mode == "RGB"
    after = zoo("films", "info", "three", "--size", "64x36").stdout
    assert "shots" in after and "60 at 25.000 frames/s" in after and "not known" not in after
    for fact in ("64x36", "pixel aspect 1:1", "2.400 s", "limited range", "none"):
        assert fact in after
    removed = zoo("films", "remove", "three")
    assert removed.returncode == 0 and "is removed" in removed.stdout
    assert not (tmp_path / ".zoo" / "films" / "three").exists()
    assert three_shots.exists()


def with_sound(path: Path) -> Path:
    """Forty frames of 25 per second that the header counts, with two tracks of sound."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 36, "yuv420p"
        tracks = [container.add_stream("aac", rate=16000, layout="mono") for _ in range(2)]
        for track, language in zip(tracks, ("eng", "jpn"), strict=True):
            track.metadata["language"] = language
        for number, pixels in enumerate(drifting(64, 36, 40)):
            frame = av.VideoFrame.from_ndarray(pixels)
            frame.pts = number
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        for track in tracks:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 16000), "float32"), "fltp", "mono")
            silence.sample_rate = 16000
            container.mux(track.encode(silence))
            container.mux(track.encode(None))
    return path


def test_info_has_the_range_every_track_of_sound_and_no_estimate_of_what_is_known(
    tmp_path: Path, zoo: Zoo
) -> None:
    with_sound(tmp_path / "a.mp4")
    assert zoo("films", "add", "a.mp4").returncode == 0
    assert zoo("films", "add", "a.mp4", "--name", "part", "--from", "0.4", "--fps", "5").stdout
    whole = " ".join(zoo("films", "info", "a", "--size", "64x36").stdout.split())
    part = " ".join(zoo("films", "info", "part", "--size", "64x36").stdout.split())
    assert "range the whole film" in whole and "range from 00:00:00.400 to the end" in part
    assert "frames/s that of the file" in whole and "frames/s 5 frames/s" in part
    for said in (whole, part):
        assert "sound aac, mono, 16,000 Hz, eng sound aac, mono, 16,000 Hz, jpn" in said
    assert "frames 40 " in whole and "about" not in whole
    assert "frames about 6 " in part
    done = zoo("films", "ingest", "part", "--size", "32x32")
    assert "about 6 frames" in done.stderr
    assert "part: 7 frames at" in zoo("films", "ingest", "part", "--size", "64x36").stderr
    assert "none" in zoo("films", "info", "bikes").stdout.partition("sound")[2]


def test_a_path_does_for_a_name(three_shots: Path, zoo: Zoo) -> None:
    done = zoo("films", "ingest", str(three_shots), "--size", "32x32", "--holdout", "0")
    assert done.returncode == 0 and " 0 held out in 0 runs" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ingest", "nothing"], "no film is called 'nothing'"),
        (["ingest", "bikes", "--size", "33x20"], "must be even"),
        (["add", "clip.mkv", "--fit", "squash"], "fit must be crop or pad"),
        (["ingest", "bikes", "--holdout", "2"], "from 0 to 0.5"),
        (["add", "clip.mkv", "--fps", "0"], "a frame rate must be written"),
        (
            ["add", "--as-one", "x", "clip.mkv", "clip.mkv", "--from", "0:01"],
            "x ends at 00:00:00.320, before --from 0:01",
        ),
        (["add", "clip.mkv", "--crop", "10x10"], "zoo: a crop must be auto, none or"),
        (["add", "clip.mkv", "--from", "1:70"], "zoo: a time code must be HH:MM:SS.mmm"),
        (
            ["add", "clip.mkv", "--from", "1:00"],
            "clip.mkv ends at 00:00:00.160, before --from 1:00",
        ),
        (["ingest", "./text.mp4"], "text.mp4 is not a video"),
        (["add", "text.mp4"], "text.mp4 is not a video"),
        (["add", "missing.mp4"], "there is no such file"),
        (["add", "../x", "text.mp4"], "../x: there is no such file"),
        (["add", "--as-one", "../x", "clip.mkv"], "a film's name has letters"),
        (["add", "rtsp://example.com/a"], "is a stream, not a file to download"),
        (["add", "https://example.com/a.m3u8"], "is a playlist, whose URLs are not opened"),
        (["ingest", "https://example.com/a.mp4"], "is a URL: `zoo films add URL` downloads"),
        (["ingest", "bikes,rtsp://example.com/a"], "is a URL: `zoo films add URL`"),
        (["add", "fifo.mp4"], "not a regular file"),
        (["info", "./[red]x[/red].mp4"], "[red]x[/red].mp4: there is no such file"),
        (["remove", "bikes"], "`zoo films hide bikes` leaves it out of lists"),
        (["hide", "nothing"], "no film is called 'nothing'"),
    ],
)
def test_mistakes_end_with_one_line_and_code_2(
    tmp_path: Path, zoo: Zoo, words: list[str], said: str
) -> None:
    (tmp_path / "text.mp4").write_text("no film\n" * 50)
    encode(tmp_path / "clip.mkv", drifting(64, 36, 4))
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
    assert "damaged: " in done.stdout and "times repaired" in done.stdout


def files_of(folder: Path) -> dict[str, object]:
    """The films of films.toml with their files, as they are written there."""
    tables = tomllib.loads((folder / "films.toml").read_text(encoding="utf-8"))
    return {name: table["files"] for name, table in tables.items()}


@pytest.fixture
def clips(tmp_path: Path, zoo: Zoo) -> Path:
    """The current folder, with three clips in it and one of the same name in a folder below."""
    for number, name in enumerate(("a.mkv", "b.mkv", "東京物語.mkv", "below/a.mkv", "plain")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        encode(path, drifting(64, 36, 4 + number), container_format="matroska")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "films"),
    [
        (("a.mkv", "b.mkv"), {"a": "a.mkv", "b": "b.mkv"}),
        (("東京物語.mkv",), {"東京物語": "東京物語.mkv"}),
        (("plain", "a.mkv"), {"plain": "plain", "a": "a.mkv"}),
        (("./plain",), {"plain": "plain"}),
        (("--as-one", "羅生門", "a.mkv", "b.mkv"), {"羅生門": ["a.mkv", "b.mkv"]}),
        (("--as-one", "below", "below/a.mkv"), {"below": "below/a.mkv"}),
        (("--name", "x.mkv", "a.mkv"), {"x.mkv": "a.mkv"}),
        (("--as-one", "x", "a.mkv", "b.mkv"), {"x": ["a.mkv", "b.mkv"]}),
        (("below/../a.mkv",), {"a": "a.mkv"}),
    ],
)
def test_each_file_is_a_film_or_all_are_one(
    clips: Path, zoo: Zoo, words: tuple[str, ...], films: dict[str, object]
) -> None:
    done = zoo("films", "add", *words)
    assert done.returncode == 0, done.stderr
    assert files_of(clips) == films
    assert done.stdout.splitlines() == [f"{name} is in films.toml" for name in films]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("x", "a.mkv"),
            "'x' is not a file here; to name a film, use `zoo films add --name x a.mkv`",
        ),
        (("羅生門", "a.mkv", "b.mkv"), "`zoo films add --as-one '羅生門' a.mkv b.mkv`"),
        (("x", "a.mkv", "b.mkv", "below/a.mkv"), "`zoo films add --as-one x a.mkv b.mkv ...`"),
        (("a",), "`zoo films add --name a FILE`"),
        (("c.mkv", "a.mkv", "b.mkv"), "c.mkv: there is no such file"),
        (("--name", "x", "a.mkv", "b.mkv"), "--as-one NAME joins several"),
        (("--name", "x", "--as-one", "y", "a.mkv"), "give one"),
        (("--title", "A", "a.mkv", "b.mkv"), "--title applies to one film"),
        (("a.mkv", "missing.mkv"), "missing.mkv: there is no such file"),
    ],
)
def test_words_that_are_no_paths_are_refused_and_nothing_is_added(
    clips: Path, zoo: Zoo, words: tuple[str, ...], said: str
) -> None:
    done = zoo("films", "add", *words)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1
    assert not (clips / "films.toml").exists()


def test_files_of_one_name_become_two_films_and_a_film_is_added_once(clips: Path, zoo: Zoo) -> None:
    assert zoo("films", "add", "a.mkv", "below/a.mkv", "--fit", "pad").returncode == 0
    first, second = files_of(clips)
    assert first == "a" and second.startswith("a-") and len(second) == len("a-") + 8
    again = zoo("films", "add", "a.mkv", "below/a.mkv", "b.mkv")
    assert again.stdout.splitlines() == [
        "a is in films.toml already", f"{second} is in films.toml already", "b is in films.toml"
    ]  # fmt: skip
    refused = zoo("films", "add", "a.mkv", "--crop", "none")
    assert refused.returncode == 2 and "a.mkv is already the film a" in refused.stderr


def test_a_films_settings_are_followed_wherever_it_is_opened(
    three_shots: Path, tmp_path: Path, zoo: Zoo
) -> None:
    assert zoo(
        "films", "add", "--name", "x", str(three_shots), "--fit", "pad", "--fps", "12.5"
    ).stdout
    done = zoo("films", "ingest", "x", "--size", "64x64")
    assert "30 frames at 64x64" in done.stdout and "30 dropped and 0 repeated" in done.stdout
    (store,) = (tmp_path / ".zoo" / "films" / "x").glob("*/manifest.json")
    assert '"pad"' in store.read_text()
    workspace = Workspace(tmp_path)
    film = open_film(Catalogue.open(workspace).film("x"), FrameSize(64, 64), workspace)
    assert film.store.folder == store.parent and film.frames[0, :, 0].max() < 8
    for verb in ("ingest", "info", "sheet"):
        assert zoo("films", verb, "x", "--fit", "pad").returncode == 2


def test_a_hint_names_a_film_as_a_command_takes_it(clips: Path, zoo: Zoo) -> None:
    assert zoo("films", "add", "a.mkv").returncode == 0
    assert "`zoo films ingest a --size" in zoo("films", "info", "a").stdout
    assert f"`zoo films ingest {clips / 'b.mkv'} --size" in zoo("films", "info", "b.mkv").stdout


def test_sheets_of_two_films_of_one_name_are_two(clips: Path, zoo: Zoo) -> None:
    for path in ("./a.mkv", "below/a.mkv", "./東京物語.mkv"):
        done = zoo("films", "sheet", path, "--size", "32x32", "--holdout", "0")
        assert done.returncode == 0, done.stderr
    sheets = sorted(path.name for path in clips.glob("*-sheet.png"))
    assert len(sheets) == 3 and sum(name.startswith("a-") for name in sheets) == 2
    assert sum(name.startswith("東京物語-") for name in sheets) == 1


@pytest.mark.parametrize("verb", ["ingest", "info", "sheet"])
def test_one_film_that_is_missing_does_not_stop_the_others(
    clips: Path, zoo: Zoo, verb: str
) -> None:
    assert zoo("films", "add", "a.mkv", "b.mkv").returncode == 0
    (clips / "a.mkv").unlink()
    done = zoo("films", verb, "a,b", "--size", "32x32")
    assert done.returncode == 2
    reported = f"zoo: film a: {clips / 'a.mkv'}: there is no such file\n"
    assert done.stderr.startswith(reported)
    assert "b" in done.stdout
    if verb == "sheet":
        assert (clips / "b-sheet.png").exists()
    alone = zoo("films", verb, "a", "--size", "32x32")
    assert alone.returncode == 2 and alone.stderr == reported


def test_the_list_shows_what_is_ingested_of_the_file_as_it_is(clips: Path, zoo: Zoo) -> None:
    assert zoo("films", "add", "a.mkv").returncode == 0

    def listed() -> str:
        return next(line for line in zoo("films").stdout.splitlines() if "a.mkv" in line)

    assert "32x32" not in listed()
    assert zoo("films", "ingest", "a", "--size", "32x32", "--holdout", "0").returncode == 0
    assert "32x32" in listed()
    shutil.copy(clips / "b.mkv", clips / "a.mkv")
    assert "32x32" not in listed()
    (clips / "a.mkv").unlink()
    assert "file is missing" in listed()


def test_it_is_said_which_films_all_and_mine_are(clips: Path, zoo: Zoo) -> None:
    assert zoo("films", "add", "a.mkv", "b.mkv").returncode == 0
    size = ("--size", "32x32", "--holdout", "0")
    assert zoo("films", "ingest", "mine", *size).stderr.startswith("mine films: a, b\n")
    assert zoo("films", "hide", "bikes", "bigbuckbunny", "b").stdout.endswith(": hidden\n")
    listed = zoo("films").stdout
    assert "hidden, but still usable by name: b, bigbuckbunny, bikes" in listed
    assert listed.count("bikes") == 1 and "carphone" in listed
    said = zoo("films", "ingest", "all", *size)
    hint = "`mine` leaves out those that film-zoo and plugins bring"
    assert said.stderr.startswith(f"all films: a, carphone; {hint}\n")
    assert zoo("films", "unhide", "bikes", "bigbuckbunny", "b").returncode == 0
    assert "hidden" not in zoo("films").stdout


def test_in_a_folder_below_the_workspace_it_is_said_where_that_is(
    clips: Path, zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert zoo("films", "add", "a.mkv").returncode == 0
    monkeypatch.chdir(clips / "below")
    said = zoo("films", "info", "a")
    assert said.returncode == 2
    hint = f"`cd {shlex.quote(str(clips))}` goes to the workspace above this folder"
    assert hint in said.stderr
    assert hint in zoo("runs").stdout
    assert hint in zoo("runs", "show", "a/ae").stderr
    added = zoo("films", "add", "../b.mkv")
    assert f"the one above it is {clips}" in added.stdout
    assert files_of(clips / "below") == {"b": str(clips / "b.mkv")}
