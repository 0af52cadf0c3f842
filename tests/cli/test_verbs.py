"""The verbs as a user types them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import zoo.plugins.registry
from tests.fresh_process import imports_none_of
from zoo.base.records import Results
from zoo.base.untrusted_files import read_json

TINY = ("--preset", "quick", "--size", "32x32", "--latent", "4", "--device", "cpu")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from zoo.cli import main\n"
        "sys.argv = ['zoo', '--help']\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
    )
    heavy = {"torch", "numpy", "av", "matplotlib", "pydantic", "PIL"}
    assert "compare" in imports_none_of(heavy, code)


def test_train_leaves_a_run_folder_and_trains_once(zoo: Callable, workspace: Path) -> None:
    words = ("train", "ae", "--film", "carphone", *TINY, "--set", "width=8", "--budget", "12steps")
    first = zoo(*words)
    assert first.code == 0, first.err
    (run,) = (workspace / "runs" / "carphone" / "ae").iterdir()
    assert {"run.json", "weights.safetensors", "log.jsonl", "preview.png"} <= {
        path.name for path in run.iterdir()
    }
    described = json.loads((run / "run.json").read_text())
    assert described["state"] == "finished"
    assert described["config"]["options"] == {
        "latent": 4,
        "width": 8,
        "lr": 4e-3,
        "coarse": 1,
        "gain": 1.0,
        "smallest": 8,
        "dense": 32,
        "noise": 0.02,
        "start": "components",
        "warps": 0.1,
    }
    assert described["training"]["steps"] == 12
    made = (run / "weights.safetensors").stat().st_mtime_ns

    again = zoo(*words)
    assert "trained already" in again.out
    assert (run / "weights.safetensors").stat().st_mtime_ns == made

    redone = zoo(*words, "--overwrite")
    assert redone.code == 0
    assert (run / "weights.safetensors").stat().st_mtime_ns > made


@pytest.fixture
def broken_model(monkeypatch: pytest.MonkeyPatch) -> str:
    plain = zoo.plugins.registry.registry().models["ae"]

    class Broken(plain):  # type: ignore[misc, valid-type]
        name = "broken"

        def losses(self, batch, step):
            raise ArithmeticError("not | enough\nof it")

    monkeypatch.setitem(zoo.plugins.registry.registry().models, "broken", Broken)
    monkeypatch.setitem(zoo.plugins.registry.registry().origins, "broken", "a test 0")
    return "broken"


def test_compare_writes_a_report_and_goes_on_past_a_broken_model(
    zoo: Callable, workspace: Path, broken_model: str
) -> None:
    words = ("compare", "--films", "carphone", "--models", f"{broken_model},ae", "--on", "inline")
    said = zoo(*words, *TINY, "--budget", "12steps")
    assert said.code == 0, said.err
    assert str(workspace / "results" / "report.md") in said.out.replace("\n", "")

    results = read_json(workspace / "results" / "results.json", Results)
    by_model = {record.model: record for record in results.records}
    assert set(by_model) == {"broken", "ae", "mean", "pca", "x264", "x265", "svtav1"}
    assert by_model["broken"].status == "failed"
    assert by_model["broken"].reason == "ArithmeticError: not | enough of it"
    good = by_model["ae"]
    assert good.latent is not None and good.latent.numbers == 4 and good.latent.bits == 32
    assert good.cost is not None and good.cost.train is not None
    assert {"psnr", "ssim"} <= set(good.scores)
    assert good.scores["psnr"]["seen"].frames == results.films[0].seen_frames
    assert by_model["mean"].latent is not None and by_model["mean"].latent.numbers == 0
    for picture in good.pictures:
        assert (workspace / "results" / picture.reconstruction).exists()

    report = (workspace / "results" / "report.md").read_text()
    assert "ArithmeticError" in report
    rows = list(csv.DictReader((workspace / "results" / "results.csv").open()))
    assert {row["model"] for row in rows} == set(by_model)
    json.loads(
        (workspace / "results" / "results.json").read_text(),
        parse_constant=lambda name: pytest.fail(f"{name} is not strict JSON"),
    )


@pytest.mark.slow
def test_compare_run_again_trains_and_evaluates_nothing_twice(
    zoo: Callable, workspace: Path
) -> None:
    words = ("compare", "--films", "carphone", "--models", "ae", *TINY, "--budget", "8steps")
    assert zoo(*words).code == 0
    kept = (
        "weights.safetensors",
        "film.h264",
        "film.hevc",
        "film.obu",
        "record.json",
        "scores.npz",
    )
    files = [p for p in (workspace / "runs").rglob("*") if p.name in kept]
    before = {path: path.stat().st_mtime_ns for path in files}
    assert len(before) == 3 * len(("ae", "mean", "pca", "x264", "x265", "svtav1"))
    again = zoo(*words)
    assert again.code == 0
    assert "all of 6 cells found finished\nreport: " in again.out
    assert {path: path.stat().st_mtime_ns for path in files} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "aee", "--film", "bikes"), "no model is called 'aee' (did you mean 'ae'?)"),
        (("train", "ae", "--film", "bladerunner"), "`zoo films add PATH` adds one"),
        (("train", "ae", "--film", "./missing.mkv"), "missing.mkv"),
        (("train", "ae", "--film", "./text.mp4"), "text.mp4"),
        (("train", "ae", "--film", "bikes", "--size", "33x32"), "must be even"),
        (("train", "ae", "--film", "bikes", "--size", "big"), "WIDTHxHEIGHT"),
        (("train", "ae", "--film", "bikes", "--budget", "soon"), "a budget must be more than 0"),
        (("train", "ae", "--film", "bikes", "--preset", "huge"), "there are: film, laptop, quick"),
        (("train", "ae", "--film", "bikes", "--set", "width"), "--set takes NAME=VALUE"),
        (("train", "ae", "--film", "bikes", "--set", "depth=3"), "no option 'depth'"),
        (("train", "ae", "--film", "bikes", "--latent", "0"), "option latent"),
        (("train", "ae", "--film", "bikes", "--batch", "0"), "a batch must have"),
        (("train", "ae", "--film", "bikes", "--device", "abacus"), "abacus"),
        (("train", "ae", "--film", "bikes", "--latent", "x"), "--latent takes a whole number; not"),
        (("train", "ae", "--film", "bikes", "--set", "width=a"), "width takes a whole number; not"),
        (
            ("train", "ae", "--film", "bikes", "--set", "width=-3"),
            "ae, option width takes 4 or more",
        ),
        (("train", "ae", "--film", "bikes", "--latent", "8", "--set", "latent=9"), "give only one"),
        (("train", "ae", "--film", "bikes", "--seed", "-1"), "--seed takes 0 or more; not '-1'"),
        (("walk", "ae", "--film", "bikes", "--seed", str(2**63)), "--seed takes at most"),
        (("compare", "--films", "bikes", "--seed", str(2**63 - 1), "--seeds", "2"), "is too large"),
        (("train", "ae", "--film", "bikes", "--size", ""), "the word after --size is empty"),
        (("compare", "--films", "bikes", "--out="), "the word after --out is empty"),
        (("decode", ""), "the word after decode is empty"),
        (("match", "bikes", "bikes", "--every", "1" + "0" * 30), "--every must be a whole number"),
        (("decode", "a.zoo", "-o", "text.mp4/b.mp4"), "text.mp4 is a file, not a folder"),
        (("export", "ae", "--film", "bikes", "-o", "text.mp4/b"), "no finished run"),
        (("compare", "--films", "all", "--models", ","), "no model is named"),
        (("models", "show", "nothing"), "no model is called"),
        (
            ("compare", "--films", "bikes", "--models", "ae,x264", "--no-codecs"),
            "--models names x264, but --no-codecs leaves codecs out; give only one",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    words: tuple[str, ...], message: str, zoo: Callable, workspace: Path
) -> None:
    (workspace / "text.mp4").write_text("not a film")
    said = zoo(*words)
    said.check_refused(message)
    assert "Traceback" not in said.err
    left = [p for p in workspace.rglob("*") if p.is_file() and p.suffix != ".lock"]
    assert [p.name for p in left] == ["text.mp4"]


def test_models_and_plugins_are_listed(zoo: Callable) -> None:
    listed = zoo("models").out
    for name in ("ae", "vae", "vaegan", "perceptual", "mean", "pca"):
        assert name in listed
    shown = zoo("models", "show", "vaegan", "--size", "64x36").out
    assert "components or scratch" in shown and "Literal" not in shown
    for word in ("encoder", "decoder", "discriminator", "latent", "adversarial"):
        assert word in shown
    assert "film-zoo" in zoo("plugins").out


@pytest.mark.slow
def test_models_check_says_what_is_kept_and_fails_on_what_is_not(
    zoo: Callable, broken_model: str
) -> None:
    kept = zoo("models", "check", "ae")
    assert kept.code == 0
    assert "broken" not in kept.out
    broken = zoo("models", "check", broken_model)
    assert broken.code == 1
    assert "broken  players cover the model: ArithmeticError" in broken.out
