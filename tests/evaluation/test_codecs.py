"""Film codecs: the bytes that they take, and the frames that come back."""

from __future__ import annotations

import gc
import itertools
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import pytest
from zoo_plugins.references.codecs import X264, X265, SvtAv1, VideoCodec

from zoo import CodedFilm, CodingTerms, FilmCodec
from zoo.api.codec import TOLERANCE
from zoo.base.errors import BadInput, ZooError
from zoo.base.records import Results
from zoo.base.untrusted_files import read_json
from zoo.films.ingested_film import Film, film_from_frames

CODECS = pytest.mark.parametrize("codec", [X264, X265, SvtAv1], ids=lambda codec: codec.name)
COLOURS = [
    *((255, 255, 255), (255, 255, 0), (0, 255, 255), (0, 255, 0)),
    *((255, 0, 255), (255, 0, 0), (0, 0, 255), (0, 0, 0)),
]
WORDS = (
    *("compare", "--films", "carphone", "--models", "ae", "--preset", "quick", "--size", "64x36"),
    *("--set", "width=8", "--budget", "6steps", "--device", "cpu", "--on", "inline"),
)


def moving(frames: int = 24, width: int = 96, height: int = 54) -> Film:
    """Noise that slides sideways by two pixels per frame, over a brightness that rises."""
    noise = np.random.default_rng(0).integers(0, 160, (height, width + 2 * frames, 3))
    shown = [noise[:, 2 * i : 2 * i + width] + 2 * i for i in range(frames)]
    return film_from_frames(np.stack(shown).astype(np.uint8), name="moving")


def bars(width: int, height: int) -> Film:
    frame = np.zeros((height, width, 3), np.uint8)
    for number, colour in enumerate(COLOURS):
        frame[:, number * width // 8 : (number + 1) * width // 8] = colour
    return film_from_frames(np.stack([frame] * 8), name="bars")


def terms(bytes_per_frame: float) -> CodingTerms:
    return CodingTerms(bytes_per_frame)


@CODECS
def test_an_interrupted_coding_prints_nothing(
    codec: type[VideoCodec], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    given = iter(range(10))

    def even(frame: np.ndarray) -> np.ndarray:
        if next(given, None) is None:
            raise KeyboardInterrupt
        return frame

    monkeypatch.setattr("zoo_plugins.references.codecs._even", even)
    film = moving()
    with suppress(KeyboardInterrupt):
        codec(film.size).code(film, terms(100))
    gc.collect()  # an encoder is put away with the last that holds it
    assert next(given, None) is None and capfd.readouterr() == ("", "")


def decoded(codec: FilmCodec, coded: CodedFilm) -> np.ndarray:
    return np.stack(list(codec.decode(coded.stream)))


@CODECS
def test_a_stream_has_the_bytes_that_were_asked_for(codec: type[VideoCodec]) -> None:
    film = moving()
    coded = codec(film.size).code(film, terms(600))
    assert len(coded.stream) / len(film) == pytest.approx(600, rel=TOLERANCE)
    assert coded.note == ""
    assert coded.seconds is not None and coded.seconds > 0


@CODECS
def test_frames_come_back_in_order_and_number(codec: type[VideoCodec]) -> None:
    film = moving()
    frames = decoded(codec(film.size), codec(film.size).code(film, terms(1500)))
    assert frames.shape == film.store.array.shape
    errors = np.abs(frames[:, None].astype(float) - film.store.array[None]).mean(axis=(2, 3, 4))
    assert (errors.argmin(axis=1) == np.arange(len(film))).all()


@CODECS
@pytest.mark.parametrize("size", [(96, 54), (97, 55)], ids=["even", "odd"])
def test_colours_are_right(codec: type[VideoCodec], size: tuple[int, int]) -> None:
    film = bars(*size)
    frames = decoded(codec(film.size), codec(film.size).code(film, terms(50_000))).astype(int)
    assert frames.shape == film.store.array.shape
    edges = np.arange(9) * size[0] // 8
    inside = np.concatenate(
        [np.arange(left + 4, right - 4) for left, right in itertools.pairwise(edges)]
    )
    assert np.abs(frames - film.store.array)[:, :, inside].max() <= 2


@CODECS
def test_the_stream_says_its_colours_and_carries_no_advertisement(
    codec: type[VideoCodec], tmp_path: Path
) -> None:
    film = moving()
    coded = codec(film.size).code(film, terms(600))
    path = tmp_path / f"film.{codec.suffix}"
    path.write_bytes(coded.stream)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert (int(frame.colorspace), int(frame.color_range)) == (1, 1), "BT.709, limited"
    assert b"options:" not in coded.stream


@CODECS
def test_what_cannot_be_reached_is_said(codec: type[VideoCodec]) -> None:
    film = moving()
    least = codec(film.size).code(film, terms(2))
    assert (
        least.note
        == f"{len(least.stream) / 24:.1f} bytes per frame is the least {codec.name} gives here"
    )
    still = film_from_frames(np.zeros((12, 54, 96, 3), np.uint8))
    most = codec(still.size).code(still, terms(5000))
    assert "is the most" in most.note
    assert len(most.stream) < 5000 * 12


def test_the_search_brackets_its_target_and_ends() -> None:
    class Steps(VideoCodec):
        name, coarsest, first, grid = "steps", 50.0, 40.0, 1.0
        tried: ClassVar[list[float]] = []

        def _coded(self, film: Film, quality: float) -> bytes:
            self.tried.append(quality)
            # Two lengths with a gap between them: no quality gives what is asked for.
            return bytes(9000 if quality < 23 else 5000)

    film = moving(10)
    coded = Steps(film.size).code(film, terms(700))
    assert len(coded.stream) == 5000 and len(Steps.tried) <= 9
    assert {22.0, 23.0} <= set(Steps.tried)
    assert coded.note == "500.0 bytes per frame is the nearest steps came"


def test_an_encoder_that_is_missing_or_refuses_says_so() -> None:
    class Missing(X264):
        encoder = "libnothing"

    class Refuses(X264):
        def settings(self, quality: float, threads: int) -> dict[str, str]:
            return {"preset": "no such preset"}

    film = moving(4)
    with pytest.raises(ZooError, match="this build of FFmpeg has no encoder libnothing"):
        Missing(film.size).code(film, terms(100))
    with pytest.raises(ZooError, match="libx264 refuses moving at 96x54"):
        Refuses(film.size).code(film, terms(100))


def test_the_codec_in_the_docs_works() -> None:
    page = (Path(__file__).parents[2] / "docs" / "references.md").read_text(encoding="utf-8")
    [code] = [part.split("```")[0] for part in page.split("```python\n")[1:]]
    namespace: dict[str, Any] = {"__name__": "codec_in_the_docs"}
    exec(code, namespace)
    [codec] = namespace["zoo_references"]()
    film = moving(4)
    assert (
        decoded(codec(film.size), codec(film.size).code(film, terms(16))) == film.store.array
    ).all()


def test_results_of_another_schema_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"schema_version": 1, "records": []}')
    with pytest.raises(BadInput, match=r"results\.json was written by a film-zoo with schema 1"):
        read_json(tmp_path / "results.json", Results)
