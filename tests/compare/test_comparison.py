"""What a comparison finds again, what it makes again, and what it survives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.report.synthetic_results import failed
from tests.report.synthetic_results import record as a_record
from zoo.api.metric import Metric, Unavailable
from zoo.base.records import Record, Results
from zoo.base.untrusted_files import read_json
from zoo.compare.comparison import with_known_devices
from zoo.compare.results import _metric_infos
from zoo.compare.tasks import NOT_KNOWN, load_metrics
from zoo.evaluation.metrics import MetricSet
from zoo.plugins.registry import registry
from zoo.report.aggregate import environment_key, machine_key

WORDS = (
    *("compare", "--films", "carphone", "--models", "ae", "--preset", "quick", "--size", "32x32"),
    *("--set", "latent=4", "--set", "width=8", "--budget", "6steps", "--device", "cpu"),
    # What these tests plant here would not be found in another process.
    *("--on", "inline"),
)
ON_TWO_FILMS = ["carphone,bigbuckbunny" if word == "carphone" else word for word in WORDS]


class Constant(Metric):
    """A metric that always says one half, or says that it cannot."""

    name = "constant"
    label = "Constant"
    source = "this test"
    here = True

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        if not self.here:
            raise Unavailable("not today")

    def __call__(self, originals: torch.Tensor, reconstructions: torch.Tensor) -> torch.Tensor:
        return torch.full((len(originals),), 0.5)


class Raises(Constant):
    name = "raises"

    def __init__(self, device: torch.device) -> None:
        raise FileNotFoundError("no weights\nhere")


@pytest.fixture(autouse=True)
def only_these_metrics(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    known = dict(registry().metrics)
    load_metrics.cache_clear()
    registry().metrics.clear()
    registry().metrics.update({"psnr": known["psnr"], "constant": Constant})
    yield
    load_metrics.cache_clear()
    registry().metrics.clear()
    registry().metrics.update(known)


@pytest.fixture
def ae_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """No training of `ae` gets through its first step."""

    def losses(*_: object) -> None:
        raise ArithmeticError("no")

    monkeypatch.setattr(registry().models["ae"], "losses", losses)


def record_of(workspace: Path, model: str) -> tuple[Path, Record]:
    (path,) = workspace.glob(f"runs/carphone/{model}/*/evaluation/carphone/record.json")
    return path, read_json(path, Record)


def test_a_metric_that_cannot_be_made_costs_its_own_column() -> None:
    registry().metrics["raises"] = Raises
    metric_set = MetricSet.load(torch.device("cpu"))
    assert [metric.name for metric in metric_set.metrics] == ["psnr", "constant"]
    assert metric_set.unavailable == {"raises": "FileNotFoundError: no weights here"}
    assert [metric.name for metric in metric_set.requested] == ["psnr", "constant", "raises"]


def test_a_metric_that_every_good_record_has_is_not_called_unavailable() -> None:
    metric_set = MetricSet([], {"constant": "not today"}, [Constant])
    has, lacks = a_record("sharp", "alpha"), a_record("blurry", "alpha")
    has.scores["constant"] = has.scores["psnr"]

    def reason(*records: Record) -> str | None:
        [found] = [m for m in _metric_infos(metric_set, records) if m.name == "constant"]
        return found.unavailable

    assert reason(has, failed("blurry", "alpha")) is None
    assert reason(has, lacks) == "not today"
    assert reason() == "not today"


def test_a_process_that_died_is_on_no_machine_of_its_own() -> None:
    def on(device: str, name: str) -> Record:
        where = {"device": device, "device_name": name, "precision": "bf16-mixed", "threads": 9}
        one = a_record("sharp", "alpha")
        return one.model_copy(update={"environment": one.environment.model_copy(update=where)})

    died, processor = on("cuda", NOT_KNOWN), on("cpu", "A processor")
    died.environment.threads, died.environment.precision = 2, "32-true"
    other = on("cuda", "A GPU")
    found = with_known_devices([died, processor, other])
    assert environment_key(found[0].environment)[:3] == ("cuda", "A GPU", "32-true")
    assert machine_key(found[0].environment) == machine_key(other.environment)
    assert found[1:] == [processor, other]
    for records in ([died, processor], [died, other, on("cuda", "Another GPU")]):
        assert with_known_devices(records) == records


@pytest.mark.slow
def test_the_latent_is_for_models_and_references_alike(zoo: Callable, workspace: Path) -> None:
    assert zoo(*WORDS).code == 0
    for model in ("ae", "pca"):
        record = record_of(workspace, model)[1]
        assert record.latent is not None and record.latent.numbers == 4
        assert record.options["latent"] == 4


@pytest.mark.slow
def test_what_was_measured_stays_when_it_cannot_be_measured_any_more(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert zoo(*WORDS).code == 0
    path, _ = record_of(workspace, "ae")
    made = path.stat().st_mtime_ns
    monkeypatch.setattr(Constant, "here", False)
    assert zoo(*WORDS).code == 0
    assert path.stat().st_mtime_ns == made
    assert record_of(workspace, "ae")[1].scores["constant"]["seen"].mean == 0.5


@pytest.mark.slow
def test_a_new_metric_or_a_lost_file_evaluates_again_and_trains_nothing(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Constant, "here", False)
    assert zoo(*WORDS).code == 0
    path, before = record_of(workspace, "ae")
    (weights,) = workspace.glob("runs/carphone/ae/*/weights.safetensors")
    trained = weights.stat().st_mtime_ns
    assert "constant" not in before.scores

    monkeypatch.setattr(Constant, "here", True)
    load_metrics.cache_clear()
    assert zoo(*WORDS).code == 0
    assert "constant" in record_of(workspace, "ae")[1].scores

    (path.parent / "latents.safetensors").unlink()
    assert zoo(*WORDS).code == 0
    assert (path.parent / "latents.safetensors").exists()
    assert weights.stat().st_mtime_ns == trained


@pytest.mark.slow
def test_another_version_of_a_plugin_is_another_training(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert zoo(*WORDS).code == 0
    monkeypatch.setitem(registry().origins, "ae", "film-zoo 99")
    assert zoo(*WORDS).code == 0
    assert len(list(workspace.glob("runs/carphone/ae/*"))) == 2
    assert len(list(workspace.glob("runs/carphone/pca/*"))) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("ae_fails")
def test_when_no_model_succeeds_the_report_is_written_and_the_command_fails(
    zoo: Callable, workspace: Path
) -> None:
    assert zoo(*WORDS).code == 1
    results = read_json(workspace / "results" / "results.json", Results)
    assert [r.reason for r in results.records if r.model == "ae"] == ["ArithmeticError: no"]


def results_of(workspace: Path) -> Results:
    return read_json(workspace / "results" / "results.json", Results)


def test_every_model_is_evaluated_on_every_film(zoo: Callable, workspace: Path) -> None:
    assert zoo(*ON_TWO_FILMS).code == 0
    results = results_of(workspace)
    pairs = {(r.trained_on, r.evaluated_on) for r in results.records if r.model == "ae"}
    assert len(pairs) == 4
    for record in results.records:
        assert record.status == "ok", record.reason
        own = record.trained_on == record.evaluated_on
        assert set(record.scores["psnr"]) == ({"seen", "held_out"} if own else {"other"})
        assert bool(record.pictures) == own
        assert (record.takedown is not None) == own
        assert bool(record.rate) == (own and record.kind == "autoencoder")
        rounded = [point.weight_bits for point in record.rounded_decoders]
        assert rounded == ([16, 8] if record.rate else [])
    # A codec knows no film but the one it codes.
    assert {(r.trained_on, r.evaluated_on) for r in results.records if r.kind == "codec"} == {
        ("carphone", "carphone"),
        ("bigbuckbunny", "bigbuckbunny"),
    }
    # Rows of the report that is there would be lost.
    assert zoo(*ON_TWO_FILMS, "--own").code == 2
    assert zoo(*ON_TWO_FILMS, "--own", "--overwrite").code == 0
    assert all(r.trained_on == r.evaluated_on for r in results_of(workspace).records)


@pytest.mark.slow
def test_another_films_latents_are_on_the_training_films_scale(
    zoo: Callable, workspace: Path
) -> None:
    assert zoo(*ON_TWO_FILMS).code == 0
    (run,) = workspace.glob("runs/carphone/pca/*")
    own, other = (
        load_file(run / "evaluation" / film / "latents.safetensors")
        for film in ("carphone", "bigbuckbunny")
    )
    assert torch.equal(own["lowest"], other["lowest"]) and torch.equal(own["step"], other["step"])
    assert not torch.equal(own["levels"][:50], other["levels"][:50])


@pytest.mark.slow
@pytest.mark.usefixtures("ae_fails")
def test_a_model_that_failed_on_its_own_film_is_evaluated_on_no_other(
    zoo: Callable, workspace: Path
) -> None:
    assert zoo(*ON_TWO_FILMS).code == 1
    records = [r for r in results_of(workspace).records if r.model == "ae"]
    assert [(r.trained_on, r.evaluated_on, r.status) for r in records] == [
        ("carphone", "carphone", "failed"),
        ("bigbuckbunny", "bigbuckbunny", "failed"),
    ]


@pytest.mark.slow
def test_seeds_and_latent_sizes_multiply_models_and_seeds_no_reference(
    zoo: Callable, workspace: Path
) -> None:
    assert zoo(*WORDS, "--latents", "2,3", "--seeds", "2", "--seed", "7").code == 0
    records = results_of(workspace).records
    made = {
        name: sorted((r.options["latent"], r.seed) for r in records if r.model == name)
        for name in ("ae", "pca")
    }
    assert made["ae"] == [(2, 7), (2, 8), (3, 7), (3, 8)]
    assert made["pca"] == [(2, 7), (3, 7)]
    # Pictures are of the first seed alone, each model size with its own.
    drawn = [p.reconstruction for r in records if r.model == "ae" for p in r.pictures]
    assert len(drawn) == len(set(drawn)) and {r.seed for r in records if r.pictures} == {7}


@pytest.mark.parametrize(
    "wrong",
    [
        ("--seeds", "0"),
        ("--latents", "16,x"),
        ("--latents", ""),
        ("--metrics", "psrn"),
    ],
)
def test_a_sweep_of_nothing_is_one_line(zoo: Callable, wrong: tuple[str, str]) -> None:
    said = zoo(*WORDS, *wrong)
    assert said.code == 2
    assert said.err.count("\n") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_line(zoo: Callable, workspace: Path) -> None:
    workspace.chmod(0o555)
    said = zoo(*WORDS)
    workspace.chmod(0o755)
    assert said.code == 1
    assert said.err.count("\n") == 1


def test_a_file_where_a_folder_belongs_is_one_line(zoo: Callable, workspace: Path) -> None:
    (workspace / "runs").write_text("not a folder")
    said = zoo("train", "ae", "--film", "carphone", *WORDS[5:-2])
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "runs" in said.err


@pytest.mark.slow
def test_a_film_that_is_missing_is_left_out_and_the_others_are_compared(
    zoo: Callable, workspace: Path
) -> None:
    Path("films.toml").write_text('[gone]\nfiles = "gone.mkv"\n')
    reported = f"film gone: {workspace / 'gone.mkv'}: there is no such file"
    words = ["gone,carphone" if word == "carphone" else word for word in WORDS]
    done = zoo(*words, "--own", "--videos", "0")
    assert done.code == 2
    assert f"zoo: {reported}" in done.err and done.out.endswith(f"left out: {reported}\n")
    results = read_json(Path("results/results.json"), Results)
    assert [film.name for film in results.films] == ["carphone"]
    only = zoo(*["gone" if word == "carphone" else word for word in WORDS])
    assert only.code == 2 and only.err == f"zoo: {reported}\n"
