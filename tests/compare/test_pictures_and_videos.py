"""The pictures and videos of a comparison: which there are, and that each frame is decoded once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from tests.report.synthetic_results import METRICS, record
from zoo.api.codec import FilmCodec
from zoo.api.film_entry import FilmEntry
from zoo.base.errors import ZooError
from zoo.base.records import FilmInfo, Record
from zoo.base.workspace import Workspace
from zoo.compare import pictures_and_videos, side_by_side
from zoo.compare.pictures_and_videos import (
    ChosenFrame,
    choose_frames,
    shown_records,
    with_pictures_and_videos,
)
from zoo.evaluation.inference import Pixels
from zoo.films.ingested_film import Film, film_from_frames
from zoo.plugins.registry import registry
from zoo.reconstruct.source_sound import NO_SOUND
from zoo.reconstruct.write_sound import Sound

RATE = 30000 / 1001


@pytest.fixture
def film() -> Film:
    levels = np.arange(40, dtype=np.uint8) * 6
    frames = np.broadcast_to(levels[:, None, None, None], (40, 32, 32, 3)).copy()
    return film_from_frames(frames, name="alpha", fps=RATE)


@pytest.fixture
def asked(film: Film, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of reconstructed frames; every model inverts the brightness of the film."""
    numbers: list[int] = []

    def reconstructed(
        workspace: Workspace,
        of: Record,
        evaluated_on: Film,
        frames: Iterable[int],
        device: torch.device,
    ) -> Iterator[tuple[int, Pixels]]:
        for number in frames:
            numbers.append(number)
            yield number, 255 - film.store.array[number]

    @contextmanager
    def silent(*_: object, small: bool) -> Iterator[Sound]:
        assert small
        yield Sound(None, "", NO_SOUND)

    monkeypatch.setattr(pictures_and_videos, "reconstructed_frames", reconstructed)
    # The film has no file.
    monkeypatch.setattr(side_by_side, "film_sound", silent)
    return numbers


