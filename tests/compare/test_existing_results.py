"""A results folder that holds another comparison is not written over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tests.report.synthetic_results import METRICS, comparison
from zoo.base.errors import BadInput
from zoo.base.records import Results
from zoo.compare.cells import config_of, plan_cells, sweep_settings
from zoo.compare.results import refuse_other_comparison
from zoo.compare.tasks import failed_record
from zoo.films.ingested_film import Film, film_from_frames
from zoo.plugins.registry import registry
from zoo.report.results_folder import write_results
from zoo.training.settings import Settings


def film(name: str, level: int = 0) -> Film:
    return film_from_frames(np.full((40, 32, 32, 3), level, np.uint8), name=name, holdout=0)


@dataclass(frozen=True)
class Asked:
    """What a comparison is asked for."""

    films: tuple[Film, ...] = (film("one"), film("two"))
    models: tuple[str, ...] = ("ae", "vae")
    budget: str = "80frames"
    latents: str = "4,8"
    seeds: int = 2
    seed: int = 0
    widths: tuple[str, ...] = ("8",)
    others: bool = True
    compiled: bool = False
    metrics: tuple[str, ...] = ("psnr", "lpips")

    @property
    def settings(self) -> Settings:
        return Settings.choose(
            *("quick",), budget=self.budget, size="32x32", device="cpu", seed=self.seed,
            compiled=self.compiled,
        )  # fmt: skip

    @property
    def cells(self) -> list:
        models = [registry().models[name] for name in self.models]
        sweep = sweep_settings(self.settings, self.latents, self.seeds, {"width": self.widths})
        return plan_cells(self.films, models, sweep, self.others)

    def refuse(self, folder: Path) -> None:
        refuse_other_comparison(folder, self.films, self.cells, self.settings, self.metrics)

    def results(self) -> Results:
        return Results(
            created="2025-01-02T03:04:05Z",
            command="zoo compare",
            preset="quick",
            budget=str(self.settings.budget),
            batch=self.settings.batch,
            films=[each.info() for each in self.films],
            metrics=[metric for metric in METRICS if metric.name in self.metrics],
            records=[failed_record(cell, config_of(cell), "lost") for cell in self.cells],
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("results")
    write_results(place / "results.json", Asked().results())
    return place


@pytest.mark.parametrize(
    "wider",
    [
        {},
        {"films": (*Asked().films, film("three"))},
        {"models": ("vae", "ae", "vaegan")},
        {"latents": "16,8,4"},
        {"seeds": 3},
        {"widths": ("16", "8")},
        {"metrics": ("lpips", "psnr", "ssim")},
    ],
)
def test_the_same_comparison_and_a_wider_one_may_replace_it(folder: Path, wider: dict) -> None:
    replace(Asked(), **wider).refuse(folder)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"films": (film("one"),)}, "of two"),
        ({"films": (film("one"), film("two", level=9))}, "two has different frames"),
        ({"models": ("ae",)}, "it has vae"),
        ({"budget": "81frames"}, "its budget is 80frames, not 81frames"),
        ({"latents": "4"}, "rows have other seeds, options or films"),
        ({"seeds": 1}, "rows have other seeds, options or films"),
        ({"seed": 1}, "rows have other seeds, options or films"),
        ({"widths": ("16",)}, "rows have other seeds, options or films"),
        ({"others": False}, "rows have other seeds, options or films"),
        ({"metrics": ("psnr",)}, "it measured lpips"),
        ({"compiled": True}, "rows have other seeds, options or films"),
    ],
)
def test_another_comparison_is_refused_with_both_ways_out(
    folder: Path, other: dict, reason: str
) -> None:
    with pytest.raises(BadInput, match=reason) as said:
        replace(Asked(), **other).refuse(folder)
    assert "--out FOLDER" in str(said.value) and "--overwrite" in str(said.value)
    assert "\n" not in str(said.value)


def _merged(folder: Path) -> None:
    write_results(folder / "results.json", Asked().results())
    (folder / ".merged").touch()


def _damaged(folder: Path) -> None:
    (folder / "results.json").write_text("{")


def _of_the_user(folder: Path) -> None:
    (folder / "report.md").write_text("my own report")


@pytest.mark.parametrize(
    ("put", "reason"),
    [
        (_merged, "a merge of several results"),
        (_damaged, "results that cannot be read"),
        (_of_the_user, r"a report\.md of something else"),
    ],
)
def test_what_is_no_comparison_of_ours_is_refused(
    tmp_path: Path, put: Callable[[Path], None], reason: str
) -> None:
    Asked().refuse(tmp_path / "new")
    Asked().refuse(tmp_path)
    put(tmp_path)
    with pytest.raises(BadInput, match=reason):
        Asked().refuse(tmp_path)


WORDS = (
    *("compare", "--films", "carphone", "--models", "ae", "--preset", "quick", "--size", "32x32"),
    *("--latent", "4", "--budget", "8steps", "--device", "cpu", "--on", "inline", "--videos", "0"),
    *("--metrics", "psnr"),
)


@pytest.mark.slow
def test_a_second_comparison_is_refused_before_training_and_out_names_another_place(
    zoo: Callable, workspace: Path
) -> None:
    results = workspace / "results"
    write_results(results / "results.json", comparison())
    (results / "report.md").write_text("the first night")
    before = (results / "results.json").read_bytes()
    said = zoo(*WORDS)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "holds another comparison (of alpha, beta)" in said.err
    assert not (workspace / "runs").exists()
    assert zoo(*WORDS, "--out", "results/night2").code == 0
    assert (results / "report.md").read_text() == "the first night"
    assert (results / "results.json").read_bytes() == before
    assert (results / "night2" / "report.html").exists()
    assert zoo(*WORDS, "--overwrite").code == 0
    assert [film.name for film in _read(results).films] == ["carphone"]
    # Its own is replaced without a word.
    assert zoo(*WORDS).code == 0


@pytest.mark.parametrize(
    "other", [("--films", "bikes"), ("--preset", "laptop"), ("--budget", "9steps")]
)
def test_another_comparison_is_refused_before_a_film_is_opened(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch, other: tuple[str, ...]
) -> None:
    info = film_from_frames(np.zeros((40, 32, 32, 3), np.uint8), name="carphone", holdout=0).info()
    earlier = (
        Asked(films=())
        .results()
        .model_copy(update={"films": [info], "budget": "8 steps", "batch": 8, "records": []})
    )
    write_results(workspace / "results" / "results.json", earlier)
    monkeypatch.setattr("zoo.cli.progress.ingest_with_progress", lambda *_: pytest.fail("opened"))
    monkeypatch.setattr(
        "zoo.evaluation.metrics.MetricSet.load", lambda *_: pytest.fail("a metric was loaded")
    )
    said = zoo(*WORDS, *other)
    assert (said.code, said.err.count("\n")) == (2, 1), said.err
    assert "holds another comparison (" in said.err


@pytest.mark.slow
def test_what_was_measured_besides_is_in_the_report_and_no_other_comparison(
    zoo: Callable, workspace: Path
) -> None:
    words = (*WORDS, "--save-plan", "plan.toml", "--no-codecs")
    assert zoo(*words).code == 0
    assert zoo("evaluate", "ae", "--film", "carphone", "--metrics", "psnr,ssim").code == 0
    for _ in range(2):
        again = zoo(*words)
        assert again.code == 0, again.err
        measured = {metric.name for metric in _read(workspace / "results").metrics}
        assert measured == {"psnr", "ssim"}
    # With the runs made again, ssim would be lost.
    lost = zoo(*words, "--overwrite-runs")
    assert lost.code == 2 and "it measured ssim" in lost.err
    other = zoo(*words, "--latent", "5")
    assert other.code == 2 and "plan.toml is there already" in other.err


@pytest.mark.parametrize("folder", ["runs", "runs/night2", ".zoo/films", "downloads"])
def test_a_report_is_not_written_among_runs_frames_and_downloads(
    zoo: Callable, workspace: Path, folder: str
) -> None:
    said = zoo(*WORDS, "--out", folder)
    assert said.code == 2 and said.err.count("\n") == 1
    assert f"{folder} is in {folder.split('/')[0]}/, which cannot hold a report" in said.err
    assert not (workspace / folder).exists()


def _read(folder: Path) -> Results:
    return Results.model_validate_json((folder / "results.json").read_bytes())


def test_a_folder_that_cannot_be_written_is_said_before_training(
    zoo: Callable, workspace: Path
) -> None:
    (workspace / "results").write_text("no folder")
    said = zoo(*WORDS)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "results is not a folder" in said.err
    (workspace / "results").unlink()
    (workspace / "results").mkdir()
    (workspace / "results" / "series").symlink_to(workspace)
    said = zoo(*WORDS)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "series is a link" in said.err
    assert not (workspace / "runs").exists()


def test_a_bench_that_could_not_be_kept_is_refused_before_it_measures(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.compare.costs.measure_all", lambda *_, **__: pytest.fail("measured"))
    (workspace / "results").write_text("no folder")
    said = zoo("bench", "--models", "ae", "--preset", "quick", "--device", "cpu")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "results is not a folder" in said.err
