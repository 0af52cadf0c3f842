"""Several processes in one workspace: nothing is done twice, and the holder of a lock is named."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reliability.conftest import QUICK_SETTINGS, TINY, VERBS, succeeded
from tests.reliability.warm_process import WarmProcess
from tests.reliability.workspace_contents import check_whole, contents_of, differences, leftovers

TRAIN = ("train", "ae", "--film", "flash", *TINY, "--budget", "80frames")
PATIENCE = 60.0


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < PATIENCE
        time.sleep(0.002)


def one_after_the_other(
    warm: WarmProcess, place: Path, words: tuple[str, ...], lock: str, *, again: bool = False
) -> list[str]:
    """Run a command twice, the second while the first holds the lock; returns both outputs.

    `again`: the first takes the lock once more at its end, and may wait for the second then.
    """
    first = warm.start(place, *words)
    until(lambda: [note for note in place.glob(lock) if note.stat().st_size])
    os.kill(first, signal.SIGSTOP)
    second = warm.start(place, *words)
    until(lambda: "waiting for" in warm.output(second))
    os.kill(first, signal.SIGCONT)
    ends = [succeeded(warm.wait(pid)) for pid in (first, second)]
    assert f"held by pid {first} on " in ends[1].out + ends[1].err
    assert again or "waiting for" not in ends[0].out + ends[0].err
    check_whole(place)
    assert leftovers(place) == []
    assert not list(place.glob("**/*.owner.lock"))
    return [end.out + end.err for end in ends]


def test_two_processes_ingest_a_film_once(warm: WarmProcess, workshop: Callable[..., Path]) -> None:
    alone, place = workshop("ingest", "alone"), workshop("ingest")
    succeeded(warm.run(alone, *VERBS["ingest"]))
    lock = ".zoo/films/flash/*.owner.lock"
    said = one_after_the_other(warm, place, VERBS["ingest"], lock, again=True)
    assert "on disk" in said[0] and "on disk" not in said[1]
    assert differences(contents_of(alone), contents_of(place)) == []


def test_two_processes_train_a_model_once(warm: WarmProcess, workshop: Callable[..., Path]) -> None:
    alone, place = workshop("train", "alone"), workshop("train")
    succeeded(warm.run(alone, *TRAIN))
    one_after_the_other(warm, place, TRAIN, "runs/flash/ae/*/.owner.lock")
    assert differences(contents_of(alone), contents_of(place)) == []
    (log,) = place.glob("runs/flash/ae/*/log.jsonl")
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == sorted(set(steps))


def test_the_lock_of_a_killed_process_is_taken_by_the_one_that_waits(
    warm: WarmProcess, workshop: Callable[..., Path]
) -> None:
    alone, place = workshop("train", "alone"), workshop("train")
    succeeded(warm.run(alone, *TRAIN))
    first = warm.start(place, *TRAIN)
    until(lambda: list(place.glob("runs/flash/ae/*/.owner.lock")))
    os.kill(first, signal.SIGSTOP)
    second = warm.start(place, *TRAIN)
    until(lambda: "waiting for" in warm.output(second))
    os.killpg(first, signal.SIGKILL)
    succeeded(warm.wait(second))
    assert warm.wait(first).code == -9
    assert differences(contents_of(alone), contents_of(place)) == []


@pytest.mark.slow
def test_ingest_train_and_compare_run_in_parallel(
    warm: WarmProcess, workshop: Callable[..., Path]
) -> None:
    alone, place = workshop("compare", "alone"), workshop("compare")
    compare = VERBS["compare"]
    start = compare.index("ae") + 1
    settings = compare[start : compare.index("--metrics")]
    ingest = ("films", "ingest", "flash", "--size", "128x64")
    train = ("train", "ae", "--film", "flash", *settings)
    for words in (ingest, train, compare):
        succeeded(warm.run(alone, *words, settings=QUICK_SETTINGS))
    running = [
        warm.start(place, *words, settings=QUICK_SETTINGS)
        for words in (compare, train, ingest, train)
    ]
    for pid in running:
        succeeded(warm.wait(pid))
    check_whole(place)
    assert leftovers(place) == []
    assert differences(contents_of(alone), contents_of(place)) == []
    assert len(list(place.glob("runs/flash/ae/*"))) == 1
    assert len(list(place.glob(".zoo/films/flash/*/manifest.json"))) == 1


@pytest.mark.slow
def test_two_reports_are_written_one_after_the_other(
    warm: WarmProcess, workshop: Callable[..., Path]
) -> None:
    alone, place = workshop("report", "alone"), workshop("report")
    succeeded(warm.run(alone, *VERBS["report"]))
    one_after_the_other(warm, place, VERBS["report"], "results/.owner.lock")
    assert (
        differences(contents_of(alone, with_times=True), contents_of(place, with_times=True)) == []
    )


@pytest.mark.slow
def test_two_comparisons_write_their_results_one_after_the_other(
    warm: WarmProcess, workshop: Callable[..., Path]
) -> None:
    place = workshop("report")
    before = contents_of(place)
    running = [warm.start(place, *VERBS["compare"], settings=QUICK_SETTINGS) for _ in range(2)]
    said = [succeeded(warm.wait(pid)) for pid in running]
    assert any("results, held by pid" in end.err for end in said)
    check_whole(place)
    assert leftovers(place) == []
    assert differences(before, contents_of(place)) == []
