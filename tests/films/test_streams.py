"""Which of a file's video streams is the film, and films in parts that were cut at any byte."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from tests.films.making import drifting, encode, opened, rgb, texture, video_frame
from zoo.films.video_file import VideoFile


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize(("posters", "frames"), [(1, 80), (3, 80), (1, 5)])
@pytest.mark.parametrize("first", ["film", "poster"])
def test_a_track_of_a_few_larger_pictures_is_not_the_film(
    tmp_path: Path, kind: str, posters: int, frames: int, first: str
) -> None:
    clip = tmp_path / f"clip.{kind}"
    shapes = {"film": (96, 54, frames), "poster": (320, 180, posters)}
    with av.open(str(clip), "w") as container:
        streams = {}
        for name in sorted(shapes, key=lambda name: name != first):
            stream = container.add_stream("mpeg2video" if kind == "ts" else "mpeg4", rate=25)
            stream.width, stream.height, _ = shapes[name]
            stream.pix_fmt = "yuv420p"
            streams[name] = stream
        for name, (width, height, count) in shapes.items():
            for number, pixels in enumerate(drifting(width, height, count)):
                frame = video_frame(pixels, "yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(streams[name].encode(frame))
        for stream in streams.values():
            container.mux(stream.encode(None))
    film = opened(clip, tmp_path)
    assert len(film) == frames
    assert film.store.manifest.parts[0].width == 96


def test_of_two_films_in_a_file_the_larger_one_is_taken(tmp_path: Path) -> None:
    clip = tmp_path / "clip.ts"
    with av.open(str(clip), "w") as container:
        streams = [container.add_stream("mpeg2video", rate=25) for _ in range(2)]
        for stream, (width, height) in zip(streams, [(96, 54), (192, 108)], strict=True):
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(40):
            for stream in streams:
                frame = video_frame(rgb(stream.width, stream.height, (90, 90, 90)), "yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    assert opened(clip, tmp_path).store.manifest.parts[0].width == 192


def cut(whole: Path, at: list[int]) -> list[Path]:
    """A file's bytes in parts, cut at shares of it in percent; program streams between packs."""
    data = whole.read_bytes()
    pack = 2048 if whole.suffix == ".mpg" else 1
    places = [0, *(len(data) * share // 100 // pack * pack for share in at), len(data)]
    parts = []
    for number, (start, stop) in enumerate(pairwise(places)):
        parts.append(whole.with_name(f"part{number}{whole.suffix}"))
        parts[-1].write_bytes(data[start:stop])
    return parts


@pytest.mark.parametrize(
    ("name", "codec", "at"),
    [
        ("clip.ts", "libx264", [61]),
        ("clip.ts", "mpeg2video", [30, 55, 80]),
        ("clip.mpg", "mpeg2video", [61]),
        ("clip.h264", "libx264", [30, 55, 80]),
    ],
)
def test_parts_cut_at_any_byte_are_decoded_as_one_stream(
    tmp_path: Path, name: str, codec: str, at: list[int]
) -> None:
    frames = [texture(192, 108, seed=number) for number in range(100)]
    whole = encode(tmp_path / name, frames, codec=codec, options={"g": "50", "bf": "2"})
    expected = opened(whole, tmp_path / "whole")
    film = opened(cut(whole, at), tmp_path / "parts")
    assert len(film) == len(expected) == 100
    assert film.frame_seconds == pytest.approx(expected.frame_seconds)
    assert np.array_equal(film.frames[:], expected.frames[:])
    assert film.store.manifest.damage.summary == ""
    parts = film.store.manifest.parts
    assert len(parts) == len(at) + 1 and sum(part.frames for part in parts) == 100
    if name.endswith(("ts", "mpg")):
        # Sound is sought by where each part begins on the film's time line.
        whole_clock = VideoFile.open(whole).clock_start
        begins = [VideoFile.open(path).clock_start - whole_clock for path in cut(whole, at)]
        assert [part.starts for part in parts] == pytest.approx(begins, abs=1e-6)


def test_frames_before_the_first_key_frame_are_counted(tmp_path: Path) -> None:
    whole = encode(tmp_path / "clip.ts", drifting(96, 54, 100), options={"g": "50", "bf": "0"})
    _, rest = cut(whole, [20])
    film = opened(rest, tmp_path)
    assert len(film) == 50
    lost = re.fullmatch(
        r"part1\.ts: lost (\d+) frames before its first key frame",
        film.store.manifest.damage.summary,
    )
    assert lost and 20 < int(lost[1]) < 50


def test_recordings_apart_are_not_decoded_as_one_stream(tmp_path: Path) -> None:
    frames = drifting(96, 54, 150)
    whole = encode(tmp_path / "clip.ts", frames, options={"g": "50", "bf": "0"})
    one, _, last = cut(whole, [20, 60])
    film = opened([one, last], tmp_path)
    assert len(film) < 90
    assert "part2.ts" in film.store.manifest.damage.summary
