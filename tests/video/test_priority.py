"""An encoder may not keep the machine to itself."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from zoo.frame_size import FrameSize
from zoo.video.writer import Coding, video_file


@pytest.mark.skipif(
    not hasattr(os, "sched_getscheduler") or os.geteuid() != 0,
    reason="SVT-AV1 asks for real time where root runs it on Linux",
)
def test_writing_av1_as_root_leaves_the_thread_at_its_usual_priority(tmp_path: Path) -> None:
    usual = os.sched_getscheduler(0)
    size = FrameSize(64, 64)
    with video_file(tmp_path / "film.mp4", size, 25, coding=Coding("libsvtav1")) as video:
        for _ in range(4):
            video.write(np.zeros((64, 64, 3), np.uint8))
            assert os.sched_getscheduler(0) == usual
    assert os.sched_getscheduler(0) == usual
