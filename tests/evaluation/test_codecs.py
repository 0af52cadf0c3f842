"""Film codecs: their bytes, their frames, and what a comparison makes of them."""

from __future__ import annotations

import gc
import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import pydantic
import pytest
import torch
from zoo_plugins.references.codecs import X264, X265, SvtAv1, VideoCodec

from zoo import CodecOptions, CodedFilm, CodingTerms, FilmCodec
from zoo.api.codec import TOLERANCE
from zoo.base.errors import BadInput, ZooError
from zoo.base.records import Record, Results
from zoo.base.untrusted_files import read_json
from zoo.base.workspace import Workspace
from zoo.cli.options import read_sweep
from zoo.compare.cells import check_options, config_of, plan_cells, sweep_settings
from zoo.evaluation.codec_runs import codec_config, ensure_encoded
from zoo.films.ingested_film import Film, film_from_frames
from zoo.plugins.registry import registry
from zoo.training.settings import Settings

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


class Whole(FilmCodec):
    """Stores frames as they are, or leaves out what the test says; coding is counted."""

    name = "whole"
    summary = "frames as they are"
    codings = 0
    lost = 0

    def code(self, film: Film, terms: CodingTerms) -> CodedFilm:
        type(self).codings += 1
        return CodedFilm(film.store.array.tobytes(), seconds=0.5)

    def decode(self, stream: bytes) -> Iterator[np.ndarray]:
        shape = (-1, self.size.height, self.size.width, 3)
        frames = np.frombuffer(stream, np.uint8).reshape(shape)
        yield from frames[: len(frames) - self.lost]


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> type[Whole]:
    """The only codec beside the model, and PSNR the only metric."""
    monkeypatch.setattr(Whole, "codings", 0)
    known = registry()
    monkeypatch.setattr(known, "codecs", {"whole": Whole})
    monkeypatch.setattr(known, "metrics", {"psnr": known.metrics["psnr"]})
    monkeypatch.setitem(known.origins, "whole", "this test")
    return Whole


def record_of(workspace: Path, model: str) -> Record:
    results = read_json(workspace / "results" / "results.json", Results)
    [record] = [record for record in results.records if record.model == model]
    return record


def test_a_codec_is_evaluated_as_models_are(zoo: Callable, workspace: Path, whole: type) -> None:
    assert zoo(*WORDS).code == 0
    record = record_of(workspace, "whole")
    assert (record.kind, record.role, record.status) == ("codec", "reference", "ok")
    assert record.options == {"bytes_per_frame": 16}
    assert record.latent is not None and record.latent.coded_bytes == 64 * 36 * 3
    assert record.latent.numbers is None and record.latent.decoder_bytes is None
    assert record.note == "6912.0 bytes per frame; 16 were asked for"
    assert {part: s.mean for part, s in record.scores["psnr"].items()} == {
        "seen": 60.0,
        "held_out": 60.0,
    }
    assert record.cost is not None and record.cost.encode is not None
    assert record.cost.encode.median == pytest.approx(120 / 0.5)
    drawn, original = (
        (workspace / "results" / name).read_bytes()
        for name in (record.pictures[-1].reconstruction, record.pictures[-1].original)
    )
    assert drawn == original
    report = (workspace / "results" / "report.md").read_text()
    assert "| whole (codec) |" in report
    assert "(60.00)" in report
    assert "whole: 6912.0 bytes per frame; 16 were asked for." in report


