"""Whatever is given, the answer is a film or one line: no traceback, no hang, no half store."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.films.making import drifting, encode, opened
from zoo.base.errors import BadInput, ZooError
from zoo.films.video_file import VideoFile


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = drifting(96, 54, 60)
    return encode(tmp_path_factory.mktemp("clip") / "clip.mp4", frames, options={"g": "10"})


def text_file(path: Path) -> None:
    path.write_text("It was a dark and stormy night.\n" * 200)


def subtitles(path: Path) -> None:
    path.write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n\n")


def playlist(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n/dev/zero\n#EXT-X-ENDLIST\n")


def sound_only(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def sound_with_cover(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=16000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 200, np.uint8), "rgb24")
        frame = frame.reformat(format="yuvj420p")
        frame.pts, frame.time_base = 0, Fraction(1, 1)
        container.mux(cover.encode(frame))
        container.mux(cover.encode(None))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        silence.sample_rate, silence.pts = 16000, 0
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))


def one_picture(path: Path) -> None:
    encode(path, drifting(64, 36, 1), container_format="mp4")


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (text_file, "not a video"),
    "subtitles": (subtitles, "not a (video|film)"),
    "playlist": (playlist, "not a (video|film)"),
    "nothing": (lambda path: path.write_bytes(b""), "is empty"),
    "zeros": (lambda path: path.write_bytes(bytes(10_000)), "not a video"),
    "noise": (
        lambda path: path.write_bytes(np.random.default_rng(0).bytes(50_000)),
        "not a video|no frame",
    ),
    "sound": (sound_only, "has no video; it contains: audio"),
    "cover": (sound_with_cover, "cover picture"),
    "picture": (one_picture, "single picture"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "fifo": (os.mkfifo, "not a regular file"),
    "socket": (unix_socket, "not a regular file"),
    "missing": (lambda path: None, "there is no such file"),
    "dangling": (lambda path: path.symlink_to("nowhere"), "there is no such file"),
}


@pytest.mark.parametrize("case", CASES)
def test_files_that_are_not_films_are_refused_in_one_line(tmp_path: Path, case: str) -> None:
    make, said = CASES[case]
    path = tmp_path / "film.mp4"
    make(path)
    with pytest.raises(BadInput, match=said) as raised:
        opened(path, tmp_path)
    assert "\n" not in str(raised.value) and "film.mp4" in str(raised.value)
    left = [p for p in (tmp_path / "workspace").rglob("*") if p.is_file() and p.suffix != ".lock"]
    assert left == []


def test_a_device_is_refused() -> None:
    with pytest.raises(BadInput, match="not a regular file"):
        opened(Path("/dev/zero"), Path("/nowhere"))


def test_a_name_that_looks_like_a_protocol_is_a_file(tmp_path: Path, clip: Path) -> None:
    path = tmp_path / "concat:a|b.mp4"
    path.write_bytes(clip.read_bytes())
    assert len(opened(path, tmp_path)) == 60


def test_a_truncated_film_is_kept_as_far_as_it_goes_and_says_so(tmp_path: Path) -> None:
    whole = encode(
        tmp_path / "whole.mp4",
        drifting(96, 54, 100),
        options={"g": "10", "bf": "0"},
        container_options={"movflags": "faststart"},
    )
    cut = tmp_path / "cut.mp4"
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) * 6 // 10])
    film = opened(cut, tmp_path)
    assert 20 < len(film) < 80
    assert "cut.mp4 ends early, at" in film.store.manifest.damage.summary


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("DURATION", "9" * 5000 + ":00:00.0"),
        ("DURATION", "9" * 400 + ":00:00.0"),
        ("DURATION", "9" * 14 + ":00:00.0"),
        ("DURATION", "999999:00:00.0"),
        ("NUMBER_OF_FRAMES", "9" * 5000),
        ("NUMBER_OF_FRAMES", "9" * 400),
        ("NUMBER_OF_FRAMES", "\N{SUPERSCRIPT TWO}\N{ARABIC-INDIC DIGIT TWO}"),
    ],
)
@pytest.mark.parametrize("start", [None, 0.4])
def test_a_length_of_any_size_that_is_stated_does_no_harm(
    tag: str, text: str, start: float | None, tmp_path: Path
) -> None:
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 36, "yuv420p"
        stream.metadata[tag[:-1] + "_"] = text
        for number, pixels in enumerate(drifting(64, 36, 20)):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    written = path.read_bytes().replace(b"DURATION", b"DURATIO.")
    path.write_bytes(written.replace(f"{tag[:-1]}_".encode(), tag.encode()))
    assert len(opened(path, tmp_path, start=start)) == (20 if start is None else 10)


@pytest.mark.parametrize("seconds", [1e16, -1e16, 1e300])
def test_a_place_beyond_all_counting_is_sought_without_harm(seconds: float, clip: Path) -> None:
    with VideoFile.open(clip) as source, suppress(av.error.FFmpegError):
        source.seek(seconds)


def test_a_truncated_film_without_its_index_is_refused(tmp_path: Path, clip: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[:2000])
    with pytest.raises(BadInput, match="not a video that can be read"):
        opened(cut, tmp_path)


def test_damaged_packets_are_decoded_around_and_counted(tmp_path: Path, clip: Path) -> None:
    with av.open(str(clip)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        places = [(p.pos, p.size) for p in packets]
    data = bytearray(clip.read_bytes())
    for position, size in places[23:27]:
        data[position : position + size] = bytes(size)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    film = opened(broken, tmp_path)
    assert 45 <= len(film) < 60
    assert film.store.manifest.damage.packets >= 1
    assert "could not be decoded" in film.store.manifest.damage.summary
    assert np.diff(film.frame_seconds).min() > 0


def test_a_second_file_that_is_no_film_spoils_nothing(tmp_path: Path, clip: Path) -> None:
    other = tmp_path / "other.mp4"
    text_file(other)
    with pytest.raises(BadInput, match=r"other\.mp4 is not a video"):
        opened([clip, other], tmp_path)


def _damaged(data: bytes, seed: int) -> bytes:
    chance = np.random.default_rng(seed)
    out = bytearray(data)
    kind = seed % 5
    if kind == 0:
        for place in chance.integers(0, len(out), chance.integers(1, 40)):
            out[place] = chance.integers(0, 256)
    elif kind == 1:
        del out[int(chance.integers(1, len(out))) :]
    elif kind == 2:
        start = int(chance.integers(0, len(out)))
        length = int(chance.integers(1, 2000))
        out[start : start + length] = bytes(len(out[start : start + length]))
    elif kind == 3:
        start = int(chance.integers(0, len(out)))
        del out[start : start + int(chance.integers(1, 500))]
    else:
        start = int(chance.integers(0, len(out)))
        out[start:start] = chance.bytes(int(chance.integers(1, 500)))
    return bytes(out)


def _survives(tmp_path: Path, data: bytes, seed: int) -> bool:
    """Ingest one damaged film; true if it became a film, false if it was refused."""
    path = tmp_path / f"{seed}.mp4"
    path.write_bytes(_damaged(data, seed))
    try:
        film = opened(path, tmp_path / str(seed), "32x32")
    except ZooError as error:
        assert "\n" not in str(error)
        stores = tmp_path / str(seed) / "workspace" / ".zoo"
        assert not [p for p in stores.rglob("*") if p.is_file() and p.suffix != ".lock"]
        return False
    assert len(film) == len(film.frame_seconds) >= 2
    assert np.diff(film.frame_seconds).min() > 0
    assert film.frames[len(film) - 1].shape == (3, 32, 32)
    return True


def _small_real_clip(tmp_path: Path) -> bytes:
    from zoo.plugins.registry import registry

    source = registry().films["carphone"].files[0]
    frames = []
    with av.open(str(source)) as container:
        for frame in container.decode(video=0):
            frames.append(frame.to_ndarray(format="rgb24"))
            if len(frames) == 24:
                break
    clip = encode(
        tmp_path / "real.mp4",
        frames,
        options={"g": "8", "crf": "35"},
        container_options={"movflags": "faststart"},
    )
    return clip.read_bytes()


def test_damage_anywhere_gives_a_film_or_one_line(tmp_path: Path) -> None:
    data = _small_real_clip(tmp_path)
    outcomes = [_survives(tmp_path, data, seed) for seed in range(25)]
    assert 3 < sum(outcomes) < 25, "some are films still, some are not"


@pytest.mark.slow
def test_damage_anywhere_500_ways(tmp_path: Path) -> None:
    data = _small_real_clip(tmp_path)
    outcomes = [_survives(tmp_path, data, seed) for seed in range(500)]
    assert 50 < sum(outcomes) < 500


def test_animated_webp_is_named_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "clip.webp"
    first, *rest = (Image.fromarray(one) for one in drifting(64, 36, 5))
    first.save(path, save_all=True, append_images=rest)
    with pytest.raises(BadInput, match="animated WebP; convert it"):
        opened(path, tmp_path)


@pytest.mark.parametrize("size", [(1, 40), (40, 1)])
def test_pictures_of_a_single_column_or_row_are_refused_as_such(
    size: tuple[int, int], tmp_path: Path
) -> None:
    for number in range(3):
        Image.new("RGB", size, (200, number, 0)).save(tmp_path / f"a{number}.png")
    with pytest.raises(BadInput, match=f"frames of {size[0]}x{size[1]} are too small"):
        opened(tmp_path, tmp_path / "workspace")
