"""Numbered pictures, GIFs, patterns and playlists are films; what is wrong with one is one line."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.films.making import drifting, encode, opened, rgb
from zoo.api.film_entry import FilmEntry
from zoo.base.errors import BadInput
from zoo.base.workspace import Workspace
from zoo.films.catalogue import Catalogue
from zoo.films.source_files import FilmSource, PictureSequence, is_present
from zoo.matching.pdq_hashes import hash_files


def pictures(folder: Path, names: list[str], size: tuple[int, int] = (64, 36)) -> Path:
    """Plain pictures in a folder, each 20 levels brighter than the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(rgb(*size, (20 + 20 * number,) * 3)).save(folder / name, quality=100)
    return folder


def levels(path: Path, workspace: Path, **settings: object) -> list[int]:
    """The mean brightness of each frame of a film, in steps of 20."""
    film = opened(path, workspace, **settings)
    return [round(float(frame.mean()) / 20) for frame in film.frames]


@pytest.mark.parametrize(
    "names",
    [
        [f"{n:04d}.png" for n in range(12)],
        [f"{n}.png" for n in range(2, 14)],
        [f"scene 2 frame{n}.final.jpg" for n in range(95, 107)],
        [f"100% {n:05d}.TIF" for n in range(9_995, 10_007)],
        [f"{n:03d}.bmp" for n in range(995, 1007)],
    ],
    ids=lambda names: names[0],
)
@pytest.mark.parametrize("folder", ["frames", "50%d [a]*"])
def test_a_folder_of_numbered_pictures_is_a_film_in_the_order_of_the_numbers(
    names: list[str], folder: str, tmp_path: Path
) -> None:
    place = pictures(tmp_path / folder, names)
    (place / "Thumbs.db").write_bytes(b"x")
    (place / "._0001.png").write_bytes(b"x")
    assert levels(place, tmp_path) == list(range(1, 13))


def test_photographs_are_turned_as_their_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: clockwise by 90 degrees
    half = np.concatenate([rgb(32, 36, (250,) * 3), rgb(32, 36, (0,) * 3)], axis=1)
    for number in range(3):
        Image.fromarray(half).save(tmp_path / f"IMG_{number}.jpg", exif=exif)
    film = opened(tmp_path / "IMG_%d.jpg", tmp_path, size="36x64", crop="none")
    assert film.store.manifest.parts[0].rotation == 90
    top, bottom = film.frames[0, :, :28].mean(), film.frames[0, :, 36:].mean()
    assert top > 240 and bottom < 10


@pytest.mark.parametrize("digits", [8, 9, 10, 40])
def test_a_pattern_may_have_any_number_of_digits(digits: int, tmp_path: Path) -> None:
    place = pictures(tmp_path / "frames", [f"{n:0{digits}d}.png" for n in range(98, 102)])
    pictures(place, ["1.png", "other.png"])
    assert levels(place / f"%0{digits}d.png", tmp_path) == [1, 2, 3, 4]


@pytest.mark.parametrize("digits", ["300", "99999999999", "9" * 5000])
def test_a_pattern_of_more_digits_than_a_name_can_have_is_refused(
    digits: str, tmp_path: Path
) -> None:
    pictures(tmp_path, ["1.png", "2.png"])
    with pytest.raises(BadInput):
        opened(tmp_path / f"%0{digits}d.png", tmp_path)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_playlist_names_files_with_any_letters(end: str, tmp_path: Path) -> None:
    names = [
        "\N{LINE SEPARATOR}a.mp4",
        "b\x85.mp4",
        "\N{IDEOGRAPHIC SPACE}c.mp4",
        "d\x0c.mp4",
        "é.mp4",
    ]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    for coding in ("utf-8", "utf-8-sig"):
        (tmp_path / "list.m3u").write_text(f"#EXTM3U{end}" + end.join(names), coding, newline="")
        assert [file.name for file in FilmSource.read(tmp_path / "list.m3u").files] == names


@pytest.mark.parametrize("ending", [".mp4", ".m3u", ".png", "%d.png"])
def test_a_name_that_no_file_can_have_is_refused(ending: str, workspace: Path) -> None:
    catalogue = Catalogue.open(Workspace(workspace))
    with pytest.raises(BadInput, match=r"too long|matches no numbered pictures"):
        catalogue.choose("./" + "a" * 300 + ending)
    assert not is_present(workspace / ("a" * 300 + ending))


