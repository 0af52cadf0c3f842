"""The MP4 writer: times, colours, tags, and no file left after a failure."""

from __future__ import annotations

import gc
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.films.making import rgb, texture
from zoo.base.errors import BadInput, ZooError
from zoo.base.frame_size import FrameSize
from zoo.reconstruct.frame_conversion import Pixels
from zoo.reconstruct.video_writers import Chapter, EncoderSettings, VideoWriter, video_file

SIZE = FrameSize(64, 48)


def read(path: Path) -> tuple[list[float], list[Pixels]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [f.time for f in frames], [f.to_ndarray(format="rgb24") for f in frames]


def psnr(one: Pixels, other: Pixels) -> float:
    return float(10 * np.log10(255**2 / np.square(one.astype(float) - other).mean()))


@pytest.mark.parametrize("codec", EncoderSettings.ENCODERS)
def test_times_colours_and_size_come_back(codec: str, tmp_path: Path) -> None:
    # A rate that varies, with gaps and a first picture that comes late.
    times = [0.04, 0.08, 0.2, 0.24, 1.0, 1.042, 1.084, 3.0]
    colours = [(200, 30, 40), (20, 180, 60), (40, 50, 210), (250, 250, 250)]
    given = [rgb(*SIZE, colours[n % 4]) for n in range(len(times))]
    with video_file(tmp_path / "a.mp4", SIZE, 25, settings=EncoderSettings(codec, 4)) as video:
        for picture, time in zip(given, times, strict=True):
            video.write(picture, time)
    assert video.frames == len(times)
    assert video.seconds == pytest.approx(3.04)
    shown, pictures = read(tmp_path / "a.mp4")
    assert shown == pytest.approx(times, abs=1e-5)
    for one, other in zip(pictures, given, strict=True):
        # The reader's own conversion is off by up to two levels.
        assert np.abs(one.astype(int) - other).mean() < 2.5


@pytest.mark.parametrize("codec", EncoderSettings.ENCODERS)
def test_an_interrupted_encoding_prints_nothing(
    codec: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        with video_file(tmp_path / "a.mp4", SIZE, 25, settings=EncoderSettings(codec)) as video:
            for _ in range(4):
                video.write(rgb(*SIZE, (200, 30, 40)))
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        interrupted()
    gc.collect()  # an encoder is put away with the last that holds it
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_colours_are_those_of_bt709(tmp_path: Path) -> None:
    colour = np.array([200, 30, 90])
    with video_file(tmp_path / "a.mp4", SIZE, 25, settings=EncoderSettings(crf=1)) as video:
        video.write(rgb(*SIZE, colour.tolist()))
    with av.open(str(tmp_path / "a.mp4")) as container:
        planes = next(container.decode(video=0)).to_ndarray()
    luma = colour @ [0.2126, 0.7152, 0.0722]
    blue, red = (colour[2] - luma) / 1.8556, (colour[0] - luma) / 1.5748
    assert planes[:48].mean() == pytest.approx(16 + luma * 219 / 255, abs=0.6)
    assert planes[48:60].mean() == pytest.approx(128 + blue * 224 / 255, abs=0.6)
    assert planes[60:].mean() == pytest.approx(128 + red * 224 / 255, abs=0.6)


@pytest.mark.parametrize("codec", EncoderSettings.ENCODERS)
@pytest.mark.parametrize("count", [1, 2])
def test_the_shortest_films_are_written(codec: str, count: int, tmp_path: Path) -> None:
    with video_file(tmp_path / "a.mp4", SIZE, 25, settings=EncoderSettings(codec)) as video:
        for number in range(count):
            video.write(texture(*SIZE, seed=number))
    assert read(tmp_path / "a.mp4")[0] == pytest.approx([n / 25 for n in range(count)])


@pytest.mark.parametrize(
    "rate", [24, Fraction(24000, 1001), Fraction(30000, 1001), 12.5, 1 / 60, 1 / 3000]
)
def test_without_times_frames_follow_at_the_rate(rate: Fraction | float, tmp_path: Path) -> None:
    with video_file(tmp_path / "a.mp4", SIZE, rate) as video:
        for number in range(30):
            video.write(texture(*SIZE, seed=number))
    shown, _ = read(tmp_path / "a.mp4")
    # What is shown for more than five minutes is in the file every five minutes.
    copies = max(1, round(1 / rate / 300))
    times = [n / rate + 300 * copy for n in range(30) for copy in range(copies)]
    assert shown == pytest.approx(times, abs=1e-6)


@pytest.mark.parametrize("codec", EncoderSettings.ENCODERS)
def test_frames_many_hours_apart_are_shown_until_the_next(codec: str, tmp_path: Path) -> None:
    """MP4 and the encoders count the ticks from frame to frame in 32 bits."""
    times = [0.0, 0.04, 18_000.0, 54_000.5, 54_000.54, 90_000.0]
    with video_file(
        tmp_path / "a.mp4", SIZE, 6 / 9e4, settings=EncoderSettings(codec), ends=126_000.0
    ) as video:
        for number, time in enumerate(times):
            video.write(rgb(*SIZE, (40 * number,) * 3), time)
    assert (video.frames, video.seconds) == (6, 126_000.0)
    shown, pictures = read(tmp_path / "a.mp4")
    assert np.isin(np.round(times, 5), np.round(shown, 5)).all()
    numbers = np.searchsorted(times, np.array(shown) + 1e-5) - 1
    assert [round(float(one.mean()) / 40) for one in pictures] == numbers.tolist()
    assert shown[-1] >= 126_000 - 300


def test_stills_of_years_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ZooError, match="more than a year"),
        video_file(tmp_path / "a.mp4", SIZE, 25) as video,
    ):
        for time in (0.0, 1e9):
            video.write(texture(*SIZE), time)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("codec", EncoderSettings.ENCODERS)
