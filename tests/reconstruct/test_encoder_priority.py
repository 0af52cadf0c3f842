"""A video encoder leaves threads at their usual priority."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from zoo_plugins.references.codecs import SvtAv1

from zoo import doctor
from zoo.api.codec import CodingTerms
from zoo.base.frame_size import FrameSize
from zoo.conformance.fixtures import scene_as_film
from zoo.reconstruct.video_writers import EncoderSettings, video_file

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getscheduler") or os.geteuid() != 0,
    reason="SVT-AV1 asks for real time where root runs it on Linux",
)


def real_time() -> list[str]:
    """The threads of this process before which no other process gets its turn."""
    found = []
    for thread in Path("/proc/self/task").iterdir():
        try:
            if os.sched_getscheduler(int(thread.name)) in (os.SCHED_FIFO, os.SCHED_RR):
                found.append((thread / "comm").read_text())
        except (ProcessLookupError, FileNotFoundError):
            continue
    return found


def test_writing_av1_as_root_leaves_all_threads_at_their_usual_priority(tmp_path: Path) -> None:
    size = FrameSize(64, 64)
    with video_file(
        tmp_path / "film.mp4", size, 25, settings=EncoderSettings("libsvtav1")
    ) as video:
        for _ in range(4):
            video.write(np.zeros((64, 64, 3), np.uint8))
            assert not real_time()
    assert not real_time()


def test_coding_a_film_in_av1_does_so_too() -> None:
    film = scene_as_film(FrameSize(64, 64), count=4, holdout=0)
    stream = SvtAv1(film.size).code(film, CodingTerms(100)).stream
    assert not real_time()
    assert len(list(SvtAv1(film.size).decode(stream))) == 4


def test_so_does_looking_for_what_encoders_can_do() -> None:
    assert doctor._fault("libsvtav1") is None
    assert not real_time()
