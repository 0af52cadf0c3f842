"""Sound encoded as AAC: jitter leaves no gaps, gaps become silence."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from zoo.reconstruct.source_sound import SoundFormat
from zoo.reconstruct.write_sound import AacEncoder, AacFormat, aac_format_for

RATE, BLOCK = 48_000, 960


def coded(path: Path, begins: Sequence[float], length: float | None = None) -> npt.NDArray:
    """Code blocks of a tone that begin at these times; return the loudness of every 10 ms."""
    with av.open(str(path), "w") as container:
        encoder = AacEncoder(container, AacFormat("mono", RATE), length)
        for number, begin in enumerate(begins):
            at = np.arange(number * BLOCK, (number + 1) * BLOCK) / RATE
            tone = (0.5 * np.sin(2 * np.pi * 500 * at)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(tone[None], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            container.mux(list(encoder.encode(frame, begin)))
        container.mux(list(encoder.finish()))
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


def recoded(path: Path, layout: str, rate: int = RATE) -> av.AudioFrame:
    """A second of noise in all channels, coded again; returns a frame of what is heard."""
    count = len(av.AudioLayout(layout).channels)
    noise = np.random.default_rng(0).integers(-9000, 9000, (1, rate * count)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(noise, "s16", layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    target = aac_format_for([SoundFormat.of(frame)])
    with av.open(str(path), "w") as container:
        encoder = AacEncoder(container, target, None)
        container.mux(list(encoder.encode(frame, 0.0)))
        container.mux(list(encoder.finish()))
    with av.open(str(path)) as container:
        track = container.streams.audio[0]
        assert float(track.duration * track.time_base) == pytest.approx(1.0, abs=0.05)
        return list(container.decode(audio=0))[5]


def loudness_of(frame: av.AudioFrame) -> npt.NDArray:
    """Of each channel."""
    resampler = av.AudioResampler("flt", frame.layout, frame.sample_rate)
    (one,) = resampler.resample(frame)
    samples = one.to_ndarray().reshape(one.samples, -1)
    return np.sqrt(np.square(samples).mean(axis=0))


@pytest.mark.parametrize("rate", [11_025, 50_000, 96_000])
def test_rates_that_aac_has_and_has_not(rate: int, tmp_path: Path) -> None:
    frame = recoded(tmp_path / "a.mp4", "stereo", rate)
    assert frame.sample_rate == (rate if rate != 50_000 else 48_000)


@pytest.mark.parametrize(
    ("layout", "coded"),
    [
        ("mono", "mono"),
        ("stereo", "stereo"),
        ("4.0", "4.0"),
        ("5.0(side)", "5.0"),
        ("5.1", "5.1"),
        ("5.1(side)", "5.1"),
        ("7.0", "7.1"),
        ("7.1", "7.1"),
        ("8 channels", "7.1"),
        ("6 channels", "5.1"),
    ],
)
def test_every_channel_is_kept_where_aac_has_a_place_for_it(
    layout: str, coded: str, tmp_path: Path
) -> None:
    frame = recoded(tmp_path / "a.mp4", layout)
    count = len(av.AudioLayout(layout).channels)
    assert frame.layout.name == coded
    # An encoder cuts what is low-pitched out of the channel for it, but not to nothing.
    assert (loudness_of(frame) > 0.001).sum() == count
    assert not aac_format_for([SoundFormat.of(av.AudioFrame("s16", layout, 1024))]).lost


@pytest.mark.parametrize("layout", ["6.1", "7.1(wide)", "7.1.4", "22.2", "hexagonal"])
def test_channels_without_a_place_are_mixed_and_that_is_said(layout: str, tmp_path: Path) -> None:
    frame = recoded(tmp_path / "a.mp4", layout)
    assert frame.layout.name in ("5.1", "7.1")
    count = len(av.AudioLayout(layout).channels)
    lost = aac_format_for([SoundFormat.of(av.AudioFrame("s16", layout, 1024))]).lost
    assert lost == f"{count} channels, {layout}, mixed into {frame.layout.name}"


@pytest.mark.parametrize("layout", [*(f"{n} channels" for n in (9, 10, 11, 13, 18, 32)),
                                    "ambisonic 1"])  # fmt: skip
def test_of_channels_without_any_places_two_are_kept(layout: str, tmp_path: Path) -> None:
    frame = recoded(tmp_path / "a.mp4", layout)
    assert frame.layout.name == "stereo"
    assert (loudness_of(frame) > 0.05).all()
    assert (
        "the first two of"
        in aac_format_for([SoundFormat.of(av.AudioFrame("s16", layout, 1024))]).lost
    )


def test_the_widest_form_is_coded() -> None:
    forms = [
        SoundFormat.of(av.AudioFrame("s16", layout, 1024)) for layout in ("stereo", "5.1", "mono")
    ]
    assert aac_format_for(forms).layout == "5.1"


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1", "7.1", "9 channels"])
def test_small_sound_has_at_most_two_channels_and_half_the_bits(layout: str) -> None:
    form = SoundFormat.of(av.AudioFrame("s16", layout, 1024))
    small, usual = aac_format_for([form], small=True), aac_format_for([form])
    assert small.layout == ("mono" if layout == "mono" else "stereo")
    assert 2 * small.bit_rate == usual.bit_rate
    assert bool(small.lost) == (layout not in ("mono", "stereo"))