def test_a_film_of_many_hours_can_be_begun(codec: str, tmp_path: Path) -> None:
    """The rest of the film is not the length of a frame, which MP4 has 31 bits for."""
    with video_file(
        tmp_path / "a.mp4", SIZE, 25, settings=EncoderSettings(codec), ends=6 * 3600.0
    ) as video:
        for number in range(60):
            video.write(texture(*SIZE, seed=number), number / 25)
    assert read(tmp_path / "a.mp4")[0][:60] == pytest.approx([n / 25 for n in range(60)])


@pytest.mark.parametrize("codec", EncoderSettings.ENCODERS)
@pytest.mark.parametrize("ends", [4.02, 9.0, 64.5])
def test_the_last_frame_is_shown_until_the_end(codec: str, ends: float, tmp_path: Path) -> None:
    """After a long still, whatever the mean rate is."""
    times = [0.0, 0.04, 0.08, 0.12, 3.92, 3.96, 4.0]
    with video_file(
        tmp_path / "a.mp4", SIZE, 7 / 4.04, settings=EncoderSettings(codec), ends=ends
    ) as video:
        for number, time in enumerate(times):
            video.write(texture(*SIZE, seed=number), time)
    assert video.seconds == pytest.approx(ends)
    assert read(tmp_path / "a.mp4")[0] == pytest.approx(times, abs=1e-4)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(ends, abs=1e-4)


def test_the_file_says_what_it_is_and_plays_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    chapters = [Chapter(0, 0.5, "one"), Chapter(0.5, 1, "zwei: ü")]
    tags = {"title": "Film ü", "comment": "drawn from 16 numbers per frame", "copyright": "CC BY"}
    with video_file(path, SIZE, 25, tags=tags, chapters=chapters) as video:
        for number in range(25):
            video.write(texture(*SIZE, seed=number))
    with av.open(str(path)) as container:
        assert tags.items() <= container.metadata.items()
        read_back = [
            (c["start"] * c["time_base"], c["metadata"]["title"]) for c in container.chapters()
        ]
        assert read_back == [(0, "one"), (Fraction(1, 2), "zwei: ü")]
        context = container.streams.video[0].codec_context
        assert (context.name, context.profile, context.pix_fmt) == ("h264", "High", "yuv420p")
        colours = (context.colorspace, context.color_range, context.color_primaries,
                   context.color_trc)  # fmt: skip
        assert colours == (1, 1, 1, 1)  # BT.709 throughout, limited range
    written = path.read_bytes()
    assert written.find(b"moov") < written.find(b"mdat")


