"""The same comparison on Ray: the same records, whatever dies on the way."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.compare.conftest import ROOT, finished, results_of
from tests.compare.test_isolation import measured

pytestmark = pytest.mark.slow
pytest.importorskip("ray", reason="Ray is an extra")

TINY = ("--films", "carphone", "--models", "slow", "--set", "width=8", "--own")
LONG = (*TINY, "--budget", "400steps", "--set", "pause=0.1")
"""A training of more than 40 seconds; a checkpoint is written every 30."""


@pytest.fixture(autouse=True)
def one_ray_at_a_time(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two on two cores would wait for each other longer than any of them is ready to."""
    with FileLock(tmp_path_factory.getbasetemp().parent / "ray.lock"):
        yield


def until(true: Callable[[], object], seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)


def checkpoint(folder: Path) -> Path | None:
    return next(folder.glob("runs/carphone/slow/*/checkpoint.safetensors"), None)


class LongTraining:
    """The long training, which writes into a diary whenever it begins anew."""

    def __init__(self, compare: Callable[..., subprocess.Popen[str]], there: Path) -> None:
        self.diary, self.folder = there / "diary", there / "here"
        self._compare = compare

    def start(self, *words: str) -> subprocess.Popen[str]:
        return self._compare(*LONG, "--set", f"diary={self.diary}", *words)

    def start_and_wait_for_checkpoint(self) -> subprocess.Popen[str]:
        process = self.start("--on", "ray")
        until(lambda: checkpoint(self.folder))
        return process


@pytest.fixture
def long_training(compare: Callable, tmp_path: Path) -> LongTraining:
    return LongTraining(compare, tmp_path)


def weights(folder: Path) -> bytes:
    (path,) = folder.glob("runs/carphone/slow/*/weights.safetensors")
    return path.read_bytes()


@pytest.fixture(scope="module")
def undisturbed(odd: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of a training that nothing happened to; how long it pauses changes none."""
    folder = tmp_path_factory.mktemp("undisturbed")
    path = os.pathsep.join([str(odd), str(ROOT), str(ROOT / "plugins")])
    words = ("slow", "--film", "carphone", "--preset", "quick", "--size", "32x32", "--latent", "4")
    subprocess.run(
        [
            *(sys.executable, "-m", "zoo", "train", *words, "--set", "width=8", "--device", "cpu"),
            *("--budget", "400steps"),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        check=True,
    )
    return weights(folder)


def begun_once(diary: Path) -> None:
    assert len(diary.read_text().splitlines()) == 1, "it began anew and did not go on"


def test_ray_gives_the_records_that_one_process_gives(compare: Callable, tmp_path: Path) -> None:
    words = ("--films", "carphone,bigbuckbunny", "--models", "ae", "--set", "width=8,12")
    words = (*words, "--budget", "6steps")
    finished(compare(*words, folder="here"))
    finished(compare(*words, "--on", "ray", folder="ray"))
    # And with nothing in common with the machines that work but an address.
    store = f"file://{tmp_path / 'store'}"
    finished(compare(*words, "--on", "ray", "--runs", store, folder="apart"))
    here, *others = (results_of(tmp_path / name) for name in ("here", "ray", "apart"))
    for other in others:
        assert measured(other) == measured(here)
        assert all(r.environment.threads == 1 for r in other.records if r.status == "ok")
        assert all(r.cost for r in other.records if r.trained_on == r.evaluated_on)


def test_a_dry_run_on_ray_estimates_what_the_cluster_has_room_for(
    compare: Callable, tmp_path: Path
) -> None:
    words = ("--films", "carphone", "--models", "ae", "--set", "width=8", "--own", "--dry-run")
    said = finished(compare(*words, "--budget", "6steps", "--on", "ray"))
    cells = re.search(r"(\d+) cells: 0 are there already, (\d+) would be run, (\d+) at a", said)
    assert cells and cells[1] == cells[2], said
    assert int(cells[3]) == min(int(cells[1]), len(os.sched_getaffinity(0)))
    assert re.search(r"^time: (about|at least) \d", said, re.MULTILINE)
    assert not (tmp_path / "here" / "runs").exists() and not (tmp_path / "here/results").exists()


def test_a_cell_whose_process_is_killed_goes_on_from_its_checkpoint(
    long_training: LongTraining, undisturbed: bytes
) -> None:
    process = long_training.start_and_wait_for_checkpoint()
    os.kill(int(long_training.diary.read_text()), signal.SIGKILL)
    said = finished(process)
    begun_once(long_training.diary)
    assert all(one.status == "ok" for one in results_of(long_training.folder).records), said
    assert weights(long_training.folder) == undisturbed


def test_a_driver_that_is_killed_and_started_again_takes_up_what_is_done(
    long_training: LongTraining, undisturbed: bytes
) -> None:
    process, folder = long_training.start_and_wait_for_checkpoint(), long_training.folder
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = list(folder.glob("runs/carphone/*/*/evaluation/carphone/record.json"))
    before = {path: path.stat().st_mtime_ns for path in done}
    finished(long_training.start("--on", "ray"))
    begun_once(long_training.diary)
    assert {path: path.stat().st_mtime_ns for path in done} == before
    assert weights(folder) == undisturbed


def test_a_cell_that_fails_for_its_own_reasons_is_a_row(compare: Callable, tmp_path: Path) -> None:
    words = ("--films", "carphone", "--models", "crashes,exits,ae", "--set", "width=8")
    said = finished(compare(*words, "--budget", "6steps", "--own", "--on", "ray"))
    records = {record.model: record for record in results_of(tmp_path / "here").records}
    reason = re.sub(r", line \d+", "", str(records["exits"].reason))
    assert reason == "SystemExit: I have had enough (odd_models.py)", said
    assert records["crashes"].reason == "its process died, 4 times"
    assert records["ae"].status == "ok"


@pytest.fixture
def two_nodes(odd: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A cluster of two nodes: the first has room for Ray's own affairs alone."""
    from ray.cluster_utils import Cluster

    path = os.pathsep.join([str(odd), str(ROOT), str(ROOT / "plugins")])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield cluster
    cluster.shutdown()


def test_a_machine_that_is_lost_costs_no_cell(
    two_nodes: object, long_training: LongTraining, undisturbed: bytes
) -> None:
    cluster: object = two_nodes
    second = cluster.add_node(num_cpus=1)  # type: ignore[attr-defined]
    folder = long_training.folder
    address = cluster.address  # type: ignore[attr-defined]
    process = long_training.start("--seeds", "2", "--on", address)
    runs = "runs/carphone/slow/*/checkpoint.safetensors"
    until(lambda: len(list(folder.glob(runs))) == 2)
    cluster.remove_node(second, allow_graceful=False)  # type: ignore[attr-defined]
    said = finished(process)
    assert len(long_training.diary.read_text().splitlines()) == 2, "one of two began anew"
    records = results_of(folder).records
    assert all(record.status == "ok" for record in records), said
    assert sum(record.model == "slow" for record in records) == 2
    (first,) = folder.glob("runs/carphone/slow/*seed0*/weights.safetensors")
    assert first.read_bytes() == undisturbed
