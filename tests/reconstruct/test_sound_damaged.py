"""Sound that is not what its header says: it never stops the video, and a line says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from tests.reconstruct.flashing_film import flashing_film, seen_and_heard
from tests.reconstruct.test_sound_sync import FLASHES, FRAME, TIMES, in_step, written

PACKET = 188
"""Bytes of a transport stream's packet."""


def joined(path: Path, *parts: Path) -> Path:
    """Write transport streams one after another, as recorders do."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def seconds_of_sound(path: Path) -> float:
    with av.open(str(path)) as container:
        track = container.streams.audio[0]
        return float(track.duration * track.time_base)


@pytest.mark.parametrize("audio", ["mp2", "aac", "ac3"])
@pytest.mark.parametrize("clocks", [(1.0, 3601.0), (7000.0, 20.0), (1.0, 70_000.0)])
def test_sound_is_joined_where_the_frames_are(
    audio: str, clocks: tuple[float, float], tmp_path: Path
) -> None:
    """At a leap of the clock, forwards or backwards, of sound that is copied or coded again."""
    parts = [
        flashing_film(tmp_path / f"{n}.ts", FLASHES, times=TIMES, audio=audio, clock_begins=clock)
        for n, clock in enumerate(clocks)
    ]
    film, made = written(tmp_path, joined(tmp_path / "a.ts", *parts))
    assert made.frames == 150
    assert "joined where its clock jumps" in made.sound.summary
    assert seconds_of_sound(made.path) < film.frame_seconds[-1] + 0.5
    seen, heard = seen_and_heard(made.path)
    assert len(seen) == 6
    assert heard == pytest.approx(seen, abs=FRAME)


def test_several_leaps_in_a_row(tmp_path: Path) -> None:
    clocks = (9000.0, 1.0, 4000.0)
    parts = [
        flashing_film(tmp_path / f"{n}.ts", FLASHES, times=TIMES, clock_begins=clock)
        for n, clock in enumerate(clocks)
    ]
    _, made = written(tmp_path, joined(tmp_path / "a.ts", *parts))
    seen, heard = seen_and_heard(made.path)
    assert len(seen) == 9
    assert heard == pytest.approx(seen, abs=FRAME)


@pytest.mark.parametrize("overlap", [0.04, 0.28, 0.5, 0.96])
def test_a_clock_that_steps_back_a_little(overlap: float, tmp_path: Path) -> None:
    parts = [
        flashing_film(tmp_path / f"{n}.ts", FLASHES, times=TIMES, clock_begins=clock)
        for n, clock in enumerate((9000.0, 1.0, 4.0 - overlap, 9500.0))
    ]
    film, made = written(tmp_path, joined(tmp_path / "a.ts", *parts))
    assert made.frames == 300
    assert np.diff(film.frame_seconds).min() > 1 / 60_000
    seen, _ = seen_and_heard(made.path)
    assert len(seen) == 12


@pytest.mark.parametrize("audio", ["aac", "mp2"])
def test_a_range_after_a_leap(audio: str, tmp_path: Path) -> None:
    parts = [
        flashing_film(tmp_path / f"{n}.ts", FLASHES, times=TIMES, audio=audio, clock_begins=clock)
        for n, clock in enumerate((1.0, 5000.0))
    ]
    _, made = written(tmp_path, joined(tmp_path / "a.ts", *parts), begin=3.2, end=5.0)
    seen, heard = seen_and_heard(made.path)
    assert len(seen) == 2
    assert heard == pytest.approx(seen, abs=FRAME)
    assert seconds_of_sound(made.path) == pytest.approx(made.seconds, abs=0.1)


@pytest.mark.parametrize("audio", ["aac", "mp2", "ac3", "libmp3lame", "eac3"])
def test_sound_that_is_announced_and_never_comes(audio: str, tmp_path: Path) -> None:
    source = flashing_film(tmp_path / "a.ts", FLASHES, times=TIMES, audio=audio, sound_ends=0.0)
    with av.open(str(source)) as container:
        assert container.streams.audio
    _, made = written(tmp_path, source)
    assert made.frames == 75
    assert "is empty" in made.sound.summary
    with av.open(str(made.path)) as container:
        assert not container.streams.audio


def noisy(source: Path, path: Path, spoilt: Callable[[int], bool]) -> Path:
    """Copy a film; bytes of those sound packets that are chosen by number become noise."""
    noise = np.random.default_rng(0)
    with av.open(str(source)) as container, av.open(str(path), "w") as copy:
        streams = {s.index: copy.add_stream_from_template(s) for s in container.streams}
        number = 0
        for packet in container.demux():
            if packet.dts is None:
                continue
            if packet.stream.type == "audio":
                if spoilt(number):
                    packet.update(noise.bytes(packet.size))
                number += 1
            packet.stream = streams[packet.stream.index]
            copy.mux(packet)
    return path


@pytest.mark.parametrize("audio", ["aac", "ac3", "flac"])
def test_sound_of_which_nothing_can_be_decoded(audio: str, tmp_path: Path) -> None:
    good = flashing_film(tmp_path / "good.mkv", FLASHES, times=TIMES, audio=audio)
    _, made = written(tmp_path, noisy(good, tmp_path / "a.mkv", lambda number: True))
    assert made.frames == 75 and made.path.exists()


def test_some_damaged_packets_are_counted(tmp_path: Path) -> None:
    good = flashing_film(tmp_path / "good.mkv", FLASHES, times=TIMES, audio="ac3")
    _, made = written(tmp_path, noisy(good, tmp_path / "a.mkv", lambda n: n % 20 == 5))
    assert "packets cannot be decoded" in made.sound.summary
    in_step(made.path, FLASHES)


@pytest.mark.parametrize(
    ("first", "second", "coded"),
    [
        ({"layout": "stereo"}, {"layout": "5.1"}, "5.1"),
        ({"layout": "5.1"}, {"layout": "stereo"}, "5.1"),
        ({"layout": "mono"}, {"layout": "stereo"}, "stereo"),
        ({"sound_rate": 48_000}, {"sound_rate": 44_100}, "stereo"),
    ],
)
@pytest.mark.parametrize("audio", ["aac", "ac3", "mp2"])
def test_sound_that_changes_in_mid_film_is_heard_to_its_end(
    first: dict, second: dict, coded: str, audio: str, tmp_path: Path
) -> None:
    if audio == "mp2" and "5.1" in (first.get("layout"), second.get("layout")):
        pytest.skip("MPEG-1 sound has two channels at most")
    parts = [
        flashing_film(
            tmp_path / f"{n}.ts", FLASHES, times=TIMES, audio=audio, clock_begins=1 + 3 * n, **form
        )
        for n, form in enumerate((first, second))
    ]
    _, made = written(tmp_path, joined(tmp_path / "a.ts", *parts))
    seen, heard = seen_and_heard(made.path)
    assert len(seen) == 6
    assert heard == pytest.approx(seen, abs=FRAME)
    with av.open(str(made.path)) as container:
        assert container.streams.audio[0].codec_context.layout.name == coded
    assert "encoded again" in made.sound.summary


@pytest.mark.parametrize(
    ("layout", "kept", "expected"),
    [
        ("7.1", "7.1", "in MP4)"),
        ("5.1(side)", "5.1", "in MP4)"),
        ("9 channels", "stereo", "the first two of 9 channels"),
        ("32 channels", "stereo", "the first two of 32 channels"),
    ],
)
def test_many_channels(layout: str, kept: str, expected: str, tmp_path: Path) -> None:
    source = flashing_film(
        tmp_path / "a.mkv", FLASHES, times=TIMES, audio="pcm_s16le", layout=layout
    )
    _, made = written(tmp_path, source)
    assert expected in made.sound.summary
    with av.open(str(made.path)) as container:
        assert container.streams.audio[0].codec_context.layout.name == kept
    in_step(made.path, FLASHES)


@pytest.mark.parametrize("failing", ["AacEncoder.encode", "AacEncoder.__init__"])
def test_sound_that_cannot_be_encoded_costs_no_frame(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise av.error.ArgumentError(22, "Invalid argument")

    monkeypatch.setattr(f"zoo.reconstruct.write_sound.{failing}", refused)
    source = flashing_film(tmp_path / "a.mkv", FLASHES, times=TIMES, audio="mp2")
    _, made = written(tmp_path, source)
    assert made.frames == 75
    assert made.sound.summary == "left out: its mp2 can be neither copied nor encoded again"


def _crc(section: bytes) -> bytes:
    """The check of a table in a transport stream."""
    value = 0xFFFFFFFF
    for byte in section:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 1 << 31 else 0)) & 0xFFFFFFFF
    return value.to_bytes(4, "big")


def two_programmes(path: Path, first: dict, second: dict) -> Path:
    """Write a transport stream with two programmes: packets of two films, and one list of both."""
    streams = []
    for number, film in enumerate((first, second)):
        alone = flashing_film(path.with_name(f"{number}.ts"), programme=number + 1, **film)
        data = alone.read_bytes()
        packets = [data[n : n + PACKET] for n in range(0, len(data), PACKET)]
        streams.append([p for p in packets if (p[1] & 31) << 8 | p[2] not in (0, 17)])
    listed = b"".join(
        n.to_bytes(2, "big") + (0xE000 | 0x1000 + 16 * n).to_bytes(2, "big") for n in (1, 2)
    )
    table = b"\x00" + (0xB000 | len(listed) + 9).to_bytes(2, "big") + b"\x00\x01\xc1\x00\x00"
    table += listed
    head = b"\x47\x40\x00\x10\x00" + table + _crc(table)
    one, other = streams
    mixed = [p for n in range(max(map(len, streams))) for p in (*one[n : n + 1], *other[n : n + 1])]
    path.write_bytes(head.ljust(PACKET, b"\xff") + b"".join(mixed))
    return path


@pytest.mark.parametrize("large_first", [False, True])
@pytest.mark.parametrize("audio", ["mp2", "aac"])
def test_sound_is_that_of_the_video_s_program(
    large_first: bool, audio: str, tmp_path: Path
) -> None:
    small = {"flashes": [60 * FRAME], "times": TIMES, "audio": audio}
    large = {"flashes": FLASHES[:2], "times": TIMES, "size": (128, 96), "audio": audio}
    films = (large, small) if large_first else (small, large)
    source = two_programmes(tmp_path / "a.ts", *films)
    with av.open(str(source)) as container:
        assert len(container.streams.video) == len(container.streams.audio) == 2
    _, made = written(tmp_path, source)
    seen, heard = seen_and_heard(made.path)
    assert len(seen) == 2
    assert heard == pytest.approx(seen, abs=FRAME)


def test_a_programme_without_sound_takes_none_from_another(tmp_path: Path) -> None:
    small = {"flashes": FLASHES, "times": TIMES, "audio": "mp2"}
    large = {"flashes": FLASHES, "times": TIMES, "size": (128, 96), "audio": None}
    _, made = written(tmp_path, two_programmes(tmp_path / "a.ts", small, large))
    assert made.sound.track is None
    assert "another programme" in made.sound.summary
