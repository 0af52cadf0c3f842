"""Killed at any moment, a command does no harm, and the same command ends as if nothing had been.

Fifty seeded moments over all verbs: one half at a time drawn evenly over the length of the run, the
other right before a change on disk drawn evenly from all that the run makes. Some more die within a
write, when a file has so many bytes.
"""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reliability.conftest import HURRIED, VERBS, worked
from tests.reliability.outcome import check_whole, differences, files_of, outcome, strays
from tests.reliability.warm import Warm

SEED = 2016
FEWEST_BYTES = 2000
KILLS = {"ingest": 8, "train": 12, "compare": 7, "reconstruct": 8, "encode": 8, "report": 7}
assert sum(KILLS.values()) == 50
TORN = {"ingest": 3, "train": 3, "compare": 1, "reconstruct": 3, "encode": 3, "report": 3}
"""Those that die within a write."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("verb", KILLS)
def test_a_killed_command_completes_as_if_nothing_had_been(
    verb: str,
    warm: Warm,
    workshop: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    chance = random.Random(f"{SEED} {verb}")
    words = VERBS[verb]
    undisturbed = workshop(verb, "undisturbed")
    whole = worked(warm.run(undisturbed, *words, settings=HURRIED))
    assert whole.steps
    check_whole(undisturbed)
    expected = outcome(undisturbed, with_times=verb == "report")
    sizes = [path.stat().st_size for path in files_of(undisturbed)]
    written = [size for size in sizes if size > FEWEST_BYTES]
    fell, resumed = [], 0
    for number in range(KILLS[verb] + TORN[verb]):
        place, killed, where = None, whole, ""
        while killed.code == 0:
            # A run that was faster this time, or that changed less, had ended before.
            if place:
                shutil.rmtree(place)
            place = workshop(verb, "killed")
            if number >= KILLS[verb]:
                size = int(chance.choice(written) * chance.uniform(0.2, 0.9))
                where = f"byte {size}"
                killed = warm.run(place, *words, settings=HURRIED, torn_at=size)
            elif number % 2:
                step = chance.randint(1, whole.steps)
                where = f"change {step}"
                killed = warm.run(place, *words, settings=HURRIED, kill_at_step=step)
            else:
                moment = chance.uniform(0, whole.seconds)
                where = f"{moment:.2f} s"
                killed = warm.run(place, *words, settings=HURRIED, kill_after=moment)
        assert place
        assert killed.code == -(signal.SIGKILL if number < KILLS[verb] else signal.SIGXFSZ)
        check_whole(place)
        resumed += any(place.glob("runs/*/*/*/checkpoint.safetensors"))
        worked(warm.run(place, *words, settings=HURRIED))
        check_whole(place)
        assert strays(place) == [], where
        found = outcome(place, with_times=verb == "report")
        assert differences(expected, found) == [], where
        fell.append(where)
        shutil.rmtree(place)
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{verb}: {KILLS[verb]} kills and {TORN[verb]} torn writes in a run of "
            f"{whole.seconds:.2f} s and {whole.steps} changes on disk, at {', '.join(fell)}; "
            f"{resumed} went on from a checkpoint"
        )
    if verb == "train":
        assert resumed, "no kill fell between a checkpoint and the end"
