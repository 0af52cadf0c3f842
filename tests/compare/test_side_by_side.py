"""The video of a film beside its first two models, with its sound, and its contact sheet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from tests.films.making import encode
from tests.reconstruct.flashing_film import flashing_film, seen_and_heard
from tests.report.synthetic_results import record
from zoo.api.film_entry import FilmEntry
from zoo.base.frame_size import FrameSize
from zoo.base.records import FilmInfo, Record
from zoo.base.workspace import Workspace
from zoo.compare import pictures_and_videos, side_by_side
from zoo.compare.pictures_and_videos import with_pictures_and_videos
from zoo.compare.side_by_side import most_bits, video_start, write_sheet
from zoo.evaluation.inference import Pixels
from zoo.films.ingest import open_film
from zoo.films.ingested_film import Film, film_from_frames

FRAME = 1 / 25
TIMES = [n * FRAME for n in range(75)]
FLASHES = [0.4, 1.6, 2.6]
SIZE = FrameSize(64, 48)
LEVELS = {"mean": 30, "blurry": 90, "sharp": 150, "third": 210}


def one(model: str, role: str = "model", seed: int = 0, status: str = "ok") -> Record:
    return record("sharp", "film", seed=seed).model_copy(
        update={"model": model, "role": role, "status": status, "trained_on": "film"}
    )


@dataclass
class Made:
    """The results folder of a comparison on one film."""

    folder: Path
    info: FilmInfo

    @property
    def video(self) -> Path:
        assert self.info.side_by_side is not None
        return self.folder / self.info.side_by_side.video

    def seconds(self) -> tuple[float, float]:
        """How long its pictures and its sound are; 0 without sound."""
        with av.open(self.video) as container:
            [stream] = container.streams.video
            assert stream.duration and stream.time_base
            sound = (
                sum(f.samples / f.sample_rate for f in container.decode(audio=0))
                if (container.streams.audio)
                else 0.0
            )
            return float(stream.duration * stream.time_base), sound


def compared(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    files: Sequence[Path],
    records: Sequence[Record] = (one("sharp"),),
    *,
    levels: bool = False,
    longest: float = 60,
    size: FrameSize = SIZE,
    lost: bool = False,
    **of_entry: float,
) -> Made:
    """Compare models that reconstruct the film as it is, or as one of `LEVELS`."""

    def reconstructed(
        workspace: Workspace, of: Record, film: Film, frames: Iterable[int], device: torch.device
    ) -> Iterator[tuple[int, Pixels]]:
        for number in frames:
            frame = film.store.array[number]
            yield number, np.full_like(frame, LEVELS[of.model]) if levels else frame

    monkeypatch.setattr(pictures_and_videos, "reconstructed_frames", reconstructed)
    entry = FilmEntry("film", tuple(files), crop="none", **of_entry)
    film = open_film(entry, size, Workspace(folder))
    if lost:
        for path in files:
            path.unlink()
    [info], _ = with_pictures_and_videos(
        Workspace(folder),
        [entry],
        [film],
        [film.info()],
        list(records),
        {film.name: []},
        folder / "results",
        torch.device("cpu"),
        longest,
    )
    return Made(folder / "results", info)


def test_the_film_is_followed_by_the_first_two_models_in_the_order_of_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [
        *(one("blurry", seed=0, status="failed"), one("blurry", seed=1), one("sharp")),
        *(one("third"), one("mean", "reference")),
    ]
    source = flashing_film(tmp_path / "a.mp4", [], times=TIMES[:20])
    made = compared(monkeypatch, tmp_path, [source], records, levels=True)
    assert made.info.side_by_side is not None
    assert made.info.side_by_side.panels == ["original", "blurry", "sharp"]
    assert made.info.side_by_side.video == "videos/film/side-by-side.mp4"
    with av.open(made.video) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert len(frames) == 20
    height, width, _ = frames[0].shape
    assert width == 3 * SIZE.width + 2 * 4 and SIZE.height < height < 2 * SIZE.height
    for frame in frames:
        panels = [frame[-SIZE.height :, 68 * n : 68 * n + SIZE.width] for n in range(3)]
        assert np.ptp(panels[0][8:-8, 8:-8]) > 30
        for panel, level in zip(panels[1:], (90, 150), strict=True):
            assert np.abs(panel[4:-4, 4:-4].astype(int) - level).max() < 8


@pytest.mark.parametrize(
    ("records", "panels"),
    [
        ([one("sharp"), one("mean", "reference")], ["original", "sharp"]),
        ([one("sharp"), one("sharp", seed=1)], ["original", "sharp"]),
        ([one("mean", "reference")], ["original", "mean"]),
        ([one("sharp", status="failed")], None),
        ([], None),
    ],
)
def test_references_are_beside_the_film_only_where_there_is_no_model(
    records: list[Record],
    panels: list[str] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = flashing_film(tmp_path / "a.mp4", [], times=TIMES[:5], audio=None)
    made = compared(monkeypatch, tmp_path, [source], records)
    found = made.info.side_by_side
    assert (found and found.panels) == panels
    assert (made.folder / "videos/film/side-by-side.mp4").exists() == bool(panels)
    assert (made.folder / "videos/film/original.mp4").exists()


@pytest.mark.parametrize(
    ("audio", "suffix"), [("aac", "mp4"), ("libopus", "mkv"), ("pcm_s16le", "mkv")]
)
def test_sound_is_in_sync_and_as_long_as_the_video(
    audio: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = flashing_film(tmp_path / f"a.{suffix}", FLASHES, times=TIMES, audio=audio)
    made = compared(monkeypatch, tmp_path, [source])
    assert made.info.side_by_side is not None
    assert (made.info.side_by_side.sound, made.info.side_by_side.why_silent) == (True, None)
    video, sound = made.seconds()
    assert video == pytest.approx(3.0, abs=0.001)
    assert sound == pytest.approx(video, abs=0.05)
    seen, heard = seen_and_heard(made.video)
    assert seen == pytest.approx(FLASHES, abs=0.001)
    assert heard == pytest.approx(FLASHES, abs=FRAME / 2)


def test_of_a_long_film_the_opening_is_left_out_and_sound_ends_with_the_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "SECONDS", 2.0)
    source = flashing_film(tmp_path / "a.mp4", FLASHES, times=TIMES)
    made = compared(monkeypatch, tmp_path, [source])
    video, sound = made.seconds()
    assert video == pytest.approx(2.0, abs=0.001)
    assert sound == pytest.approx(video, abs=0.05)
    seen, heard = seen_and_heard(made.video)
    assert heard == pytest.approx(seen, abs=FRAME / 2)
    # The first flash begins a shot, in the second tenth; the last one is beyond the end.
    assert seen == pytest.approx([0, 1.2], abs=0.001)
    assert made.info.side_by_side is not None
    assert made.info.side_by_side.time_code == "00:00:00.400"


def test_sound_fits_a_part_of_several_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [
        flashing_film(tmp_path / f"{n}.mkv", FLASHES, times=TIMES, audio="ac3") for n in range(2)
    ]
    made = compared(monkeypatch, tmp_path, files, start=1.2, stop=4.0)
    video, sound = made.seconds()
    # A file lasts as long as its sound, whose last packet is not whole.
    assert video == pytest.approx(2.8, abs=0.02)
    assert sound == pytest.approx(video, abs=0.05)
    seen, heard = seen_and_heard(made.video)
    assert seen == pytest.approx([0.4, 1.4, 2.2], abs=0.02)
    assert heard == pytest.approx(seen, abs=FRAME / 2)


def test_sound_is_in_sync_where_the_rate_varies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [*TIMES[:30], *(1.2 + n * 0.1 for n in range(15))]
    source = flashing_film(tmp_path / "a.mkv", [0.4, 2.2], times=times)
    made = compared(monkeypatch, tmp_path, [source])
    seen, heard = seen_and_heard(made.video)
    assert seen == pytest.approx([0.4, 2.2], abs=0.002)
    assert heard == pytest.approx(seen, abs=FRAME / 2)


@pytest.mark.parametrize("lost", [False, True])
def test_a_film_without_sound_has_no_track_and_one_whose_sound_is_lost_says_why(
    lost: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = "aac" if lost else None
    source = flashing_film(tmp_path / "a.mp4", FLASHES, times=TIMES[:30], audio=audio)
    made = compared(monkeypatch, tmp_path, [source], lost=lost)
    found = made.info.side_by_side
    assert found is not None and not found.sound
    assert bool(found.why_silent) == lost
    if found.why_silent:
        assert "a.mp4" in found.why_silent and "left out" not in found.why_silent
    video, sound = made.seconds()
    assert (video, sound) == (pytest.approx(1.2, abs=0.001), 0.0)


def test_sound_that_begins_after_the_video_is_not_called_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "SECONDS", 1.0)
    source = flashing_film(tmp_path / "a.mkv", [2.6], times=TIMES, sound_begins=2.0)
    made = compared(monkeypatch, tmp_path, [source])
    assert made.info.side_by_side is not None
    assert made.info.side_by_side.why_silent == "its aac has no sound in this part of the film"


def test_the_limit_is_in_seconds_also_where_the_rate_varies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "SECONDS", 2.2)
    times = [*(n * 0.5 for n in range(10)), *(5 + n * FRAME for n in range(75))]
    source = flashing_film(tmp_path / "a.mkv", [1.0], times=times)
    made = compared(monkeypatch, tmp_path, [source])
    video, sound = made.seconds()
    assert video == pytest.approx(2.2, abs=0.001)
    assert sound == pytest.approx(video, abs=0.05)


def test_a_film_with_most_of_an_hour_between_its_frames_has_its_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = flashing_film(tmp_path / "a.mkv", [], times=[0, 3000], audio=None)
    made = compared(monkeypatch, tmp_path, [source])
    assert made.info.video and (made.folder / made.info.video).stat().st_size
    assert made.seconds() == (pytest.approx(side_by_side.SECONDS, abs=0.001), 0.0)


@pytest.mark.parametrize(
    ("shots", "length", "start"),
    [
        ([0, 30, 60], 20, 10),  # within a long shot
        ([0, 12, 18, 60], 20, 12),  # the first shot after the opening
        ([0, 9, 20], 20, 10),  # no shot begins in the second tenth
        ([0, 12, 60], 95, 5),  # no later than leaves the length
        ([0, 12, 60], 100, 0),
        ([0, 12, 60], 200, 0),
    ],
)
def test_videos_begin_after_the_opening_of_a_film_that_is_longer(
    shots: list[int], length: int, start: int
) -> None:
    film = film_from_frames(np.zeros((100, 8, 8, 3), dtype=np.uint8), name="film", fps=25)
    stops = [*shots[1:], 100]
    cut = tuple(
        replace(film.shots[0], start=begin, stop=stop)
        for begin, stop in zip(shots, stops, strict=True)
    )
    assert video_start(replace(film, shots=cut), length) == start


def test_the_videos_of_rows_begin_where_the_film_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0)
    frames = [np.full((48, 64, 3), level, np.uint8) for level in noise.integers(40, 200, 75)]
    source = encode(tmp_path / "a.mkv", frames)
    made = compared(monkeypatch, tmp_path, [source], longest=1)
    start = made.info.video_start
    assert 8 <= start < 15 and made.info.video
    with av.open(made.folder / made.info.video) as container:
        shown = [f.to_ndarray(format="rgb24").mean() for f in container.decode(video=0)]
    assert shown == pytest.approx([frame.mean() for frame in frames[start : start + 25]], abs=4)


def test_noise_with_sound_keeps_to_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 20.9 * most_bits(FrameSize(256, 144), 3) / 8 + 20 * 2 * 48_000 / 8 < 1_400_000
    assert most_bits(FrameSize(512, 288), 3) == 4 * most_bits(FrameSize(256, 144), 3)
    seconds, size = 3, FrameSize(256, 144)
    noise = np.random.default_rng(0)
    frames = (noise.integers(0, 256, (144, 256, 3), dtype=np.uint8) for _ in range(25 * seconds))
    pictures = encode(tmp_path / "pictures.mkv", frames)
    source = tmp_path / "a.mkv"
    hiss = noise.integers(-20_000, 20_000, (1, 2 * 48_000 * seconds)).astype(np.int16)
    with av.open(source, "w") as container, av.open(pictures) as given:
        video = container.add_stream_from_template(given.streams.video[0])
        track = container.add_stream("pcm_s16le", rate=48_000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(hiss, "s16", "stereo")
        frame.sample_rate, frame.pts = 48_000, 0
        container.mux(track.encode(frame))
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                container.mux(packet)
    records = [one("sharp"), one("blurry")]
    made = compared(monkeypatch, tmp_path, [source], records, size=size)
    assert made.seconds()[1] == pytest.approx(seconds, abs=0.05)
    assert made.video.stat().st_size < 1_500_000 * (seconds + 0.9) / 20.9


def test_a_contact_sheet_is_small_and_shows_no_more_than_some_shots(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 36, 64, 3), dtype=np.uint8)
    film = film_from_frames(noise, name="film", fps=25)
    sizes = []
    for count in (120, side_by_side.MOST_SHOTS, 3):
        step = len(film) // count
        shots = tuple(
            replace(
                film.shots[0], start=n * step, stop=len(film) if n == count - 1 else (n + 1) * step
            )
            for n in range(count)
        )
        path = tmp_path / f"{count}.webp"
        write_sheet(replace(film, shots=shots), path)
        assert path.stat().st_size < 300_000
        with Image.open(path) as picture:
            sizes.append(picture.size)
    assert sizes[0] == sizes[1] != sizes[2]


def test_every_film_has_a_contact_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = flashing_film(tmp_path / "a.mp4", [], times=TIMES[:20])
    made = compared(monkeypatch, tmp_path, [source], longest=0)
    assert made.info.side_by_side is None
    assert made.info.sheet == "figures/sheet-film.webp"
    with Image.open(made.folder / made.info.sheet) as picture:
        assert picture.format == "WEBP" and picture.width > 240