def test_a_picture_that_no_reader_of_pictures_takes_is_left_to_the_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow raises errors of many kinds on damaged pictures: its reader of AVIF, RuntimeError."""

    def broken(*_: object) -> None:
        raise RuntimeError("Failed to decode image")

    place = pictures(tmp_path / "frames", ["1.png", "2.png", "3.png"])
    monkeypatch.setattr(Image, "open", broken)
    assert levels(place, tmp_path) == [1, 2, 3]


@pytest.mark.parametrize("pattern", ["a%04d.png", "a%d.png", "a*.png", "a????.png"])
def test_a_pattern_takes_one_sequence_of_a_folder(pattern: str, tmp_path: Path) -> None:
    place = pictures(tmp_path / "frames", [f"a{n:04d}.png" for n in range(9, 12)])
    pictures(place, [f"b{n:04d}.png" for n in range(5)])
    assert levels(place / pattern, tmp_path) == [1, 2, 3]


def test_the_rate_of_pictures_is_the_films_setting(tmp_path: Path) -> None:
    place = pictures(tmp_path / "frames", [f"{n}.png" for n in range(10)])
    for fps, seconds in ((None, 9 / 25), ("24000/1001", 9 * 1001 / 24000), ("0.5", 18)):
        film = opened(place, tmp_path, fps=fps)
        assert len(film) == 10 and film.frame_seconds[-1] == pytest.approx(seconds)
    assert [part.frames for part in film.store.manifest.parts] == [10]


def test_a_match_follows_a_films_rate(tmp_path: Path) -> None:
    place = pictures(tmp_path / "frames", [f"{n}.png" for n in range(6)])
    entry = FilmEntry("film", (place,), fps="2", crop="none")
    assert hash_files(entry, torch.device("cpu")).times == pytest.approx(np.arange(6) / 2)


def test_one_changed_picture_makes_other_frames_and_a_moved_folder_does_not(tmp_path: Path) -> None:
    place = pictures(tmp_path / "frames", [f"{n:03d}.bmp" for n in range(200)], (32, 32))
    before = opened(place, tmp_path, size="32x32")
    moved = place.rename(tmp_path / "moved")
    assert opened(moved, tmp_path, size="32x32").fingerprint == before.fingerprint
    # One that is not among the samples, of the same length.
    number = next(
        n for n in range(200) if n not in {round(199 * sample / 63) for sample in range(64)}
    )
    Image.fromarray(rgb(32, 32, (255, 0, 0))).save(moved / f"{number:03d}.bmp")
    after = opened(moved, tmp_path, size="32x32")
    assert after.frames[number, 0].min() == 255 and after.store.array is not before.store.array


@pytest.mark.parametrize(
    ("names", "path", "said"),
    [
        (["1.png", "2.png", "4.png"], "f", "f: 3.png is missing"),
        (["01.png", "2.png", "03.png"], "f", "2.png is numbered differently"),
        (["01.png", "1.png", "02.png"], "f", "1.png is numbered differently"),
        (["a1.png", "a2.png", "b1.png", "b2.png"], "f", "several sequences, a%d.png, b%d.png"),
        (["1.png", "2.jpg"], "f", "several sequences, %d.png, %d.jpg|%d.jpg, %d.png"),
        (["a.png", "b.png"], "f", "is a folder without numbered pictures"),
        (["1.png"], "f", "has a single picture"),
        (["1.png", "2.png"], "f/%04d.png", "matches no numbered pictures"),
        (["1.png", "2.png"], "f/*.jpg", "matches no numbered pictures"),
        (["1.png", "2.png"], "f/clip%d.mkv", "there is no such file"),
        ([], "f", "is a folder without numbered pictures"),
        ([], "g/%04d.png", "No such file"),
    ],
)
def test_pictures_that_are_no_sequence_are_refused(
    names: list[str], path: str, said: str, tmp_path: Path
) -> None:
    pictures(tmp_path / "f", names)
    with pytest.raises(BadInput, match=said):
        opened(tmp_path / path, tmp_path)
    assert not list((tmp_path / ".zoo").rglob("*.rgb"))


def test_pictures_of_two_sizes_are_refused_whoever_reads_their_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = pictures(tmp_path / "f", [f"{n}.png" for n in range(6)])
    pictures(place, ["3.png"], (60, 36))
    said = r"one size: 0.png is 64x36, 3.png is 60x36"
    with pytest.raises(BadInput, match=said):
        opened(place, tmp_path)
    monkeypatch.setattr(PictureSequence, "check_sizes", lambda self: None)
    with pytest.raises(BadInput, match=said):
        opened(place, tmp_path)
    assert not list((tmp_path / ".zoo").rglob("*.rgb"))


def playlist(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """The current folder, with two clips in folders below."""
    for number, name in enumerate(("one.mkv", "Das Kabinett ä.mkv")):
        (tmp_path / "clips").mkdir(exist_ok=True)
        encode(tmp_path / "clips" / name, drifting(64, 36, 5 + number))
    return tmp_path


@pytest.mark.parametrize("name", ["night.m3u", "night.M3U8"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_a_playlist_is_a_film_of_its_files_in_order(
    name: str, encoding: str, parts: Path, zoo: Callable
) -> None:
    lines = ["#EXTM3U", "#EXTINF:3,Second", "clips/Das Kabinett ä.mkv", "", "  clips/one.mkv  "]
    playlist(parts / name, *lines, encoding=encoding)
    done = zoo("films", "add", name)
    assert done.code == 0, done.err
    entry = Catalogue.open(Workspace(parts)).film("night")
    assert [path.name for path in entry.files] == ["Das Kabinett ä.mkv", "one.mkv"]
    (by_path,) = Catalogue.open(Workspace(parts)).choose(f"./{name}")
    assert by_path.files == entry.files and by_path.word == str(parts / name)
    assert by_path.name.startswith("night-")


def test_a_playlist_names_absolute_files_and_addresses_of_files(parts: Path, zoo: Callable) -> None:
    files = [str(parts / "clips" / "one.mkv"), (parts / "clips" / "Das Kabinett ä.mkv").as_uri()]
    playlist(parts / "a.m3u", *files)
    assert zoo("films", "add", "--as-one", "x", "a.m3u", "clips/one.mkv").code == 0
    assert len(Catalogue.open(Workspace(parts)).film("x").files) == 3


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["clips/one.mkv", "", "clips/two.mkv"], "a.m3u, line 3: "),
        (["http://127.0.0.1:9/a.mkv"], "line 1 is a URL, and URLs in playlists are not"),
        (["rtsp://127.0.0.1/a"], "line 1 is a URL"),
        (["b.m3u"], "line 1 is another playlist"),
        (["clips"], "line 1: "),
        (["#EXTM3U", '#EXT-X-MAP:URI="i.mp4"', "1.m4s"], "not whole files"),
        (["#EXTM3U"], "names no files"),
        (["clips/one.mkv"] * 10_002, "line 10001: a playlist may name at most 10,000 files"),
        (["clips/one.mkv", "text.txt"], "text.txt is not a video"),
    ],
)
def test_a_playlist_that_cannot_be_used_is_refused_whole(
    lines: list[str], said: str, parts: Path, zoo: Callable
) -> None:
    (parts / "text.txt").write_text("no film\n" * 50)
    playlist(parts / "b.m3u", "clips/one.mkv")
    playlist(parts / "a.m3u", *lines)
    done = zoo("films", "add", "clips/one.mkv", "a.m3u")
    done.check_refused(said)
    assert not (parts / "films.toml").exists()


def test_all_kinds_are_added_listed_and_ingested(tmp_path: Path, zoo: Callable) -> None:
    pictures(tmp_path / "東京" / "shots", [f"take_{n:02d}.png" for n in range(8)])
    shutil.copytree(tmp_path / "東京" / "shots", tmp_path / "other" / "shots")
    first, *rest = (Image.fromarray(one) for one in drifting(64, 36, 6))
    first.save(tmp_path / "clip.gif", save_all=True, append_images=rest, duration=50)
    words = ("東京/shots", "other/shots/take_%02d.png", "clip.gif", "東京/shots/*.png")
    done = zoo("films", "add", *words)
    assert done.code == 0, done.err
    films = tomllib.loads((tmp_path / "films.toml").read_text(encoding="utf-8"))
    assert [table["files"] for table in films.values()] == list(words)
    assert [name[:6] for name in films] == ["shots", "take", "clip", "shots-"]
    listed = zoo("films").out
    assert "missing" not in listed
    assert "workspace" in zoo("doctor").out and "is not there" not in zoo("doctor").out
    done = zoo("films", "ingest", ",".join(films), "--size", "32x32", "--holdout", "0")
    assert done.code == 0 and done.out.count("8 frames at 32x32") == 3, done.err
    assert "6 frames at 32x32, 20.000 frames/s" in done.out
    assert "8 frames" in zoo("films", "ingest", "./other/shots", "--size", "32x32").out
    (tmp_path / "other" / "shots" / "take_03.png").unlink()
    assert "missing" in zoo("films").out
    refused = zoo("films", "info", "take")
    assert refused.code == 2 and "take_03.png is missing" in refused.err


def test_single_pictures_are_no_films_each_but_one_together(tmp_path: Path, zoo: Callable) -> None:
    pictures(tmp_path / "f", [f"{n}.png" for n in (1, 2, 4)])
    done = zoo("films", "add", "f/1.png", "f/2.png", "f/4.png")
    assert done.code == 2 and "1.png is a single picture: `zoo films add FOLDER`" in done.err
    assert not (tmp_path / "films.toml").exists()
    done = zoo("films", "add", "--as-one", "x", "f/1.png", "f/2.png", "f/4.png")
    assert done.code == 0, done.err
    film = opened([tmp_path / "f" / f"{n}.png" for n in (1, 2, 4)], tmp_path)
    assert np.diff(film.frame_seconds) == pytest.approx(0.04)
