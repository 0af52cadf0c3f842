"""Compare a reconstruction with the slowest of its parts alone: reading, network, encoding.

All four run in turn, several times. The benchmark prints, and keeps in its extra information, the
median over rounds of the whole's rate over the slowest part's, and the CPU time of the three parts
over the whole's, which other work on the machine does not change. The network computes on one
thread; the encoder uses as many as it likes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.looped_clip import write_looped_clip
from benchmarks.ratios import report
from zoo.api.film_entry import FilmEntry
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.evaluation.inference import batch_slices, encode_film
from zoo.evaluation.latents import Quantiser
from zoo.films.ingest import open_film
from zoo.films.ingested_film import Film
from zoo.plugins.model_building import build
from zoo.plugins.registry import registry
from zoo.reconstruct.frame_conversion import Scaler
from zoo.reconstruct.model_loader import TrainedModel
from zoo.reconstruct.reconstruct_film import Reconstruction, film_range, reconstruct
from zoo.reconstruct.video_writers import EncoderSettings, video_file
from zoo.training.run_folder import RunFolder, TrainingConfig

SIZE = FrameSize(128, 72)
FRAMES = 640
ROUNDS = 3
CASES = {"network-slowest": (32, 1), "encoder-slowest": (8, 3)}
"""The network's width, and how many times larger the video is than the frames."""
Case = tuple[FilmEntry, Film, Reconstruction, FrameSize]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path, device: torch.device) -> Iterator[Case]:
    """A film of a looped clip, and an untrained model with the width of the case."""
    width, times = CASES[request.param]
    path = tmp_path / "film.mp4"
    write_looped_clip(path, "libx264", (SIZE.width, SIZE.height), FRAMES, {"preset": "veryfast"})
    entry = FilmEntry("film", (path,), crop="none")
    film = open_film(entry, SIZE, Workspace(tmp_path))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    architecture = registry().models["ae"]
    torch.manual_seed(0)
    model = build(architecture, SIZE, {"latent": 200, "width": width}).to(device).eval()
    quantiser = Quantiser.spanning(encode_film(model, film, device).numbers)
    config = TrainingConfig(
        model="ae", origin="", options={}, film="film", film_fingerprint=film.fingerprint,
        size=str(SIZE), budget="", batch=1, seed=0, precision="32-true",
    )  # fmt: skip
    trained = TrainedModel(model, quantiser, RunFolder(tmp_path), config, device)
    yield (
        entry,
        film,
        Reconstruction(film, "ae", trained),
        FrameSize(*(times * side for side in SIZE)),
    )
    torch.set_num_threads(threads)


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return the wall-clock and CPU seconds of the work."""
    begin, processor = time.perf_counter(), time.process_time()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin, time.process_time() - processor


def test_a_reconstruction_against_its_slowest_part(
    benchmark: Any, case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry, film, panel, size = case
    held = [panel.read(span) for span in batch_slices(film)]
    scaler = Scaler(SIZE, size)
    pictures = [picture for batch in held for picture in panel.decode(batch)]

    def read() -> None:
        for span in batch_slices(film):
            panel.read(span)

    def network() -> None:
        for batch in held:
            panel.decode(batch)

    def encode() -> None:
        path = tmp_path / "alone.mp4"
        with video_file(path, size, film.fps, settings=EncoderSettings()) as video:
            for picture in pictures:
                video.write(scaler(picture))

    def whole() -> None:
        span = film_range(entry, film)
        reconstruct(entry, [panel], span, tmp_path / "whole.mp4", size=size)

    parts = {"reading": read, "network": network, "encoding": encode}
    works = {**parts, "whole": whole}
    for work in works.values():
        work()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in works}

    def in_turn() -> None:
        for name, work in works.items():
            taken[name].append(_seconds(work))

    benchmark.pedantic(in_turn, rounds=ROUNDS)
    wall = {name: [seconds for seconds, _ in each] for name, each in taken.items()}
    busy = {name: [seconds for _, seconds in each] for name, each in taken.items()}
    # One ratio per round of consecutive runs, which other work on the machine slows alike.
    ratios = [max(wall[name][n] for name in parts) / wall["whole"][n] for n in range(ROUNDS)]
    shares = [sum(busy[name][n] for name in parts) / busy["whole"][n] for n in range(ROUNDS)]
    rates = {name: FRAMES / statistics.median(each) for name, each in wall.items()}
    said = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
    report(
        benchmark,
        capsys,
        ratios,
        lambda ratio: (
            f"{size}: {said} frames/s; the whole has {ratio} of the slowest alone, of processor "
            f"time {statistics.median(shares):.2f}"
        ),
        frames_per_second=rates,
        ratio_of_processor_time=statistics.median(shares),
    )
