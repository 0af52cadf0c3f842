"""Videos of a report are small, also of films that are hard to code."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from zoo.base.frame_size import FrameSize
from zoo.compare.pictures_and_videos import SeekableCoding, most_bits
from zoo.compare.side_by_side import LimitedCoding
from zoo.conformance.fixtures import scene_as_film
from zoo.reconstruct.video_writers import video_file


def test_three_panels_of_20_seconds_at_256x144_are_under_1_5_mb() -> None:
    bits = most_bits(FrameSize(256, 144))
    assert 3 * (20 + 0.9) * bits / 8 < 1_450_000
    assert most_bits(FrameSize(96, 54)) == bits
    assert most_bits(FrameSize(512, 288)) == 4 * bits


def test_a_film_of_noise_keeps_to_the_limit(tmp_path: Path) -> None:
    size, rate = FrameSize(64, 64), 24
    noise = np.random.default_rng(0).integers(0, 256, (2 * rate, 64, 64, 3), dtype=np.uint8)
    sizes = []
    for bits in (None, 200_000):
        path = tmp_path / f"{bits}.mp4"
        coding = SeekableCoding(crf=16, most_bits=bits)
        with video_file(path, size, Fraction(rate), settings=coding) as video:
            for frame in noise:
                video.write(frame)
        sizes.append(path.stat().st_size)
    assert sizes[1] < 3 * 200_000 / 8 + 10_000 < sizes[0]


@pytest.mark.parametrize("coding", [LimitedCoding, SeekableCoding])
def test_the_same_frames_are_the_same_file(coding: type[LimitedCoding], tmp_path: Path) -> None:
    size = FrameSize(96, 54)
    noise = np.random.default_rng(0).integers(
        0, 80, (48, size.height, size.width, 3), dtype=np.uint8
    )
    frames = scene_as_film(size, count=48).store.array + noise
    files = set()
    for number in range(5):
        path = tmp_path / f"{number}.mp4"
        with video_file(path, size, 24, settings=coding(most_bits=100_000)) as video:
            for frame in frames:
                video.write(frame)
        files.add(path.read_bytes())
    assert len(files) == 1
