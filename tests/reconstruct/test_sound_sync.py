"""Sound in sync: frames flash when the sound clicks, in the source and in the written video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from tests.reconstruct.flashing_film import flashing_film, seen_and_heard
from zoo.api.film_entry import FilmEntry
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.films.ingest import open_film
from zoo.films.ingested_film import Film
from zoo.reconstruct.reconstruct_film import Original, WrittenVideo, film_range, reconstruct

FRAME = 1 / 25
TIMES = [n * FRAME for n in range(75)]
FLASHES = [10 * FRAME, 40 * FRAME, 65 * FRAME]


def written(
    folder: Path,
    *files: Path,
    begin: float | None = None,
    end: float | None = None,
    start: float | None = None,
    stop: float | None = None,
) -> tuple[Film, WrittenVideo]:
    """Write the film of these files again, as it is: `start` and `stop` are the catalogue's."""
    entry = FilmEntry("film", files, start=start, stop=stop, crop="none")
    film = open_film(entry, FrameSize(64, 48), Workspace(folder))
    span = film_range(entry, film, begin, end)
    return film, reconstruct(entry, [Original(film)], span, folder / "out.mp4")


def in_step(path: Path, at: Sequence[float]) -> None:
    """Fail unless picture and sound both flash at these times, to a frame and to each other."""
    seen, heard = seen_and_heard(path)
    assert seen == pytest.approx(at, abs=0.001)
    assert heard == pytest.approx(at, abs=FRAME / 2)


@pytest.mark.parametrize(
    ("audio", "suffix", "codec"),
    [
        ("aac", "mp4", "aac"),
        ("aac", "mkv", "aac"),
        ("libmp3lame", "mkv", "mp3"),
        ("ac3", "mkv", "ac3"),
        ("libopus", "mkv", "opus"),
        ("flac", "mkv", "flac"),
    ],
)
def test_sound_that_mp4_takes_is_copied(
    audio: str, suffix: str, codec: str, tmp_path: Path
) -> None:
    source = flashing_film(tmp_path / f"a.{suffix}", FLASHES, times=TIMES, audio=audio)
    _, made = written(tmp_path, source)
    assert made.sound and made.sound.summary == f"{codec}, copied"
    in_step(made.path, FLASHES)
    assert _sound_bytes(made.path) == _sound_bytes(source)


