"""Compare ingest with the same decoder discarding its frames: same file, threads and run.

The two run in turn, several times; the ratio of their times is printed and kept in the benchmark's
extra information. Films are encoded here, from a real clip.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from benchmarks.looped_clip import FPS, write_looped_clip
from benchmarks.ratios import report
from zoo.api.film_entry import FilmEntry
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.films.ingest import open_film

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
    """A film of one minute and its number of frames: a real clip, enlarged and looped."""
    codec, width, height = CASES[request.param]
    path = tmp_path_factory.mktemp("film") / f"{request.param}.mp4"
    count = SECONDS * FPS
    quiet = {"x265-params": "log-level=error"} if codec == "libx265" else {}
    options = {"preset": "veryfast", "crf": "20", **quiet}
    write_looped_clip(path, codec, (width, height), count, options)
    return path, count


def decode_only(path: Path) -> int:
    """Decode a film as the ingest does, discard the frames, and return how many there were."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.thread_count = 0
        return sum(1 for _ in container.decode(stream))


def timed(work: Callable[[], int], frames: int) -> tuple[float, float]:
    """Return the work's wall-clock and CPU seconds; fails if it did not see every frame."""
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
    # One ratio per pair of consecutive runs, which other work on the machine slows alike.
    ratios = [d / i for d, i in zip(decoding, ingesting, strict=True)]
    report(
        benchmark,
        capsys,
        ratios,
        lambda ratio: (
            f"{path.stem}: decode {frames / statistics.median(decoding):.0f} frames/s, "
            f"ingest {frames / statistics.median(ingesting):.0f} frames/s at {SIZE}, "
            f"ratio {ratio}, of processor time {statistics.median(processor):.2f}"
        ),
        decode_frames_per_second=frames / statistics.median(decoding),
        ingest_frames_per_second=frames / statistics.median(ingesting),
        ratio_of_processor_time=statistics.median(processor),
    )
