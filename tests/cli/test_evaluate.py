"""`zoo evaluate`: scores of a run without a comparison, shared with comparisons."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.training.tiny_runs import TINY
from zoo.base.workspace import Workspace
from zoo.compare.cells import Cell
from zoo.compare.comparison import finished_record
from zoo.evaluation.metrics import MetricSet
from zoo.films.catalogue import Catalogue
from zoo.films.ingest import open_film
from zoo.plugins.registry import registry
from zoo.training.settings import Settings

TRAIN = ("train", "ae", *TINY, "--budget", "12steps")


def test_a_run_is_scored_once_and_a_comparison_finds_its_scores(
    zoo: Callable, workspace: Path
) -> None:
    assert zoo(*TRAIN).code == 0
    (run,) = (workspace / "runs/carphone/ae").iterdir()
    shown = zoo("evaluate", "ae", "--metrics", "psnr", "--device", "cpu")
    assert shown.code == 0, shown.err
    assert "PSNR, dB ↑" in shown.out and "seen" in shown.out and "held out" in shown.out
    assert "(seen)" in shown.out and "found" not in shown.out
    assert "frames in gaps between are in neither" in shown.out
    assert "bytes per frame once quantised and coded; decoder" in shown.out
    record = run / "evaluation/carphone/record.json"
    kept = json.loads(record.read_text())

    # The settings that the run was trained with.
    chosen = Settings.choose(
        "quick", size="32x32", latent=4, budget="12steps", device="cpu", options={"width": 8}
    )
    entry = Catalogue.open(Workspace.here()).film("carphone")
    film = open_film(entry, chosen.size, Workspace.here())
    cell = Cell(film, registry().models["ae"], chosen, film)
    for metrics, there in (("psnr", True), ("psnr,sharpness", False)):
        found = finished_record(Workspace.here(), cell, MetricSet.load(chosen.device, metrics))
        assert (found is not None) == there
    before = record.stat().st_mtime_ns

    again = zoo("evaluate", run.name, "--metrics", "psnr", "--json", "--device", "cpu")
    assert again.code == 0, again.err
    printed = json.loads(again.out)
    assert printed["found"] and printed["run"] == f"carphone/ae/{run.name}"
    assert printed["scores"] == kept["scores"] and printed["unavailable"] == {}
    assert record.stat().st_mtime_ns == before, "nothing is measured again"

    more = zoo("evaluate", run.name, "--metrics", "psnr,sharpness", "--json", "--device", "cpu")
    assert json.loads(more.out)["scores"]["psnr"] == kept["scores"]["psnr"]
    assert not json.loads(more.out)["found"]


def test_another_film_is_scored_after_its_own(zoo: Callable, workspace: Path) -> None:
    assert zoo(*TRAIN).code == 0
    words = ("evaluate", "ae", "--film", "bikes", "--metrics", "psnr", "--device", "cpu", "--json")
    printed = zoo(*words)
    assert printed.code == 0, printed.err
    answer = json.loads(printed.out)
    assert (answer["trained_on"], answer["evaluated_on"]) == ("carphone", "bikes")
    assert answer["scores"]["psnr"].keys() == {"other"}
    (run,) = (workspace / "runs/carphone/ae").iterdir()
    assert (run / "evaluation/carphone/record.json").exists(), "its own film has the scale"
    assert json.loads(zoo(*words).out)["found"]


def test_wrong_words_are_one_line(zoo: Callable, workspace: Path) -> None:
    def refused(*words: str) -> str:
        said = zoo("evaluate", *words, "--device", "cpu")
        assert (said.code, said.out) == (2, ""), said
        return str(said.err)

    assert "no run is called 'ea'; there are no runs here. Models are: ae, " in refused("ea")
    assert "no run of ae is finished; `zoo train ae --film FILM`" in refused("ae")
    assert "x264 is a film codec: `zoo compare --films all --models x264`" in refused("x264")
    assert zoo(*TRAIN).code == 0
    assert "no film is called 'nothing'" in refused("ae", "--film", "nothing")
    assert "did you mean 'psnr'" in refused("ae", "--metrics", "pnsr")
    assert "--threads must be a whole number" in refused("ae", "--threads", "0")
    # Runs on several films are distinguished.
    shutil.copytree(workspace / "runs/carphone", workspace / "runs/other")
    (run,) = (workspace / "runs/other/ae").iterdir()
    described = json.loads((run / "run.json").read_text())
    described["config"]["film"] = "other"
    (run / "run.json").write_text(json.dumps(described))
    assert "ae was trained on carphone, other: choose one with --film" in refused("ae")
