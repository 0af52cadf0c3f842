"""Several processes on one workspace: nothing is done twice, and who is waited for is said."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reliability.conftest import HURRIED, TINY, VERBS, worked
from tests.reliability.outcome import check_whole, differences, outcome, strays
from tests.reliability.warm import Warm

TRAIN = ("train", "ae", "--film", "flash", *TINY, "--budget", "80frames")
PATIENCE = 60.0


def until(what: Callable[[], object]) -> None:
    """Wait until something is so."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < PATIENCE
        time.sleep(0.002)


def one_after_the_other(warm: Warm, place: Path, words: tuple[str, ...], lock: str) -> list[str]:
    """Have two processes do the same, the second while the first holds the lock; what they said."""
    first = warm.start(place, *words)
    until(lambda: [note for note in place.glob(lock) if note.stat().st_size])
    os.kill(first, signal.SIGSTOP)
    second = warm.start(place, *words)
    until(lambda: "waiting for" in warm.said(second))
    os.kill(first, signal.SIGCONT)
    ends = [worked(warm.wait(pid)) for pid in (first, second)]
    assert f"held by pid {first} on " in ends[1].out + ends[1].err
    assert "waiting for" not in ends[0].out + ends[0].err
    check_whole(place)
    assert strays(place) == []
    assert not list(place.glob("**/*.owner.lock"))
    return [end.out + end.err for end in ends]


def test_two_that_ingest_a_film_ingest_it_once(warm: Warm, workshop: Callable[..., Path]) -> None:
    alone, place = workshop("ingest", "alone"), workshop("ingest")
    worked(warm.run(alone, *VERBS["ingest"]))
    said = one_after_the_other(warm, place, VERBS["ingest"], ".zoo/films/flash/*.owner.lock")
    assert "on disk" in said[0] and "on disk" not in said[1]
    assert differences(outcome(alone), outcome(place)) == []


def test_two_that_train_a_model_train_it_once(warm: Warm, workshop: Callable[..., Path]) -> None:
    alone, place = workshop("train", "alone"), workshop("train")
    worked(warm.run(alone, *TRAIN))
    one_after_the_other(warm, place, TRAIN, "runs/flash/ae/*/.owner.lock")
    assert differences(outcome(alone), outcome(place)) == []
    (log,) = place.glob("runs/flash/ae/*/log.jsonl")
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == sorted(set(steps))


def test_what_a_killed_process_held_is_taken_by_the_one_that_waits(
    warm: Warm, workshop: Callable[..., Path]
) -> None:
    alone, place = workshop("train", "alone"), workshop("train")
    worked(warm.run(alone, *TRAIN))
    first = warm.start(place, *TRAIN)
    until(lambda: list(place.glob("runs/flash/ae/*/.owner.lock")))
    os.kill(first, signal.SIGSTOP)
    second = warm.start(place, *TRAIN)
    until(lambda: "waiting for" in warm.said(second))
    os.killpg(first, signal.SIGKILL)
    worked(warm.wait(second))
    assert warm.wait(first).code == -9
    assert differences(outcome(alone), outcome(place)) == []


@pytest.mark.slow
def test_ingest_train_and_compare_beside_each_other(
    warm: Warm, workshop: Callable[..., Path]
) -> None:
    alone, place = workshop("compare", "alone"), workshop("compare")
    compare = VERBS["compare"]
    start = compare.index("ae") + 1
    settings = compare[start : compare.index("--metrics")]
    ingest = ("films", "ingest", "flash", "--size", "128x64")
    train = ("train", "ae", "--film", "flash", *settings)
    for words in (ingest, train, compare):
        worked(warm.run(alone, *words, settings=HURRIED))
    running = [
        warm.start(place, *words, settings=HURRIED) for words in (compare, train, ingest, train)
    ]
    for pid in running:
        worked(warm.wait(pid))
    check_whole(place)
    assert strays(place) == []
    assert differences(outcome(alone), outcome(place)) == []
    assert len(list(place.glob("runs/flash/ae/*"))) == 1
    assert len(list(place.glob(".zoo/films/flash/*/manifest.json"))) == 1


@pytest.mark.slow
def test_two_that_write_a_report_write_it_one_after_the_other(
    warm: Warm, workshop: Callable[..., Path]
) -> None:
    alone, place = workshop("report", "alone"), workshop("report")
    worked(warm.run(alone, *VERBS["report"]))
    one_after_the_other(warm, place, VERBS["report"], "results/.owner.lock")
    assert differences(outcome(alone, with_times=True), outcome(place, with_times=True)) == []


@pytest.mark.slow
def test_two_comparisons_write_their_results_one_after_the_other(
    warm: Warm, workshop: Callable[..., Path]
) -> None:
    place = workshop("report")
    before = outcome(place)
    running = [warm.start(place, *VERBS["compare"], settings=HURRIED) for _ in range(2)]
    said = [worked(warm.wait(pid)) for pid in running]
    assert any("results, held by pid" in end.err for end in said)
    check_whole(place)
    assert strays(place) == []
    assert differences(before, outcome(place)) == []