@pytest.mark.parametrize(("audio", "suffix"), [("pcm_s16le", "mkv"), ("mp2", "mkv")])
def test_other_sound_is_coded_again(audio: str, suffix: str, tmp_path: Path) -> None:
    source = flashing_film(tmp_path / f"a.{suffix}", FLASHES, times=TIMES, audio=audio)
    _, made = written(tmp_path, source)
    assert made.sound
    assert made.sound.summary.startswith(f"{audio}, encoded again as AAC at 96 kbit/s")
    with av.open(str(made.path)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
    in_step(made.path, FLASHES)


@pytest.mark.parametrize("audio", ["aac", "mp2"])
def test_a_transport_stream_whose_sound_begins_first(audio: str, tmp_path: Path) -> None:
    """And whose clock begins at seven seconds, as those of broadcasts begin anywhere."""
    source = flashing_film(tmp_path / "a.ts", FLASHES, times=TIMES, audio=audio, clock_begins=7)
    with av.open(str(source)) as container:
        assert container.start_time > 6e6
    film, made = written(tmp_path, source)
    begins = film.frame_seconds[0]
    assert begins > 0
    in_step(made.path, [begins + flash for flash in FLASHES])


@pytest.mark.parametrize("audio", ["aac", "pcm_s16le"])
def test_sound_that_begins_after_the_first_frame(audio: str, tmp_path: Path) -> None:
    source = flashing_film(
        tmp_path / "a.mkv", FLASHES[1:], times=TIMES, audio=audio, sound_begins=0.5
    )
    _, made = written(tmp_path, source)
    in_step(made.path, FLASHES[1:])


@pytest.mark.parametrize("audio", ["aac", "pcm_s16le"])
def test_a_first_frame_that_comes_after_the_sound(audio: str, tmp_path: Path) -> None:
    source = flashing_film(tmp_path / "a.mkv", FLASHES[1:], times=TIMES[15:], audio=audio)
    film, made = written(tmp_path, source)
    assert film.frame_seconds[0] == pytest.approx(0.6, abs=0.001)
    in_step(made.path, FLASHES[1:])


def test_sound_goes_on_to_its_own_end(tmp_path: Path) -> None:
    source = flashing_film(tmp_path / "a.mp4", FLASHES, times=TIMES, sound_ends=4.0)
    _, made = written(tmp_path, source)
    assert made.seconds == pytest.approx(3.0)
    with av.open(str(made.path)) as container:
        track = container.streams.audio[0]
        assert float(track.duration * track.time_base) == pytest.approx(4.0, abs=0.05)


@pytest.mark.parametrize("audio", ["aac", "pcm_s16le"])
@pytest.mark.parametrize("by_catalogue", [True, False])
def test_a_range_far_into_a_film(audio: str, by_catalogue: bool, tmp_path: Path) -> None:
    """At 50 s of a film of a minute; sound and picture both begin and end there."""
    times = [n / 5 for n in range(300)]
    flashes = [5.0, 51.0, 53.0, 59.0]
    source = flashing_film(tmp_path / "a.mkv", flashes, times=times, audio=audio)
    bounds = {"start": 50.0, "stop": 54.0} if by_catalogue else {"begin": 50.0, "end": 54.0}
    _, made = written(tmp_path, source, **bounds)
    assert made.frames == 20
    seen, heard = seen_and_heard(made.path)
    assert seen == pytest.approx([1.0, 3.0], abs=0.001)
    assert heard == pytest.approx([1.0, 3.0], abs=0.02)
    with av.open(str(made.path)) as container:
        track = container.streams.audio[0]
        assert float(track.duration * track.time_base) == pytest.approx(4.0, abs=0.06)


@pytest.mark.parametrize(
    ("codecs", "expected"), [(("aac", "aac"), "aac, copied"), (("aac", "mp2"), "parts differ")]
)
def test_parts_follow_one_another(codecs: tuple[str, str], expected: str, tmp_path: Path) -> None:
    parts = [
        flashing_film(tmp_path / f"{n}.mkv", FLASHES, times=TIMES, audio=codec)
        for n, codec in enumerate(codecs)
    ]
    film, made = written(tmp_path, *parts)
    second = film.store.manifest.parts[1].starts
    assert made.frames == 150
    assert made.sound and expected in made.sound.summary
    in_step(made.path, [*FLASHES, *(second + flash for flash in FLASHES)])


def test_a_part_without_sound_is_silent(tmp_path: Path) -> None:
    silent = flashing_film(tmp_path / "0.mkv", FLASHES, times=TIMES, audio=None)
    heard_later = flashing_film(tmp_path / "1.mkv", FLASHES, times=TIMES, audio="aac")
    film, made = written(tmp_path, silent, heard_later)
    second = film.store.manifest.parts[1].starts
    _, heard = seen_and_heard(made.path)
    assert heard == pytest.approx([second + flash for flash in FLASHES], abs=FRAME / 2)


def test_a_film_without_sound(tmp_path: Path) -> None:
    source = flashing_film(tmp_path / "a.mp4", FLASHES, times=TIMES, audio=None)
    _, made = written(tmp_path, source)
    assert made.sound.track is None and made.sound.summary == "the source has none"
    with av.open(str(made.path)) as container:
        assert not container.streams.audio


def test_a_rate_that_varies_is_kept(tmp_path: Path) -> None:
    gaps = np.random.default_rng(1).choice([1, 2, 5], 60) * FRAME
    times = [float(t) for t in np.cumsum(gaps)]
    times = [t - times[0] for t in times]
    flashes = [times[5], times[30], times[55]]
    source = flashing_film(tmp_path / "a.mp4", flashes, times=times)
    film, made = written(tmp_path, source)
    assert film.store.manifest.variable_rate
    with av.open(str(made.path)) as container:
        shown = [frame.time for frame in container.decode(video=0)]
    assert shown == pytest.approx(film.frame_seconds, abs=1e-4)
    in_step(made.path, flashes)


def test_tags_and_chapters_come_along(tmp_path: Path) -> None:
    source = flashing_film(
        tmp_path / "a.mkv",
        FLASHES,
        times=TIMES,
        tags={"title": "A Film", "artist": "Someone", "comment": "theirs"},
        chapters=[(0, 1, "Begin"), (1, 2, "Middle"), (2, 3, "End")],
    )
    _, made = written(tmp_path, source, begin=0.4, end=1.8)
    with av.open(str(made.path)) as container:
        assert container.metadata["title"] == "A Film"
        assert container.metadata["artist"] == "Someone"
        assert "Licence: not stated" in container.metadata["comment"]
        assert "theirs" in container.metadata["comment"]
        found = [
            (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]),
             c["metadata"]["title"])
            for c in container.chapters()
        ]  # fmt: skip
    assert [title for _, _, title in found] == ["Begin", "Middle"]
    assert found[0][:2] == pytest.approx((0, 0.6), abs=0.002)
    assert found[1][:2] == pytest.approx((0.6, 1.4), abs=0.002)


def _sound_bytes(path: Path) -> bytes:
    with av.open(str(path)) as container:
        return b"".join(bytes(packet) for packet in container.demux(audio=0))


@pytest.mark.parametrize(("end", "seconds"), [(None, 123.04), (60.0, 60.0), (1.02, 1.02)])
def test_the_last_frame_of_a_film_with_a_long_still(
    end: float | None, seconds: float, tmp_path: Path
) -> None:
    """It is shown as long as most pictures are, or up to where the film is cut."""
    times = [start + n * FRAME for start in (0.0, 122.0) for n in range(26)]
    source = flashing_film(tmp_path / "a.mkv", [122.0], times=times, size=(64, 48))
    _, made = written(tmp_path, source, end=end)
    assert made.seconds == pytest.approx(seconds, abs=0.002)
    with av.open(str(made.path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert float(video.duration * video.time_base) == pytest.approx(seconds, abs=0.002)
        assert float(audio.duration * audio.time_base) == pytest.approx(seconds, abs=0.05)
    if end is None:
        in_step(made.path, [122.0])
