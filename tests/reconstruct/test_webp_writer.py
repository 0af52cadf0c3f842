"""The WebP writer: frames and times as given, and no file left after a failure."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.films.making import texture
from zoo.base.errors import BadInput
from zoo.base.frame_size import FrameSize
from zoo.reconstruct.frame_conversion import Pixels
from zoo.reconstruct.video_writers import webp_file

SIZE = FrameSize(96, 64)


def read(path: Path) -> tuple[list[int], list[Pixels]]:
    """The milliseconds at which frames begin, and the frames."""
    times, frames = [], []
    with Image.open(path) as moving:
        for number in range(moving.n_frames):
            moving.seek(number)
            frames.append(np.asarray(moving.convert("RGB")))
            times.append(moving.info["timestamp"])
    return times, frames


def slowly_changing(count: int) -> list[Pixels]:
    """A smooth picture that grows darker: each frame differs little from the one before."""
    across, down = np.meshgrid(np.linspace(0, 6, SIZE.width), np.linspace(0, 4, SIZE.height))
    picture = 128 + 60 * np.sin(across + np.sin(down)) + 20 * np.cos(3 * down)
    return [
        np.repeat((picture * (1 - number / 120))[..., None], 3, axis=2).astype(np.uint8)
        for number in range(count)
    ]


def test_no_frame_drifts_from_the_film(tmp_path: Path) -> None:
    given = slowly_changing(60)
    with webp_file(tmp_path / "a.webp", SIZE, 25) as video:
        for number, frame in enumerate(given):
            video.write(frame, number / 25)
    assert video.frames == 60 and video.seconds == pytest.approx(2.4)
    times, frames = read(tmp_path / "a.webp")
    assert times == [40 * number for number in range(60)]
    errors = [
        np.abs(one - other.astype(float)).mean() for one, other in zip(frames, given, strict=True)
    ]
    assert max(errors[-10:]) < 1.2 * max(errors[:10])


def test_a_rate_that_varies_is_kept(tmp_path: Path) -> None:
    seconds = [0.0, 0.042, 0.083, 0.5, 2.0]
    with webp_file(tmp_path / "a.webp", SIZE, 25) as video:
        for number, time in enumerate(seconds):
            video.write(texture(*SIZE, seed=number), time)
    assert read(tmp_path / "a.webp")[0] == [round(1000 * time) for time in seconds]


@pytest.mark.parametrize(("rate", "seconds"), [(25, 0.04), (Fraction(1, 2), 2.0)])
def test_a_frame_that_is_alone_is_shown_for_a_period(
    rate: Fraction | int, seconds: float, tmp_path: Path
) -> None:
    with webp_file(tmp_path / "a.webp", SIZE, rate) as video:
        video.write(texture(*SIZE, seed=1), 0.0)
    assert (video.frames, video.seconds) == (1, pytest.approx(seconds))
    assert len(read(tmp_path / "a.webp")[1]) == 1


@pytest.mark.parametrize("rate", [1000, 1999, 24_000])
def test_a_film_of_more_frames_than_milliseconds_keeps_its_speed(rate: int, tmp_path: Path) -> None:
    with webp_file(tmp_path / "a.webp", SIZE, rate) as video:
        for number in range(60):
            video.write(texture(*SIZE, seed=number), number / rate)
    times = read(tmp_path / "a.webp")[0]
    assert times == sorted({round(1000 * number / rate) for number in range(60)})
    assert video.frames == len(times)
    assert video.seconds == pytest.approx(60 / rate, abs=0.002)


def test_frames_many_hours_apart_are_shown_until_the_next(tmp_path: Path) -> None:
    """The format has 24 bits for the milliseconds of a frame: under five hours."""
    seconds = [0.0, 20_000.0, 20_001.0, 80_000.0]
    with webp_file(tmp_path / "a.webp", SIZE, Fraction(1, 20_000)) as video:
        for number, time in enumerate(seconds):
            video.write(np.full((SIZE.height, SIZE.width, 3), 60 * number, np.uint8), time)
    assert (video.frames, video.seconds) == (4, 100_000.0)
    times, frames = read(tmp_path / "a.webp")
    assert np.isin([round(1000 * time) for time in seconds], times).all()
    numbers = np.searchsorted(seconds, np.array(times) / 1000 + 1e-5) - 1
    assert [round(float(frame.mean()) / 60) for frame in frames] == numbers.tolist()


def test_the_last_frame_is_shown_for_a_period(tmp_path: Path) -> None:
    with webp_file(tmp_path / "a.webp", SIZE, 25) as video:
        for number in range(3):
            video.write(texture(*SIZE, seed=number), float(number))
    assert video.seconds == pytest.approx(2.04)


def test_two_frames_of_one_millisecond_are_the_first_of_them(tmp_path: Path) -> None:
    """As a film whose rate varies has them now and then."""
    with webp_file(tmp_path / "a.webp", SIZE, 25) as video:
        for number, time in enumerate([0.0, 0.0401, 0.0404, 0.08]):
            video.write(np.full((SIZE.height, SIZE.width, 3), 60 * number, np.uint8), time)
    times, frames = read(tmp_path / "a.webp")
    assert times == [0, 40, 80]
    assert [round(float(frame.mean()) / 60) for frame in frames] == [0, 1, 3]


def test_after_an_error_nothing_is_left(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="times ascend"),
        webp_file(tmp_path / "a.webp", SIZE, 25) as video,
    ):
        video.write(texture(*SIZE, seed=1), 1.0)
        video.write(texture(*SIZE, seed=2), 1.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "size", "why"),
    [("a.mp4", SIZE, "must end in .webp"), ("a.webp", FrameSize(16_400, 64), "at most 16,383")],
)
def test_what_is_no_webp_is_refused(name: str, size: FrameSize, why: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=why), webp_file(tmp_path / name, size, 25):
        raise AssertionError
    assert list(tmp_path.iterdir()) == []