@pytest.mark.slow
def test_an_encoded_film_is_reused_whatever_the_seed_and_budget(
    zoo: Callable, workspace: Path, whole: type[Whole], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert zoo(*WORDS).code == 0
    assert record_of(workspace, "whole").seed == 0
    assert zoo(*WORDS, "--seed", "1", "--batch", "4", "--overwrite").code == 0
    assert whole.codings == 1
    assert record_of(workspace, "whole").seed == 1
    assert "whole" in zoo("runs").out
    assert zoo(*WORDS, "--latent", "8", "--overwrite").code == 0
    assert whole.codings == 2, "other bytes are another coding"
    monkeypatch.setattr(av, "__version__", "99")
    assert zoo(*WORDS, "--overwrite").code == 0
    assert whole.codings == 3, "another PyAV may bring another encoder"
    assert zoo(*WORDS, "--overwrite-runs").code == 0
    assert whole.codings == 4


@pytest.mark.slow
def test_a_codec_that_fails_costs_its_own_cell(
    zoo: Callable, workspace: Path, whole: type[Whole], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Whole, "lost", 1)
    assert zoo(*WORDS).code == 0
    record = record_of(workspace, "whole")
    assert (record.status, record.kind) == ("failed", "codec")
    assert record.reason == "whole gave back 119 frames of 120"
    assert record_of(workspace, "ae").status == "ok"
    monkeypatch.setattr(Whole, "lost", 0)
    assert zoo(*WORDS).code == 0
    assert record_of(workspace, "whole").status == "ok"


def test_a_codec_is_no_model_to_train() -> None:
    assert {"x264", "x265", "svtav1"} <= set(registry().codecs)
    assert not {"x264"} & {*registry().models, *registry().references}
    with pytest.raises(BadInput, match="x264 is a film codec and no model"):
        registry().architecture("x264")


class Trained(Whole):
    """A codec with an option, that trains: what it was given is noted."""

    name = "trained"
    trains = True
    default = False
    given: ClassVar[list[tuple[Any, ...]]] = []

    class Options(CodecOptions):
        hidden: int = pydantic.Field(4, ge=1, description="channels")

    def code(self, film: Film, terms: CodingTerms) -> CodedFilm:
        assert terms.budget is not None
        steps = terms.budget.steps(len(film), terms.batch)
        self.given.append((self.options.hidden, terms.seed, steps, str(terms.device)))
        terms.say(f"step {steps} of {steps}")
        return super().code(film, terms)


@pytest.fixture
def both(whole: type[Whole], monkeypatch: pytest.MonkeyPatch) -> type[Trained]:
    """`whole`, which comes by default, and `trained`, which does not."""
    known = registry()
    monkeypatch.setattr(known, "codecs", {"whole": Whole, "trained": Trained})
    monkeypatch.setitem(known.origins, "trained", "this test")
    monkeypatch.setattr(known, "references", {})
    monkeypatch.setattr(Trained, "given", [])
    return Trained


def cells(models: str, *words: str, seeds: int = 1) -> list[tuple[str, dict[str, Any], int]]:
    """The rows of a comparison: names, options that were set, and seeds."""
    single, several = read_sweep(list(words))
    chosen = Settings.choose("quick", device="cpu", budget="6steps", options=single)
    sweep = sweep_settings(chosen, None, seeds, several)
    named = registry().choose(models)
    check_options(named, sweep)
    film = film_from_frames(np.zeros((4, 54, 96, 3), np.uint8))
    return [
        (cell.architecture.name, config_of(cell).options, config_of(cell).seed)
        for cell in plan_cells([film], named, sweep)
    ]


def test_a_codec_that_is_named_is_the_only_one(both: type[Trained]) -> None:
    assert [name for name, *_ in cells("ae")] == ["ae", "whole"]
    assert [name for name, *_ in cells("ae,trained")] == ["ae", "trained"]
    assert [name for name, *_ in cells("whole,trained")] == ["whole", "trained"]


def test_options_go_to_whose_they_are(both: type[Trained]) -> None:
    found = cells("ae,whole,trained", "width=8", "hidden=2,3")
    assert [(name, o.get("width"), o.get("hidden")) for name, o, _ in found] == [
        ("ae", 8, None),
        ("whole", None, None),
        ("trained", None, 2),
        ("trained", None, 3),
    ]


def test_only_a_codec_that_trains_has_seeds(both: type[Trained]) -> None:
    found = [(name, seed) for name, _, seed in cells("whole,trained", seeds=2)]
    assert found == [("whole", 0), ("trained", 0), ("trained", 1)]


@pytest.mark.parametrize(
    ("models", "word", "reason"),
    [
        ("trained", "hiden=3", "trained: there is no option 'hiden'; there are: hidden"),
        ("whole", "hidden=3", "whole: there is no option 'hidden'; there are: none"),
        ("trained", "hidden=0", "trained, option hidden takes"),
        ("ae,trained", "hiden=3", "ae has no option 'hiden'"),
    ],
)
def test_an_option_that_nobody_has_is_refused(
    models: str, word: str, reason: str, both: type[Trained]
) -> None:
    with pytest.raises(BadInput, match=re.escape(reason)):
        cells(models, word)


def coded(
    workspace: Path, codec: type[FilmCodec], overwrite: bool = False, **settings: Any
) -> Path:
    """Code a short film as a comparison does; return the run's folder."""
    chosen = Settings.choose("quick", device="cpu", budget="6steps", **settings)
    film = moving(4)
    place = Workspace(workspace)
    return ensure_encoded(place, codec_config(codec, film, chosen), film, overwrite).path


def test_a_codec_that_trains_is_given_seed_budget_and_a_place_to_log(
    both: type[Trained], workspace: Path
) -> None:
    folder = coded(workspace, Trained, seed=7, options={"hidden": "9"})
    assert Trained.given == [(9, 7, 6, "cpu")]
    assert (folder / "coding.log").read_text() == "step 6 of 6\n"
    assert coded(workspace, Trained, seed=7, options={"hidden": "9"}) == folder
    assert len(Trained.given) == 1
    assert coded(workspace, Trained, seed=8, options={"hidden": "9"}) != folder
    assert coded(workspace, Trained, seed=7, options={"hidden": "8"}) != folder
    assert len(Trained.given) == 3


class Stopping(Trained):
    """Saves its state, and is interrupted by what the test says."""

    name = "stopping"
    error: ClassVar[type[BaseException] | None] = KeyboardInterrupt
    loaded: ClassVar[list[Any]] = []

    def code(self, film: Film, terms: CodingTerms) -> CodedFilm:
        self.loaded.append(terms.load())
        terms.save({"number": torch.tensor(len(self.loaded)), "same": torch.eye(2)[0]})
        if self.error:
            raise self.error
        return super().code(film, terms)


@pytest.fixture
def stopping(both: type[Trained], monkeypatch: pytest.MonkeyPatch) -> type[Stopping]:
    monkeypatch.setitem(registry().codecs, "stopping", Stopping)
    monkeypatch.setitem(registry().origins, "stopping", "this test")
    monkeypatch.setattr(Stopping, "loaded", [])
    return Stopping


def numbers(loaded: list[Any]) -> list[int | None]:
    return [state and int(state["number"]) for state in loaded]


def test_an_interrupted_coding_gets_what_it_saved_last(
    stopping: type[Stopping], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            coded(workspace, Stopping, seed=7)
    with pytest.raises(KeyboardInterrupt):
        coded(workspace, Stopping, seed=8)
    monkeypatch.setattr(Stopping, "error", None)
    folder = coded(workspace, Stopping, seed=7)
    # Another seed is another run, and each goes on from its own state.
    assert numbers(stopping.loaded) == [None, 1, None, 2]
    assert stopping.loaded[-1]["same"].tolist() == [1, 0]
    assert not (folder / "state.safetensors").exists()
    coded(workspace, Stopping, seed=7)
    assert len(stopping.loaded) == 4


def test_a_coding_that_is_overwritten_or_damaged_does_not_go_on(
    stopping: type[Stopping], workspace: Path
) -> None:
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            coded(workspace, Stopping, overwrite=True)
    assert numbers(stopping.loaded) == [None, None]
    (state,) = workspace.rglob("state.safetensors")
    state.write_bytes(state.read_bytes()[:-5])
    with pytest.raises(BadInput, match=r"state.safetensors is damaged: .*; delete it to start"):
        coded(workspace, Stopping)


def test_only_tensors_are_saved(
    stopping: type[Stopping], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "eye", lambda n: [3])
    with pytest.raises(ZooError, match=r"stopping: terms.save takes tensors by name, not"):
        coded(workspace, Stopping)


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        (b"bytes", "whole: code returned b'bytes' (bytes); it is to be a zoo.CodedFilm"),
        (None, "whole: code returned None; it is to be a zoo.CodedFilm"),
        (CodedFilm("text"), "whole: the stream of its zoo.CodedFilm is 'text' (str); it is to be"),
        (CodedFilm(b"x", note=3), "whole: the note of its zoo.CodedFilm is 3 (int); it is to be"),
        (CodedFilm(b""), "whole: the stream is empty"),
    ],
)
def test_what_a_codec_returns_is_looked_at(
    returned: Any, reason: str, whole: type[Whole], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Whole, "code", lambda self, film, terms: returned)
    with pytest.raises(ZooError, match=re.escape(reason)):
        coded(workspace, Whole)


def test_a_comparison_of_codecs_alone_succeeds(
    zoo: Callable, workspace: Path, both: type[Trained]
) -> None:
    tiny = ("--films", "carphone", "--preset", "quick", "--size", "64x36", "--budget", "6steps")
    rest = ("--device", "cpu", "--on", "inline", "--videos", "0")
    said = zoo("compare", "--models", "trained", "--set", "hidden=2", *tiny, *rest)
    assert said.code == 0, said.out + said.err
    record = record_of(workspace, "trained")
    assert record.options == {"bytes_per_frame": 16, "hidden": 2}
    results = read_json(workspace / "results" / "results.json", Results)
    assert {r.model for r in results.records} == {"trained"}


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
