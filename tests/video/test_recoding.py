"""Decoded sound on its time line: wavering times leave it whole, gaps are silent."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from zoo.video.recoding import Recoder

RATE, BLOCK = 48_000, 960


def coded(path: Path, begins: Sequence[float], length: float | None = None) -> npt.NDArray:
    """Code blocks of a tone that begin at these times; return the loudness of every 10 ms."""
    with av.open(str(path), "w") as container:
        recoder = Recoder(container, RATE, 1, length)
        for number, begin in enumerate(begins):
            at = np.arange(number * BLOCK, (number + 1) * BLOCK) / RATE
            tone = (0.5 * np.sin(2 * np.pi * 500 * at)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(tone[None], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            container.mux(list(recoder.feed(frame, begin)))
        container.mux(list(recoder.finish()))
    with av.open(str(path)) as container:
        heard = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    windows = heard[: len(heard) // 480 * 480].reshape(-1, 480)
    return np.sqrt(np.square(windows).mean(axis=1))


def test_wavering_times_leave_the_tone_whole(tmp_path: Path) -> None:
    waver = np.random.default_rng(0).choice([-0.02, 0.0, 0.021], 100)
    waver[0] = 0
    loudness = coded(tmp_path / "a.mp4", [n * 0.02 + w for n, w in enumerate(waver)])
    assert len(loudness) == pytest.approx(200, abs=3)
    assert loudness[3:197] == pytest.approx(0.5 / np.sqrt(2), abs=0.03)


def test_what_is_missing_is_silent_and_what_follows_keeps_its_time(tmp_path: Path) -> None:
    begins = [n * 0.02 + (0.5 if n >= 25 else 0) for n in range(50)]
    loudness = coded(tmp_path / "a.mp4", begins)
    assert (loudness[5:47] > 0.3).all()
    assert (loudness[55:97] < 0.01).all()
    assert (loudness[105:145] > 0.3).all()


def test_what_begins_before_zero_or_ends_too_late_is_cut(tmp_path: Path) -> None:
    loudness = coded(tmp_path / "a.mp4", [n * 0.02 - 0.5 for n in range(100)], length=1.0)
    assert len(loudness) == pytest.approx(100, abs=3)
    assert (loudness[3:97] > 0.3).all()


@pytest.mark.parametrize(("rate", "channels"), [(11_025, 1), (50_000, 2), (96_000, 6), (48_000, 4)])
def test_forms_that_aac_has_and_has_not(rate: int, channels: int, tmp_path: Path) -> None:
    layout = {1: "mono", 2: "stereo", 4: "4.0", 6: "5.1"}[channels]
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        recoder = Recoder(container, rate, channels, None)
        samples = np.zeros((channels, rate), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        container.mux(list(recoder.feed(frame, 0.0)))
        container.mux(list(recoder.finish()))
    with av.open(str(tmp_path / "a.mp4")) as container:
        track = container.streams.audio[0]
        assert float(track.duration * track.time_base) == pytest.approx(1.0, abs=0.05)
        assert track.codec_context.channels == (channels if channels != 4 else 2)
        assert track.codec_context.sample_rate == (rate if rate != 50_000 else 48_000)
