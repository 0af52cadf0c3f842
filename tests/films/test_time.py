from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.films.making import drifting, encode, opened, rgb
from zoo.base.errors import BadInput
from zoo.base.time_code import FrameTimes, format_time_code, parse_time_code
from zoo.films.frame_store import Join, film_seconds
from zoo.films.pipeline import IngestProgress


def grey_steps(count: int) -> list[np.ndarray]:
    """Frames that show their number: each is a grey ten levels brighter than the one before."""
    return [rgb(64, 36, (10 + 10 * i,) * 3) for i in range(count)]


def numbers(film: object) -> list[int]:
    """The numbers that the frames of `grey_steps` show."""
    means = film.frames.reshape(len(film), -1).mean(axis=1)  # type: ignore[attr-defined]
    return [round((m - 10) / 10) for m in means.tolist()]


def test_variable_rate_keeps_every_frame_and_its_time(tmp_path: Path) -> None:
    pts = [0, 40, 80, 200, 210, 500, 540]
    clip = encode(
        tmp_path / "clip.mkv",
        grey_steps(7),
        codec="ffv1",
        pts=pts,
        time_base=Fraction(1, 1000),
    )
    film = opened(clip, tmp_path)
    assert film.frame_seconds == pytest.approx(np.array(pts) / 1000)
    assert numbers(film) == list(range(7))
    assert film.store.manifest.variable_rate
    assert film.fps == pytest.approx(6 / 0.54)
    assert film.time_code(5) == "00:00:00.500"


def test_even_rate_is_not_called_variable_for_rounded_times(tmp_path: Path) -> None:
    pts = [round(i * 1001 / 24) for i in range(20)]
    clip = encode(
        tmp_path / "clip.mkv", grey_steps(20), codec="ffv1", pts=pts, time_base=Fraction(1, 1000)
    )
    film = opened(clip, tmp_path)
    assert not film.store.manifest.variable_rate
    assert film.fps == pytest.approx(24000 / 1001, rel=1e-3)


