"""Ingest against the same decoder that throws its frames away: same file, same threads, same run.

The two are run in turn, several times, and their median times compared: the ratio is printed
and kept in the benchmark's extra information. Films are encoded here, from a real clip.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.video.stream import VideoStream

from zoo.api.film_entry import FilmEntry
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.films.ingest import open_film
from zoo.plugins.registry import registry

SIZE = FrameSize(256, 144)
ROUNDS = 5
SECONDS = 60
CASES = {
    "h264-720p": ("libx264", 1280, 720),
    "h264-1080p": ("libx264", 1920, 1080),
    "hevc-1080p": ("libx265", 1920, 1080),
}
Film = tuple[Path, int]


@pytest.fixture(scope="module", params=CASES)
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Film:
    """A film of a minute with its number of frames: a real clip, enlarged, over and over."""
    codec, width, height = CASES[request.param]
    source = registry().films["bigbuckbunny"].files[0]
    path = tmp_path_factory.mktemp("film") / f"{request.param}.mp4"
    with av.open(str(source)) as clip:
        pictures = [f.reformat(width, height) for f in clip.decode(video=0)]
    count = SECONDS * 25
    quiet = {"x265-params": "log-level=error"} if codec == "libx265" else {}
    with av.open(str(path), "w") as target:
        options = {"preset": "veryfast", "crf": "20", **quiet}
        stream = target.add_stream(codec, rate=25, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(count):
            # Forwards and backwards, so that there are no cuts that the clip has not.
            at = number % (2 * len(pictures))
            frame = pictures[min(at, 2 * len(pictures) - 1 - at)]
            frame.pts, frame.time_base, frame.pict_type = number, Fraction(1, 25), 0
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return path, count


def decode_only(path: Path) -> int:
    """Decode a film as the ingest does and throw the frames away; returns how many there were."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.thread_count = 0
        return sum(1 for _ in container.decode(stream))


def timed(work: Callable[[], int], frames: int) -> tuple[float, float]:
    """Seconds that the work takes, and of processor time; fails if it did not see every frame."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    assert work() == frames
    return time.perf_counter() - begin, time.process_time() - begin_cpu


def test_ingest_against_decoding(
    benchmark: Any, film: Film, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, frames = film
    rounds = iter(range(1000))

    def ingest() -> int:
        entry = FilmEntry(name=path.stem, files=(path,))
        return len(open_film(entry, SIZE, Workspace(tmp_path / str(next(rounds)))))

    decode_only(path)
    ingest()
    decoding: list[float] = []
    ingesting: list[float] = []
    processor: list[float] = []

    def both() -> None:
        decode, decode_cpu = timed(lambda: decode_only(path), frames)
        whole, whole_cpu = timed(ingest, frames)
        decoding.append(decode)
        ingesting.append(whole)
        processor.append(decode_cpu / whole_cpu)

    benchmark.pedantic(both, rounds=ROUNDS, iterations=1)
    # Of each pair, taken one after the other: other work on the machine then weighs on both.
    ratios = [d / i for d, i in zip(decoding, ingesting, strict=True)]
    benchmark.extra_info |= {
        "cores": len(os.sched_getaffinity(0)),
        "decode_frames_per_second": frames / statistics.median(decoding),
        "ingest_frames_per_second": frames / statistics.median(ingesting),
        "ratio_median": statistics.median(ratios),
        "ratios": ratios,
        "ratio_of_processor_time": statistics.median(processor),
    }
    with capsys.disabled():
        print(  # noqa: T201 - what `make bench` is run for
            f"\n{path.stem}: decode {frames / statistics.median(decoding):.0f} frames/s, "
            f"ingest {frames / statistics.median(ingesting):.0f} frames/s at {SIZE}, "
            f"ratio {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}), of processor time "
            f"{statistics.median(processor):.2f}, {os.cpu_count()} cores"
        )
