"""Hints of commands for films: provoked, cut out of what is printed, and run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.cli.hints.conftest import FILM, SMALL, Shell
from tests.films.making import drifting, encode, video_frame
from zoo.films.frame_converter import FrameConverter

hint = pytest.mark.hint


@hint("zoo/base/workspace.py", "`cd {}` goes to")
def test_in_a_folder_below(shell: Shell, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place / "my films")
    shell("films", "info", "first", code=2)
    cd, where = shell.command("`cd {}` goes to")
    assert (cd, where) == ("cd", str(place))
    # As a shell reads it, in a folder below one with a blank and a quote in its name.
    quoted = place / "a 'b' $c"
    shutil.copytree(place / "my films", quoted / "below")
    shutil.copy(place / "films.toml", quoted)
    monkeypatch.chdir(quoted / "below")
    shell("films", "info", "nothing", code=2)
    shell.printed = shell.printed[shell.printed.rindex("no film") :]
    words = shell.command("`cd {}` goes to")
    assert words[1] == str(quoted)
    os.chdir(words[1])


@hint("zoo/films/catalogue.py", "there are: {}. `zoo films add PATH` adds one")
def test_a_film_that_there_is_not(shell: Shell, place: Path) -> None:
    shell("films", "info", "other", code=2)
    shell.follow("there are: {}. `zoo films add PATH` adds one", PATH="'my films/other.mp4'")
    shell("films", "info", "other")


@hint("zoo/films/catalogue.py", "matches no film here: `zoo films add PATH` adds one")
def test_no_film_at_all(shell: Shell, place: Path) -> None:
    (place / "films.toml").unlink()
    shell("train", "ae", "--film", "mine", *SMALL, code=2)
    shell.follow("matches no film here: `zoo films add PATH` adds one", PATH="'my films/other.mp4'")
    shell("train", "ae", "--film", "mine", *SMALL, "--budget", "1steps", "--device", "cpu")


@hint("zoo/doctor.py", "no films added yet: `zoo films add FILE`")
def test_a_workspace_without_films(shell: Shell, place: Path) -> None:
    (place / "films.toml").unlink()
    shell("doctor", code=None)
    shell.follow("no films added yet: `zoo films add FILE`", FILE="'my films/other.mp4'")
    assert "1 film added" in shell("doctor", code=None).out


@hint("zoo/films/catalogue.py", "comes with a plugin and cannot be removed; `zoo films hide {}`")
@hint("zoo/cli/films.py", "`zoo films unhide NAME`")
def test_a_film_of_a_plugin(shell: Shell, workspace: Path) -> None:
    shell("films", "remove", "bikes", code=2)
    shell.follow("comes with a plugin and cannot be removed; `zoo films hide {}`")
    assert "bikes" in shell("films").out.splitlines()[-1]
    shell.follow("`zoo films unhide NAME`", NAME="bikes")
    assert "hidden" not in shell("films").out


@hint(
    "zoo/films/catalogue.py", "there is already a film called {}: run `zoo films remove {}` first"
)
def test_a_name_that_is_taken(shell: Shell, place: Path) -> None:
    add = ("films", "add", "--name", "First", "my films/other.mp4")
    shell(*add, code=2)
    shell.follow("there is already a film called {}: run `zoo films remove {}` first")
    shell(*add)


@hint("zoo/cli/film_catalogue.py", "to name a film, use `zoo films add {}{}`")
@pytest.mark.parametrize(
    ("words", "films"),
    [
        (["cut"], 1),
        (["cut", "my films/other.mp4"], 1),
        (["cut", "my films/the first.mp4", "my films/other.mp4"], 2),
    ],
)
def test_a_name_before_the_files(words: list[str], films: int, shell: Shell, place: Path) -> None:
    shell("films", "add", *words, code=2)
    fill = {"FILE": "'my films/other.mp4'"} if len(words) == 1 else {}
    shell.follow("to name a film, use `zoo films add {}{}`", **fill)
    assert shell("films", "info", "cut").out.count(".mp4") >= films


@hint("zoo/cli/film_catalogue.py", "is a single picture: `zoo films add FOLDER`")
def test_a_single_picture(shell: Shell, workspace: Path) -> None:
    (workspace / "my shots").mkdir()
    for number, pixels in enumerate(drifting(32, 32, 4)):
        Image.fromarray(pixels).save(workspace / f"my shots/{number:03}.png")
    shell("films", "add", "my shots/000.png", code=2)
    shell.follow("is a single picture: `zoo films add FOLDER`", FOLDER="'my shots'")
    assert "my shots" in shell("films", "info", "my-shots").out


@hint("zoo/films/source_files.py", "`zoo films add --as-one NAME FILE...` takes pictures")
def test_pictures_without_an_order(shell: Shell, workspace: Path) -> None:
    (workspace / "shots").mkdir()
    for number, pixels in zip((1, 3), drifting(32, 32, 2), strict=True):
        Image.fromarray(pixels).save(workspace / f"shots/{number}.png")
    shell("films", "add", "shots", code=2)
    shell.follow(
        "`zoo films add --as-one NAME FILE...` takes pictures",
        **{"NAME": "joined", "FILE...": "shots/3.png shots/1.png"},
    )
    shell("films", "info", "joined")


@hint("zoo/cli/films.py", "not known yet; `zoo films ingest {} --size {}` finds them")
@pytest.mark.parametrize("film", ["first", "my films/other.mp4"])
def test_shots_that_are_not_known(film: str, shell: Shell, place: Path) -> None:
    shell("films", "info", film, "--size", "48x32")
    shell.follow("not known yet; `zoo films ingest {} --size {}` finds them")
    assert "not known yet" not in shell("films", "info", film, "--size", "48x32").out


@hint("zoo/films/source_files.py", "is a URL: `zoo films add URL`")
@hint("zoo/films/film_download.py", "record it with `ffmpeg -i URL -c copy film.mkv`")
def test_an_address(
    ffmpeg: Callable[..., None], shell: Shell, place: Path, serving_films: Callable[[], str]
) -> None:
    address = f"{serving_films()}/other.mp4"
    shell("train", "ae", "--film", address, *SMALL, code=2)
    shell.follow("is a URL: `zoo films add URL`", URL=address)
    shell("films", "info", "other")
    shell("films", "add", f"{address.rpartition('/')[0]}/list.m3u8", code=2)
    words = shell.command("record it with `ffmpeg -i URL -c copy film.mkv`", URL=address)
    ffmpeg(words)
    shell("films", "add", "film.mkv")


@pytest.fixture
def serving_films(place: Path) -> Any:
    import functools
    import http.server
    import threading

    servers = []

    def serve() -> str:
        (place / "my films/list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nother.mp4\n")
        handler = functools.partial(
            http.server.SimpleHTTPRequestHandler, directory=place / "my films"
        )
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def ffmpeg() -> Callable[[list[str]], None]:
    """Run an FFmpeg command; a test that asks for this first is skipped where FFmpeg is missing."""
    if not shutil.which("ffmpeg"):
        pytest.skip("the program ffmpeg is not installed")

    def run(words: list[str]) -> None:
        subprocess.run(words, check=True, capture_output=True, timeout=60)

    return run


@hint("zoo/films/source_files.py", "join them first: `ffmpeg -i PLAYLIST -c copy film.mkv`")
def test_a_playlist_of_parts(
    ffmpeg: Callable[[list[str]], None], shell: Shell, place: Path
) -> None:
    given = str(place / FILM)
    ffmpeg(
        [*("ffmpeg", "-i", given, "-c", "copy", "-f", "hls", "-hls_time", "0.2"),
         *("-hls_segment_type", "fmp4", "parts.m3u8")]
    )  # fmt: skip
    shell("films", "add", "parts.m3u8", code=2)
    ffmpeg(
        shell.command(
            "join them first: `ffmpeg -i PLAYLIST -c copy film.mkv`", PLAYLIST="parts.m3u8"
        )
    )
    shell("films", "add", "film.mkv")


@hint("zoo/films/video_file.py", "join it to the file before it, as with `cat`")
def test_a_piece_of_a_recording(shell: Shell, workspace: Path) -> None:
    whole = encode(Path("whole.vob"), drifting(64, 64, 50), codec="mpeg2video").read_bytes()
    for end in range(1, 40):
        Path("first.vob").write_bytes(whole[: -2048 * end])
        Path("second.vob").write_bytes(whole[-2048 * end :])
        if shell("films", "add", "second.vob", code=None).code == 2:
            break
    cat = shell.command("join it to the file before it, as with `cat`")
    joined = subprocess.run([*cat, "first.vob", "second.vob"], check=True, capture_output=True)
    Path("joined.vob").write_bytes(joined.stdout)
    shell("films", "add", "joined.vob")


@hint("zoo/films/frame_converter.py", "please report this with the output of `zoo films info`")
def test_a_frame_of_another_size(
    shell: Shell, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller = video_frame(drifting(30, 30, 1)[0], "yuv420p")
    with monkeypatch.context() as patch:
        patch.setattr(FrameConverter, "_pulled", lambda self, layout: smaller)
        shell("films", "ingest", "my films/other.mp4", "--size", "32x32", code=1)
    shell.follow("please report this with the output of `zoo films info`", "my films/other.mp4")


@hint("zoo/doctor.py", "bring it back, or `zoo films remove {}`")
def test_a_film_that_is_gone(shell: Shell, place: Path) -> None:
    Path(FILM).unlink()
    # Whether the rest of this machine is as it should be is not asked here.
    shell("doctor", code=None)
    shell.follow("bring it back, or `zoo films remove {}`")
    assert "is not there" not in shell("doctor", code=None).out