@pytest.mark.parametrize(
    ("fps", "kept", "dropped", "repeated"),
    [
        ("12.5", [0, 2, 4, 6, 8, 10], 5, 0),
        ("50", [i // 2 for i in range(21)], 0, 10),
        ("25", list(range(11)), 0, 0),
        ("20", [0, 1, 3, 4, 5, 6, 8, 9, 10], 2, 0),
    ],
)
def test_resampling_counts_what_it_drops_and_repeats(
    tmp_path: Path, fps: str, kept: list[int], dropped: int, repeated: int
) -> None:
    clip = encode(tmp_path / "clip.mkv", grey_steps(11), codec="ffv1")
    film = opened(clip, tmp_path, fps=fps)
    resampled = film.store.manifest.resampled
    assert resampled is not None
    assert (resampled.dropped, resampled.repeated) == (dropped, repeated)
    assert len(film) == 11 - dropped + repeated
    assert np.diff(film.frame_seconds) == pytest.approx(1 / float(fps))
    found = numbers(film)
    # Half-way moments may take either neighbour; nothing is further off than that.
    assert max(abs(a - b) for a, b in zip(found, kept, strict=True)) <= (1 if fps == "20" else 0)


def test_resampling_a_variable_rate_shows_each_frame_for_its_time(tmp_path: Path) -> None:
    clip = encode(
        tmp_path / "clip.mkv",
        grey_steps(4),
        codec="ffv1",
        pts=[0, 100, 400, 500],
        time_base=Fraction(1, 1000),
    )
    film = opened(clip, tmp_path, fps=10)
    assert numbers(film) == [0, 1, 1, 1, 2, 3]


def test_millisecond_times_resample_to_their_own_rate_without_loss(tmp_path: Path) -> None:
    pts = [round(i * 1001 / 24) for i in range(24)]
    clip = encode(
        tmp_path / "clip.mkv", grey_steps(24), codec="ffv1", pts=pts, time_base=Fraction(1, 1000)
    )
    resampled = opened(clip, tmp_path, fps="24000/1001").store.manifest.resampled
    assert resampled is not None and (resampled.dropped, resampled.repeated) == (0, 0)


def test_missing_times_are_continued_at_the_rate(tmp_path: Path) -> None:
    # A bare H.264 stream has no times at all.
    clip = encode(tmp_path / "clip.h264", drifting(64, 36, 20), container_format="h264")
    film = opened(clip, tmp_path)
    assert len(film) == 20
    assert np.diff(film.frame_seconds) == pytest.approx(1 / 25)


@pytest.mark.parametrize("rate", [25, 30, Fraction(24_000, 1001)])
@pytest.mark.parametrize("kind", ["vob", "mpeg", "dvd"])
@pytest.mark.parametrize("options", [{"bf": "2"}, {"bf": "2", "flags": "+ilme+ildct"}])
def test_frames_without_a_time_in_a_program_stream_are_no_damage(
    tmp_path: Path, kind: str, rate: int | Fraction, options: dict[str, str]
) -> None:
    # One time a packet of the stream, which holds several small frames, or parts of them.
    clip = tmp_path / "clip.mpg"
    encode(clip, drifting(64, 36, 60), rate=rate, container_format=kind, options=options)
    film = opened(clip, tmp_path)
    assert film.frame_seconds == pytest.approx(np.arange(60) / float(rate), abs=1e-3)
    assert film.store.manifest.damage.times == 0


def test_times_that_restart_are_repaired(tmp_path: Path) -> None:
    one = encode(tmp_path / "one.ts", drifting(64, 36, 30), rate=25)
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() * 2)
    film = opened(both, tmp_path)
    assert len(film) == 60
    assert np.diff(film.frame_seconds).min() > 0
    assert film.frame_seconds[-1] == pytest.approx(59 / 25, abs=0.1)
    assert film.store.manifest.damage.times >= 1


def test_equal_times_are_moved_apart_without_shifting_the_rest(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    pts = [0, 40, 80, 80, 160, 200]
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 36, "yuvj420p"
        packets = []
        for number, pixels in enumerate(grey_steps(6)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuvj420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for packet, stamp in zip(packets, pts, strict=True):
            packet.time_base = Fraction(1, 1000)
            packet.pts = packet.dts = stamp
            container.mux(packet)
    film = opened(clip, tmp_path)
    assert film.frame_seconds == pytest.approx([0, 0.04, 0.08, 0.1, 0.16, 0.2])
    assert film.store.manifest.damage.times == 1


def test_edit_list_leaves_out_what_players_do_not_show(tmp_path: Path) -> None:
    whole = encode(
        tmp_path / "whole.mp4",
        grey_steps(20),
        options={"bf": "0", "g": "100", "crf": "1"},
    )
    cut = tmp_path / "cut.mp4"
    with (
        av.open(str(whole)) as source,
        av.open(str(cut), "w", options={"avoid_negative_ts": "disabled"}) as target,
    ):
        into = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is None or packet.time_base is None:
                continue
            shift = round(Fraction(5, 25) / packet.time_base)
            packet.pts -= shift
            packet.dts -= shift
            packet.stream = into
            target.mux(packet)
    film = opened(cut, tmp_path)
    assert numbers(film) == list(range(5, 20))
    assert film.frame_seconds[0] == pytest.approx(0, abs=1e-3)


def test_time_is_counted_from_where_the_sound_begins(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    with av.open(str(clip), "w") as container:
        video = container.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 64, 36, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        silence.sample_rate, silence.pts = 8000, 0
        container.mux(sound.encode(silence))
        for number, pixels in enumerate(grey_steps(5)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number + 10, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    assert opened(clip, tmp_path).frame_seconds[0] == pytest.approx(0.4)


def test_from_and_to_keep_the_sources_time(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.mkv", grey_steps(20), codec="ffv1")
    film = opened(clip, tmp_path, start=0.2, stop=0.4)
    assert numbers(film) == [5, 6, 7, 8, 9]
    assert film.frame_seconds[0] == pytest.approx(0.2)


def test_from_far_into_a_film_is_exact(tmp_path: Path) -> None:
    frames = drifting(64, 36, 1200)
    clip = encode(tmp_path / "clip.mp4", frames, options={"g": "100"})
    film = opened(clip, tmp_path, start=40.0, stop=41.0)
    assert film.frame_seconds == pytest.approx(np.arange(1000, 1025) / 25)
    whole = opened(clip, tmp_path / "whole")
    assert np.array_equal(film.frames[0], whole.frames[1000])


def test_nothing_between_from_and_to_is_said(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.mkv", grey_steps(20), codec="ffv1")
    with pytest.raises(BadInput, match="film has fewer than two frames between its from and to"):
        opened(clip, tmp_path, start=5.0)


def test_several_files_are_one_film(tmp_path: Path) -> None:
    first = encode(tmp_path / "1.mkv", grey_steps(10), codec="ffv1")
    second = encode(tmp_path / "2.mkv", grey_steps(5), codec="ffv1", rate=25)
    film = opened([first, second], tmp_path)
    assert numbers(film) == [*range(10), *range(5)]
    assert film.frame_seconds == pytest.approx(np.arange(15) / 25, abs=0.002)
    assert [part.frames for part in film.store.manifest.parts] == [10, 5]
    assert film.source == "1.mkv, 2.mkv"


def test_a_size_that_changes_in_the_middle_is_followed(tmp_path: Path) -> None:
    one = encode(tmp_path / "one.ts", [rgb(128, 72, (250, 250, 250))] * 10)
    two = encode(tmp_path / "two.ts", [rgb(64, 36, (250, 250, 250))] * 10)
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    film = opened(both, tmp_path, "96x54")
    assert len(film) == 20
    assert film.frames[0].min() > 240 and film.frames[19].min() > 240


def test_frames_and_seconds_lead_to_one_another() -> None:
    every = [10.0, 10.04, 10.08, 130.0, 130.04]
    times = FrameTimes.of(every)
    assert times.begins == 10 and times.ends == pytest.approx(130.08)
    assert times.at(5) == times.ends and times.at([1, 3]).tolist() == [10.04, 130.0]
    assert times.frame_at(every).tolist() == [0, 1, 2, 3, 4]
    assert times.frame_at([0, 10.03, 129.9, 130.07, 500]).tolist() == [0, 0, 2, 4, 4]
    sampled = FrameTimes.of([5.0, 5.4, 5.8], [0, 10, 20], 25)
    assert sampled.at([5, 12, 25]) == pytest.approx([5.2, 5.48, 6.0])
    assert sampled.frame_at(5.5) == 12


def test_shots_and_gaps_are_those_of_the_usual_rate_whatever_stills_there_are(
    tmp_path: Path,
) -> None:
    frames = [rgb(64, 36, (40 + 80 * (i // 50 % 2),) * 3) for i in range(200)]
    stamps = [i * 40 + (600_000 if i > 120 else 0) for i in range(200)]
    even = encode(tmp_path / "even.mkv", frames, codec="ffv1")
    still = encode(
        tmp_path / "still.mkv", frames, codec="ffv1", pts=stamps, time_base=Fraction(1, 1000)
    )
    wanted, film = opened(even, tmp_path, holdout=0.2), opened(still, tmp_path / "2", holdout=0.2)
    assert film.fps < 1
    assert film.shots == wanted.shots and len(film.shots) == 4
    assert film.split.gap == wanted.split.gap == 10
    lengths = [film.seconds(shot.start, shot.stop) for shot in film.shots]
    assert lengths == pytest.approx([2, 2, 602, 2])
    assert film.info().begins == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), ("5.25", 5.25), ("01:02", 62), ("00:01:02.480", 62.48), ("2:00:00", 7200)],
)
def test_time_codes_are_read(text: str, seconds: float) -> None:
    assert parse_time_code(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "-1", "1:60", "1:60:00", "a", "1:2:3:4", "nan"])
def test_other_text_is_no_time_code(text: str) -> None:
    with pytest.raises(BadInput, match="HH:MM:SS"):
        parse_time_code(text)


def test_time_codes_are_written_to_the_millisecond() -> None:
    assert format_time_code(62.48) == "00:01:02.480"
    assert format_time_code(3599.9996) == "01:00:00.000"


def with_stamps(path: Path, stamps: Sequence[int]) -> Path:
    """Grey frames with these times, in milliseconds, whatever order they have."""
    codec = {".ts": "mpeg2video", ".mpg": "mpeg2video", ".mov": "mpeg4"}.get(path.suffix, "ffv1")
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = 64, 36, "yuv420p"
        packets = []
        for number, pixels in enumerate(drifting(64, 36, len(stamps))):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            packets += video.encode(frame)
        packets += video.encode(None)
        for number, packet in enumerate(packets):
            packet.time_base = Fraction(1, 1000)
            # Decoding times have to ascend.
            packet.pts, packet.dts = stamps[number], min(stamps[number:])
            container.mux(packet)
    return path


@pytest.mark.parametrize("coding", [{"bf": "3"}, {"bf": "8"}, {"bf": "2", "b-pyramid": "none"}])
@pytest.mark.parametrize("kind", ["avi", "asf"])
def test_times_in_decoding_order_give_an_even_rate_and_no_damage(
    tmp_path: Path, kind: str, coding: dict[str, str]
) -> None:
    frames = drifting(64, 36, 60)
    clip = encode(tmp_path / f"clip.{kind}", frames, options=coding, container_format=kind)
    film = opened(clip, tmp_path)
    assert film.frame_seconds == pytest.approx(np.arange(60) / 25, abs=0.0011)
    assert not film.store.manifest.variable_rate
    assert film.store.manifest.damage.summary == ""


@pytest.mark.parametrize(
    ("codec", "coding"),
    [
        ("mpeg4", {"bf": "2"}),
        ("mpeg2video", {"bf": "2"}),
        ("libx264", {"bf": "0"}),
        ("libx264", {"bf": "2"}),
        ("mjpeg", {}),
        ("ffv1", {}),
    ],
)
def test_the_first_frame_of_an_avi_is_shown_at_once(
    tmp_path: Path, codec: str, coding: dict[str, str]
) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    frames = drifting(64, 36, 30)
    clip = encode(tmp_path / "clip.avi", frames, codec=codec, pix_fmt=pix_fmt, options=coding)
    film = opened(clip, tmp_path)
    assert film.frame_seconds == pytest.approx(np.arange(30) / 25, abs=1e-6)
    later = opened(clip, tmp_path / "later", start=0.4, stop=0.8)
    assert np.array_equal(later.frames[:], film.frames[10:20])


def test_times_in_decoding_order_are_followed_after_from(tmp_path: Path) -> None:
    frames = drifting(64, 36, 1100)
    clip = encode(tmp_path / "clip.avi", frames, options={"bf": "3", "g": "50"})
    film = opened(clip, tmp_path, start=40.0, stop=40.4)
    whole = opened(clip, tmp_path / "whole")
    assert film.frame_seconds == pytest.approx(np.arange(1000, 1010) / 25)
    assert np.array_equal(film.frames[0], whole.frames[1000])


@pytest.mark.parametrize("kind", ["mkv", "mov", "nut"])
def test_a_still_of_minutes_keeps_its_time_where_a_file_has_one_clock(
    tmp_path: Path, kind: str
) -> None:
    stamps = [0, 40, 80, 120_000, 120_040, 600_000]
    film = opened(with_stamps(tmp_path / f"clip.{kind}", stamps), tmp_path)
    assert film.frame_seconds == pytest.approx(np.array(stamps) / 1000)
    assert film.store.manifest.damage.summary == ""


def test_one_time_far_ahead_of_both_its_neighbours_moves_no_other(tmp_path: Path) -> None:
    clip = with_stamps(tmp_path / "clip.mkv", [0, 40, 80, 200_000, 160, 200])
    film = opened(clip, tmp_path)
    assert film.frame_seconds == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 0.2])
    assert film.store.manifest.damage.times == 1


def test_a_leap_of_a_transport_stream_is_joined_and_its_place_is_kept(tmp_path: Path) -> None:
    stamps = [*range(0, 2000, 40), *range(7_200_000, 7_202_000, 40)]
    clip = with_stamps(tmp_path / "clip.ts", stamps)
    film = opened(clip, tmp_path)
    assert np.diff(film.frame_seconds) == pytest.approx(0.04)
    manifest = film.store.manifest
    assert manifest.damage.summary == "1 missing or disordered times repaired"
    (part,) = manifest.parts
    own = [0.0, 1.96, 7200.0, 7201.96]
    found = [film_seconds(one, part.starts, part.joins) for one in own]
    assert found == pytest.approx([0, 1.96, 2.0, 3.96], abs=0.002)


def test_a_clock_that_begins_again_counts_before_the_break() -> None:
    again = [Join(before=29.96, after=0.0, shift=35.0)]
    found = [film_seconds(own, 5.0, again) for own in (0.0, 15.0, 29.98)]
    assert found == pytest.approx([5.0, 20.0, 34.98])


def test_a_bare_stream_without_times_is_not_damaged(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.h264", drifting(64, 36, 20), container_format="h264")
    assert opened(clip, tmp_path).store.manifest.damage.summary == ""


@pytest.mark.parametrize("leap", [100, 72_000])
@pytest.mark.parametrize("kind", ["ts", "mpg"])
def test_a_leap_of_the_clock_does_not_count_as_length(tmp_path: Path, leap: int, kind: str) -> None:
    stamps = [*range(0, 4000, 40), *range(leap * 1000, leap * 1000 + 4000, 40)]
    clip = with_stamps(tmp_path / f"clip.{kind}", stamps)
    reports: list[IngestProgress] = []
    film = opened(clip, tmp_path, progress=reports.append)
    assert len(film) == 200
    assert 150 <= reports[-1].expected <= 250
    assert film.store.manifest.parts[0].duration == pytest.approx(8, rel=0.25)


def test_a_still_counts_as_one_frame_of_the_estimate(tmp_path: Path) -> None:
    clip = with_stamps(tmp_path / "clip.mkv", [0, 40, 80, 600_000])
    reports: list[IngestProgress] = []
    opened(clip, tmp_path, progress=reports.append)
    assert reports[-1].expected == 4


@pytest.mark.parametrize("fps", [None, "24", "12", "30000/1001"])
def test_pictures_in_order_are_a_film_of_the_rate_that_is_given(
    tmp_path: Path, fps: str | None
) -> None:
    files = [tmp_path / f"{number:04d}.png" for number in range(40)]
    for number, path in enumerate(files):
        Image.fromarray(rgb(64, 36, (5 + 5 * number,) * 3)).save(path)
    reports: list[IngestProgress] = []
    film = opened(files, tmp_path, fps=fps, progress=reports.append)
    assert len(film) == 40 and reports[-1].expected == 40
    assert np.diff(film.frame_seconds) == pytest.approx(float(1 / Fraction(fps or 25)))
    means = film.frames.reshape(40, -1).mean(axis=1)
    assert means == pytest.approx(5 + 5 * np.arange(40), abs=1)
