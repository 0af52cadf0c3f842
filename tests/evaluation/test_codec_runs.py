"""Runs of codecs in a comparison: evaluated as models are, reused, trained, resumed and refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import pydantic
import pytest
import torch

from tests.evaluation.test_codecs import WORDS, moving
from zoo import CodecOptions, CodedFilm, CodingTerms, FilmCodec
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
    (workspace / record_of(workspace, "whole").run / "film.bin").unlink()
    assert zoo(*WORDS, "--overwrite").code == 0
    assert whole.codings == 5, "a stream that is gone is made again"


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
    with pytest.raises(BadInput, match="x264 is a film codec, not a model"):
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
        (b"bytes", "whole: code returned b'bytes' (bytes); it must be a zoo.CodedFilm"),
        (None, "whole: code returned None; it must be a zoo.CodedFilm"),
        (CodedFilm("text"), "whole: the stream of its zoo.CodedFilm is 'text' (str); it must be"),
        (CodedFilm(b"x", note=3), "whole: the note of its zoo.CodedFilm is 3 (int); it must be"),
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
