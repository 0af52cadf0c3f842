"""A film of 170,000 frames: ingested, trained on, killed, resumed and finished in flat memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.child_memory import watch_memory
from benchmarks.long_film import draw_film
from zoo.base.frame_size import FrameSize
from zoo.training.run_folder import RunFolder, read_log

FRAMES = 170_000
SIZE = FrameSize(32, 32)
BATCH = 64
FILM_MB = FRAMES * SIZE.pixels * 3 / 1e6
"""522 MB: a process that held the film, or a quarter of it, would be seen."""
MOST_MB = FILM_MB / 4

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc/PID/status"),
]

COMMON = """
import sys
from pathlib import Path
import torch
from benchmarks.child_memory import begin
from zoo.api.film_entry import FilmEntry
from zoo.films.ingest import open_film
from zoo.base.frame_size import FrameSize
from zoo.training.engine import train
from zoo.training.run_folder import RunFolder, TrainingConfig
from zoo.base.workspace import Workspace
home = Path(sys.argv[1])
begin()
entry = FilmEntry(name="feature", files=(home / "feature.mp4",))
film = open_film(entry, FrameSize(32, 32), Workspace(home))
"""
INGEST = f"{COMMON}\nprint(len(film), flush=True)"
TRAIN = f"""{COMMON}
config = TrainingConfig(
    origin="film-zoo 0",
    model="ae", options={{"latent": 4, "width": 4}}, film=film.name,
    film_fingerprint=film.fingerprint, size="32x32", budget="1epochs", batch={BATCH}, seed=0,
    precision="32-true",
)
train(RunFolder(home / "run"), config, film, torch.device("cpu"), checkpoint_every=100,
      callback=lambda event: print(event.step, flush=True))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a film of nearly two hours."""
    home = tmp_path_factory.mktemp("feature")
    draw_film(home / "feature.mp4", FRAMES, SIZE)
    return home


def test_a_feature_film_is_trained_on_killed_and_resumed_in_flat_memory(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(home / "run")
    steps: list[int] = []

    with watch_memory(["-c", INGEST, str(home)], OMP_NUM_THREADS="1") as (process, ingesting):
        assert process.stdout
        assert int(process.stdout.read()) == FRAMES
    assert process.wait() == 0

    with watch_memory(["-c", TRAIN, str(home)], OMP_NUM_THREADS="1") as (process, until_killed):
        assert process.stdout
        for line in process.stdout:
            if int(line) > 800:
                break
        process.kill()
    assert folder.state == "training"
    assert folder.checkpoint.exists()

    with watch_memory(["-c", TRAIN, str(home)], OMP_NUM_THREADS="1") as (process, resumed):
        assert process.stdout
        steps = [int(line) for line in process.stdout]
    assert process.wait() == 0
    assert folder.state == "finished"

    # The log is that of one training: every step once, in order, to the end of the epoch.
    logged = [entry.step for entry in read_log(folder.log)]
    assert logged == sorted(set(logged))
    assert steps[0] > 700, "it went on from the checkpoint"
    seen = json.loads(folder.file.read_text())["training"]["frames"]
    assert logged[-1] == steps[-1] == seen // BATCH
    assert seen > 0.8 * FRAMES

    phases = {"ingest": ingesting, "train, killed": until_killed, "resume": resumed}
    with capsys.disabled():
        for phase, memory in phases.items():
            print(  # noqa: T201
                f"\n{phase}: {memory.of_the_work:.0f} MB of its own over {memory.interpreter:.0f} "
                f"MB after imports; up to {memory.mapped:.0f} MB of files mapped",
                end="",
            )
        print(f"; the film is {FILM_MB:.0f} MB")  # noqa: T201
    for phase, memory in phases.items():
        assert 0 < memory.of_the_work < MOST_MB, phase