def test_a_model_without_scores_takes_no_pictures_from_the_others(
    film: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = np.full(len(film), np.nan)
    scores = {"sharp": np.arange(len(film), dtype=np.float64), "blurry": lacking}
    # Nobody has a score of the first frame, such as of motion where a shot begins.
    scores["sharp"][0] = np.nan

    def frame_scores(workspace: Workspace, of: Record, metric: str) -> np.ndarray:
        return scores[of.model]

    monkeypatch.setattr(pictures_and_videos, "frame_scores", frame_scores)
    metric = next(metric for metric in METRICS if metric.name == "psnr")

    def chosen(*models: str) -> list[ChosenFrame]:
        return choose_frames(Workspace(Path()), [record(m, "alpha") for m in models], film, metric)

    assert chosen("sharp", "blurry") == chosen("sharp") != []
    assert 0 not in [each.frame for each in chosen("sharp")]
    assert chosen("blurry") == []


def test_the_best_frame_shows_something_if_any_does(
    film: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The later a frame, the better its score; all are of one colour.
    scores = np.arange(len(film), dtype=np.float64)
    monkeypatch.setattr(pictures_and_videos, "frame_scores", lambda *_: scores)
    metric = next(metric for metric in METRICS if metric.name == "psnr")

    def best() -> int:
        chosen = choose_frames(Workspace(Path()), [record("sharp", "alpha")], film, metric)
        return next(each.frame for each in chosen if each.kind == "best")

    seen = film.split.seen
    assert best() == seen[-1]
    frames = np.array(film.store.array)
    frames[seen[1], ::2], frames[seen[1], 1::2] = 0, 255
    monkeypatch.setitem(vars(film.store), "array", frames)
    assert best() == seen[1]


def run(
    film: Film,
    records: list[Record],
    folder: Path,
    longest: float,
    chosen: Sequence[ChosenFrame] = (),
) -> tuple[list[FilmInfo], list[Record]]:
    return with_pictures_and_videos(
        Workspace(folder),
        [FilmEntry(film.name, (folder / "alpha.mp4",))],
        [film],
        [film.info()],
        records,
        {film.name: chosen},
        folder / "results",
        torch.device("cpu"),
        longest,
    )


def read(path: Path) -> tuple[list[float], list[int], list[bool]]:
    """Each frame's time in frames, its brightness, and whether it stands alone."""
    with av.open(path) as container:
        frames = list(container.decode(video=0))
    at = [float(frame.time or 0) * RATE for frame in frames]
    levels = [int(np.median(frame.to_ndarray(format="rgb24"))) for frame in frames]
    return at, levels, [frame.key_frame for frame in frames]


def test_the_lowest_seed_that_did_not_fail_is_shown(
    film: Film, asked: list[int], tmp_path: Path
) -> None:
    wide = record("sharp", "alpha", seed=1).model_copy(update={"options": {"width": 32}})
    records = [
        record("sharp", "alpha"),
        wide.model_copy(update={"seed": 0, "status": "failed"}),
        wide,
        record("sharp", "alpha", seed=1),
        record("blurry", "alpha").model_copy(update={"trained_on": "beta"}),
        record("still", "alpha").model_copy(update={"status": "failed"}),
    ]
    [info], shown = run(film, records, tmp_path, 60)
    assert info.video == "videos/alpha/original.mp4"
    assert [one.video for one in shown] == [
        "videos/alpha/sharp.mp4",
        None,
        "videos/alpha/sharp-2.mp4",
        None,
        None,
        None,
    ]
    at, levels, keys = read(tmp_path / "results" / info.video)
    assert at == pytest.approx(range(40), abs=0.01)
    assert levels == pytest.approx([6 * n for n in range(40)], abs=2)
    assert max(np.diff(np.flatnonzero([*keys, True]))) <= 12
    _, levels, _ = read(tmp_path / "results" / str(shown[0].video))
    assert levels == pytest.approx([255 - 6 * n for n in range(40)], abs=2)


def test_a_long_film_is_cut_and_no_further_frame_is_decoded(
    film: Film, asked: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "SECONDS", 0.8)
    records = [record(model, "alpha") for model in ("sharp", "blurry", "still")]
    [info], shown = run(film, records, tmp_path, 0.5)
    # The video of the film beside its first two models has its own length.
    assert info.video_start == 4
    assert sorted(asked) == sorted([*range(4, 28)] * 2 + [*range(4, 19)])
    for name in (info.video, *(each.video for each in shown)):
        assert len(read(tmp_path / "results" / str(name))[0]) == 15
    assert info.side_by_side
    with av.open(tmp_path / "results" / info.side_by_side.video) as container:
        assert sum(1 for _ in container.decode(video=0)) == 24


def test_there_are_no_videos_of_no_length(film: Film, asked: list[int], tmp_path: Path) -> None:
    [info], [shown] = run(film, [record("sharp", "alpha")], tmp_path, 0)
    assert info.video is None and shown.video is None and info.side_by_side is None
    assert not (tmp_path / "results" / "videos").exists()


@pytest.mark.parametrize(
    ("longest", "beside", "needed"),
    [
        (0.5, 0.2, [*range(4, 19), 30]),
        (0.1, 0.5, [*range(4, 19), 30]),
        (60, 0.5, [*range(40)]),
        (0, 0.5, [7, 30]),
    ],
)
def test_a_frame_of_a_picture_and_of_the_video_is_decoded_once(
    film: Film,
    asked: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    longest: float,
    beside: float,
    needed: list[int],
) -> None:
    monkeypatch.setattr(side_by_side, "SECONDS", beside)
    chosen = [ChosenFrame(30, "seen", "typical"), ChosenFrame(7, "held_out", "worst")]
    [info], [shown] = run(film, [record("sharp", "alpha")], tmp_path, longest, chosen)
    assert asked == needed
    assert [(each.frame, each.part, each.kind) for each in shown.pictures] == [
        (30, "seen", "typical"),
        (7, "held_out", "worst"),
    ]
    for each in shown.pictures:
        for name, level in (
            (each.original, 6 * each.frame),
            (each.reconstruction, 255 - 6 * each.frame),
        ):
            assert np.all(np.asarray(Image.open(tmp_path / "results" / name)) == level)
    assert (info.video is None) == (shown.video is None) == (longest == 0)
    if shown.video:
        _, levels, _ = read(tmp_path / "results" / shown.video)
        length = min(40, round(30 * longest))
        shown_frames = range(info.video_start, info.video_start + length)
        assert levels == pytest.approx([255 - 6 * n for n in shown_frames], abs=2)


def test_a_codec_decodes_no_further_than_the_last_wanted_frame(
    film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []

    class Codec(FilmCodec):
        name = "x264"

        def decode(self, stream: bytes) -> Iterator[Pixels]:
            for number in range(40):
                decoded.append(number)
                yield film.store.array[number]

    (tmp_path / "stream").write_bytes(b"")
    monkeypatch.setitem(registry().codecs, "x264", Codec)
    monkeypatch.setattr(
        pictures_and_videos, "stream_path", lambda folder, codec: tmp_path / "stream"
    )
    coded = record("sharp", "alpha").model_copy(update={"kind": "codec", "model": "x264"})
    coded = coded.model_copy(update={"run": "runs/x", "options": {"bytes_per_frame": 16}})
    found = pictures_and_videos.reconstructed_frames(
        Workspace(tmp_path), coded, film, [3, 1], torch.device("cpu")
    )
    assert [number for number, _ in found] == [1, 3]
    assert decoded == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("there", "said"),
    [(True, "stream has changed since it was scored: it has no frame 12"), (False, "cannot be")],
)
def test_a_codec_whose_stream_is_gone_or_cut_short_is_named(
    there: bool, said: str, film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Codec(FilmCodec):
        name = "x264"

        def decode(self, stream: bytes) -> Iterator[Pixels]:
            yield from film.store.array[:12]

    path = tmp_path / "stream"
    if there:
        path.write_bytes(b"")
    monkeypatch.setitem(registry().codecs, "x264", Codec)
    monkeypatch.setattr(pictures_and_videos, "stream_path", lambda folder, codec: path)
    coded = record("sharp", "alpha").model_copy(update={"kind": "codec", "model": "x264"})
    coded = coded.model_copy(update={"run": "runs/x", "options": {"bytes_per_frame": 16}})
    with pytest.raises(ZooError, match=said):
        list(
            pictures_and_videos.reconstructed_frames(
                Workspace(tmp_path), coded, film, range(20), torch.device("cpu")
            )
        )


def test_names_of_pictures_and_videos_are_distinct_on_any_disk() -> None:
    def one(model: str, width: int, seed: int = 0, status: str = "ok") -> Record:
        change = {"model": model, "options": {"width": width}, "seed": seed, "status": status}
        return record("sharp", "alpha").model_copy(update=change)

    records = [
        *(one("ae", 8), one("ae", 16), one("ae-2", 8), one("AE", 8), one("original", 8)),
        *(one("con", 8), one("late", 8, 0, "failed"), one("late", 8, 2), one("late", 8, 1)),
    ]
    names = shown_records(records)
    assert list(names.values()) == [
        *("ae", "ae-2", "ae-2-2", "AE-3", "original-2", "_con", "late"),
    ]
    assert list(names) == [0, 1, 2, 3, 4, 5, 8]
    assert len({name.lower() for name in names.values()} | {"original"}) == len(names) + 1