def test_h265_has_the_tag_that_quicktime_needs(tmp_path: Path) -> None:
    with video_file(tmp_path / "a.mp4", SIZE, 25, settings=EncoderSettings("libx265")) as video:
        video.write(texture(*SIZE))
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


def test_a_soft_frame_loses_little(tmp_path: Path) -> None:
    down, across = np.mgrid[:48, :64]
    picture = np.stack([across * 4, down * 5, 255 - across * 2 - down], -1).astype(np.uint8)
    with video_file(tmp_path / "a.mp4", SIZE, 25, settings=EncoderSettings(crf=1)) as video:
        video.write(picture)
    _, (back,) = read(tmp_path / "a.mp4")
    assert psnr(back, picture) > 40


def test_odd_sides_get_one_more_row_and_column(tmp_path: Path) -> None:
    picture = texture(63, 47)
    with video_file(
        tmp_path / "a.mp4", FrameSize(63, 47), 25, settings=EncoderSettings(crf=1)
    ) as video:
        video.write(picture)
    _, (back,) = read(tmp_path / "a.mp4")
    assert back.shape == (48, 64, 3)
    assert psnr(back[:47, :63], picture) > 30
    assert np.abs(back[:, 63].astype(int) - back[:, 62]).mean() < 5


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("codec", EncoderSettings.ENCODERS)
def test_what_is_cut_short_leaves_nothing(
    codec: str, failure: type[BaseException], tmp_path: Path
) -> None:
    def draw(video: VideoWriter) -> None:
        for number in range(80):
            video.write(texture(*SIZE, seed=number))
        raise failure

    with (
        pytest.raises(failure),
        video_file(tmp_path / "a.mp4", SIZE, 25, settings=EncoderSettings(codec)) as video,
    ):
        draw(video)
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"older")
    with pytest.raises(ValueError, match="64x48"), video_file(path, SIZE, 25) as video:
        video.write(texture(*SIZE))
        video.write(texture(62, 48))
    assert path.read_bytes() == b"older"
    with video_file(path, SIZE, 25) as video:
        video.write(texture(*SIZE))
        assert path.read_bytes() == b"older"
    assert len(read(path)[0]) == 1


def test_times_that_do_not_ascend_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ascend"), video_file(tmp_path / "a.mp4", SIZE, 25) as v:
        v.write(texture(*SIZE), 0.5)
        v.write(texture(*SIZE), 0.5)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("h264",), "libx264, libx265, libsvtav1"),
        (("libx264", 0), "from 1 to 51; not 0"),
        (("libsvtav1", 64), "from 1 to 63; not 64"),
        (("libx264", None, "quick"), "no preset 'quick'; it has: ultrafast"),
        (("libsvtav1", None, "slow"), "no preset 'slow'; it has: 0, 1"),
    ],
)
def test_wrong_encoder_settings_are_refused(wrong: tuple, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        EncoderSettings(*wrong)


def test_another_container_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(BadInput, match=r"must end in \.mp4"),
        video_file(tmp_path / "a.mkv", SIZE, 25),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "chapters",
    [
        [(0.5, 0.6), (0.8, 1.0)],
        [(0.0, 0.2), (0.2, 0.4), (0.9, 1.0)],
        [(0.3, 1.0)],
        [(n / 500, n / 500 + 0.001) for n in range(400)],
    ],
)
def test_chapters_begin_where_they_begin(chapters: list, tmp_path: Path) -> None:
    """MP4 has no holes between them: each begins where the one before ends."""
    named = [Chapter(*one, f"chapter {n}") for n, one in enumerate(chapters)]
    with video_file(tmp_path / "a.mp4", SIZE, 25, chapters=named) as video:
        for number in range(25):
            video.write(texture(*SIZE, seed=number))
    with av.open(str(tmp_path / "a.mp4")) as container:
        found = [
            (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]))
            for c in container.chapters()
            if c["metadata"].get("title")
        ]
    assert found == [pytest.approx(one, abs=1e-4) for one in chapters]


def test_an_error_in_reading_is_not_reported_as_one_in_writing(tmp_path: Path) -> None:
    with (
        pytest.raises(av.error.ArgumentError),
        video_file(tmp_path / "a.mp4", SIZE, 25) as video,
    ):
        video.write(texture(*SIZE))
        raise av.error.ArgumentError(22, "Invalid argument")
    assert list(tmp_path.iterdir()) == []
