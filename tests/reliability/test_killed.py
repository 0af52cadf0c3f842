"""A command killed at any time leaves nothing damaged, and completes when it is run again.

Fifty seeded kills over all verbs: half of them at random times of the run, half right before a
random one of its changes on disk. Some more are killed within a write, at a random file size.
"""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reliability.conftest import QUICK_SETTINGS, VERBS, succeeded
from tests.reliability.warm_process import WarmProcess
from tests.reliability.workspace_contents import (
    check_whole,
    contents_of,
    differences,
    files_of,
    leftovers,
)

SEED = 2016
FEWEST_BYTES = 2000
KILLS = {"ingest": 8, "train": 12, "compare": 7, "reconstruct": 8, "encode": 8, "report": 7}
assert sum(KILLS.values()) == 50
TORN = {"ingest": 3, "train": 3, "compare": 1, "reconstruct": 3, "encode": 3, "report": 3}
"""Kills within a write."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("verb", KILLS)
def test_a_killed_command_completes_when_run_again(
    verb: str,
    warm: WarmProcess,
    workshop: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rng = random.Random(f"{SEED} {verb}")
    words = VERBS[verb]
    undisturbed = workshop(verb, "undisturbed")
    whole = succeeded(warm.run(undisturbed, *words, settings=QUICK_SETTINGS))
    assert whole.steps
    check_whole(undisturbed)
    expected = contents_of(undisturbed, with_times=verb == "report")
    sizes = [path.stat().st_size for path in files_of(undisturbed)]
    written = [size for size in sizes if size > FEWEST_BYTES]
    kills, resumed = [], 0
    for number in range(KILLS[verb] + TORN[verb]):
        place, killed, where = None, whole, ""
        while killed.code == 0:
            # A run that was faster this time, or made fewer changes, ended before the kill.
            if place:
                shutil.rmtree(place)
            place = workshop(verb, "killed")
            if number >= KILLS[verb]:
                size = int(rng.choice(written) * rng.uniform(0.2, 0.9))
                where = f"byte {size}"
                killed = warm.run(place, *words, settings=QUICK_SETTINGS, torn_at=size)
            elif number % 2:
                step = rng.randint(1, whole.steps)
                where = f"change {step}"
                killed = warm.run(place, *words, settings=QUICK_SETTINGS, kill_at_step=step)
            else:
                after = rng.uniform(0, whole.seconds)
                where = f"{after:.2f} s"
                killed = warm.run(place, *words, settings=QUICK_SETTINGS, kill_after=after)
        assert place
        assert killed.code == -(signal.SIGKILL if number < KILLS[verb] else signal.SIGXFSZ)
        check_whole(place)
        resumed += any(place.glob("runs/*/*/*/checkpoint.safetensors"))
        succeeded(warm.run(place, *words, settings=QUICK_SETTINGS))
        check_whole(place)
        assert leftovers(place) == [], where
        found = contents_of(place, with_times=verb == "report")
        assert differences(expected, found) == [], where
        kills.append(where)
        shutil.rmtree(place)
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{verb}: {KILLS[verb]} kills and {TORN[verb]} torn writes in a run of "
            f"{whole.seconds:.2f} s and {whole.steps} changes on disk, at {', '.join(kills)}; "
            f"{resumed} went on from a checkpoint"
        )
    if verb == "train":
        assert resumed, "no kill came between a checkpoint and the end"
