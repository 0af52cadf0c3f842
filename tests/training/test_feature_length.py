"""A film of 170,000 frames: ingested, trained on, killed, resumed and finished in flat memory.

What is measured is memory that is the process's own (`RssAnon`). The frames of a store are
mapped from a file: pages of it that were read count as resident until the system wants them
back, which says nothing of what a process needs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.films.making import drifting, video_frame
from zoo.training.curves import read_log
from zoo.training.run_folder import RunFolder

FRAMES = 170_000
SIDE = 32
SHOT = 250
BATCH = 64
FILM_MB = FRAMES * SIDE * SIDE * 3 / 1e6
"""522 MB: a process that held the film, or a third of it, would be seen."""
MOST_MB = 160.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc/PID/status"),
]

COMMON = """
import sys
from pathlib import Path
import torch
from zoo.films.catalogue import FilmEntry
from zoo.films.ingest import open_film
from zoo.frame_size import FrameSize
from zoo.training.engine import train
from zoo.training.run_folder import RunFolder, TrainingConfig
from zoo.workspace import Workspace
home = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
entry = FilmEntry(name="feature", files=(home / "feature.mp4",))
film = open_film(entry, FrameSize(32, 32), Workspace(home))
"""
INGEST = f"{COMMON}\nprint(len(film), flush=True)"
TRAIN = f"""{COMMON}
config = TrainingConfig(
    model="ae", options={{"latent": 4, "width": 4}}, film=film.name,
    film_fingerprint=film.fingerprint, size="32x32", budget="1epochs", batch={BATCH}, seed=0,
    precision="32-true",
)
train(RunFolder(home / "run"), config, film, torch.device("cpu"), checkpoint_every=100,
      watch=lambda moment: print(moment.step, flush=True))
"""


@dataclass
class Memory:
    """Megabytes of a process, the largest seen."""

    anonymous: float = 0.0
    mapped: float = 0.0
    interpreter: float = 0.0
    """Anonymous memory after the imports."""

    @property
    def of_the_work(self) -> float:
        return self.anonymous - self.interpreter

    def look(self, pid: int) -> None:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        found = {key: int(kb) / 1e3 for key, kb in re.findall(r"(Rss\w+):\s+(\d+) kB", status)}
        self.anonymous = max(self.anonymous, found.get("RssAnon", 0.0))
        self.mapped = max(self.mapped, found.get("RssFile", 0.0))


@contextmanager
def child(script: str, home: Path) -> Iterator[tuple[subprocess.Popen[str], Memory]]:
    """A process whose memory is looked at every few milliseconds, past its imports."""
    memory = Memory()
    ended = threading.Event()
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stdin and process.stdout
    assert process.stdout.readline() == "ready\n"
    memory.look(process.pid)
    memory.interpreter = memory.anonymous

    def keep_looking() -> None:
        while not ended.wait(0.01):
            memory.look(process.pid)

    thread = threading.Thread(target=keep_looking)
    thread.start()
    try:
        process.stdin.write("go\n")
        process.stdin.flush()
        yield process, memory
    finally:
        ended.set()
        thread.join()
        process.kill()
        process.wait(timeout=60)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a film of nearly two hours: thirty-two drifting shots, over and over."""
    home = tmp_path_factory.mktemp("feature")
    shots = [
        [video_frame(np.asarray(f), "yuv420p") for f in drifting(SIDE, SIDE, 50, seed)]
        for seed in range(32)
    ]
    with av.open(str(home / "feature.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"qscale": "3", "g": "50"})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for number in range(FRAMES):
            shot = shots[number // SHOT % len(shots)]
            frame = shot[number % SHOT % len(shot)]
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return home


def test_a_feature_is_ingested_trained_on_killed_and_resumed_in_flat_memory(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(home / "run")
    steps: list[int] = []

    with child(INGEST, home) as (process, ingesting):
        assert process.stdout
        assert int(process.stdout.read()) == FRAMES
    assert process.wait() == 0

    with child(TRAIN, home) as (process, until_killed):
        assert process.stdout
        for line in process.stdout:
            if int(line) > 800:
                break
        process.kill()
    assert folder.state == "training"
    assert folder.checkpoint.exists()

    with child(TRAIN, home) as (process, resumed):
        assert process.stdout
        steps = [int(line) for line in process.stdout]
    assert process.wait() == 0
    assert folder.state == "finished"

    # The log is that of one training: every step once, in order, to the end of the epoch.
    logged = [entry.step for entry in read_log(folder.log)]
    assert logged == sorted(set(logged))
    assert steps[0] > 700, "it went on from the checkpoint"
    seen = json.loads(folder.file.read_text())["spent"]["frames"]
    assert logged[-1] == steps[-1] == seen // BATCH
    assert seen > 0.8 * FRAMES

    phases = {"ingest": ingesting, "train, killed": until_killed, "resume": resumed}
    with capsys.disabled():
        for phase, memory in phases.items():
            print(
                f"\n{phase}: {memory.of_the_work:.0f} MB of its own over {memory.interpreter:.0f} "
                f"MB after imports; up to {memory.mapped:.0f} MB of files mapped",
                end="",
            )
        print(f"; the film is {FILM_MB:.0f} MB")
    for phase, memory in phases.items():
        assert 0 < memory.of_the_work < MOST_MB, phase
