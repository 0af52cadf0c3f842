"""Which of a file's video streams is the film, and films in parts that were cut at any byte."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.films.making import drifting, opened, rgb, video_frame


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("posters", [1, 3])
@pytest.mark.parametrize("first", ["film", "poster"])
def test_a_track_of_a_few_larger_pictures_is_not_the_film(
    tmp_path: Path, kind: str, posters: int, first: str
) -> None:
    clip = tmp_path / f"clip.{kind}"
    shapes = {"film": (96, 54, 80), "poster": (320, 180, posters)}
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
    assert len(film) == 80
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
