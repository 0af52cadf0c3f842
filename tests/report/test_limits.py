"""What is written can be read: every limit for files from elsewhere beside its own writer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.hostile import seeds
from tests.report.synthetic_results import comparison, foreign, pictures, record
from zoo.base.atomic_files import write_json
from zoo.base.errors import BadInput, ZooError
from zoo.base.records import RatePoint, Record, Results, Series, SeriesRow, Slice, Summary
from zoo.base.untrusted_files import LARGEST_JSON, read_json
from zoo.base.workspace import Workspace
from zoo.compare import results as comparison_results
from zoo.compare.cells import Cell, plan_cells
from zoo.compare.results import check_results_size
from zoo.evaluation import latents
from zoo.evaluation.latents import Latents, Quantiser
from zoo.films import catalogue
from zoo.films.catalogue import Catalogue
from zoo.films.ingested_film import film_from_frames
from zoo.plugins.registry import registry
from zoo.reconstruct import film_file
from zoo.report.merge import merge
from zoo.report.results_folder import within_size_limit, write_results
from zoo.training.settings import Settings

LONG = -1.2345678901234567e-100
"""A number that takes as many letters as any."""
SLICE_KINDS, FIFTHS, POINTS = 4, 5, 5


def large(metrics: int, films: int, own: bool) -> Record:
    """A record in which every number is as long as numbers are, of so many metrics and films."""
    names = [f"metric_{number:02d}" for number in range(metrics)]
    statistics = Summary(
        frames=10**7, mean=LONG, sd=LONG, lowest=LONG, highest=LONG, interval=(LONG, LONG)
    )
    base = record("sharp", "alpha") if own else foreign("sharp", "alpha", "beta")
    parts = ("seen", "held_out") if own else ("other",)
    change: dict[str, object] = {
        "scores": {name: dict.fromkeys(parts, statistics) for name in names},
        "note": "n" * 300,
    }
    if own:
        assert base.failure_analysis and base.takedown
        scores = dict.fromkeys(names, LONG)
        slices = [
            Slice(by="shot_length", lowest=LONG, highest=LONG, frames=10**7, scores=scores)
        ] * (SLICE_KINDS * FIFTHS)
        both = {name: dict.fromkeys(parts, LONG) for name in names}
        point = RatePoint(
            bits=8, coded_bytes=LONG, kilobits_per_second=LONG,
            frames=dict.fromkeys(parts, 10**7), scores=both,
        )  # fmt: skip
        others = {f"film-number-{number:06d}": LONG for number in range(films)}
        change |= {
            "rate": [point] * POINTS,
            "failure_analysis": base.failure_analysis.model_copy(
                update={"slices": dict.fromkeys(parts, slices)}
            ),
            "takedown": base.takedown.model_copy(update={"false_matches": others}),
            "pictures": pictures("f" * 64, "m" * 64),
        }
    return base.model_copy(update=change)


@pytest.mark.parametrize("metrics", [1, 8, 20])
@pytest.mark.parametrize("films", [1, 100])
def test_no_record_is_larger_than_estimated_before_training(metrics: int, films: int) -> None:
    own = len(large(metrics, films, own=True).model_dump_json())
    foreseen = (
        comparison_results._OWN
        + metrics * comparison_results._OWN_OF_A_METRIC
        + films * comparison_results._OWN_OF_A_FILM
    )
    assert own <= foreseen <= 3 * own
    away = len(large(metrics, films, own=False).model_dump_json())
    assert (
        away
        <= comparison_results._FOREIGN + metrics * comparison_results._FOREIGN_OF_A_METRIC
        <= 3 * away
    )


def test_thousands_of_records_can_be_read_back(tmp_path: Path) -> None:
    results = comparison()
    results.records = [large(8, 3, own=True)] * 1200
    write_results(tmp_path / "results.json", results)
    assert (tmp_path / "results.json").stat().st_size > LARGEST_JSON
    assert len(read_json(tmp_path / "results.json", Results).records) == 1200


def test_results_have_a_line_for_each_record_and_are_the_same(tmp_path: Path) -> None:
    results = comparison()
    write_results(tmp_path / "results.json", results)
    text = (tmp_path / "results.json").read_text()
    lines = text.splitlines()
    assert len(lines) < len(results.records) + len(results.films) + len(results.metrics) + 20
    assert json.loads(text)["records"] == [
        json.loads(one.model_dump_json()) for one in results.records
    ]


def test_results_too_large_to_read_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Results, "largest", 10_000)
    with pytest.raises(ZooError, match="compare fewer films at once"):
        write_results(tmp_path / "results.json", comparison())
    assert list(tmp_path.iterdir()) == []


def cells_of(films: int, others: bool) -> list[Cell]:
    each = [
        film_from_frames(np.zeros((8, 32, 32, 3), np.uint8), name=f"f{n}") for n in range(films)
    ]
    settings = Settings.choose("quick", device="cpu")
    return plan_cells(each, [registry().models["ae"]], [settings], others)


def test_too_many_cells_are_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    own, all_of_them = cells_of(12, others=False), cells_of(12, others=True)
    assert len(all_of_them) > 4 * len(own)
    monkeypatch.setattr(Results, "largest", 3 << 20)
    check_results_size(12, own, 8)
    with pytest.raises(BadInput, match=r"fewer films at once, or with --own"):
        check_results_size(12, all_of_them, 8)


def long_series(rows: int, frames: int, run: str = "run") -> Series:
    values: list[float | None] = [LONG] * frames
    return Series(
        film="alpha",
        frames=list(range(frames)),
        seconds=[number / 25 for number in range(frames)],
        rows=[SeriesRow(run=f"{run}{n}", scores={"lpips": values}) for n in range(rows)],
    )


@pytest.mark.parametrize(("rows", "step"), [(1, 1), (30, 4), (10_000, 256)])
def test_a_series_of_many_rows_has_fewer_frames_and_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, step: int
) -> None:
    monkeypatch.setattr(Series, "largest", 60_000)
    kept = within_size_limit(long_series(min(rows, 2000), 256))
    if rows < 10_000:
        assert kept.frames == list(range(0, 256, step))
        assert kept.seconds == [number / 25 for number in kept.frames]
        write_json(tmp_path / "series.json", kept, indent=None)
        assert read_json(tmp_path / "series.json", Series) == kept
    else:
        assert kept.frames == [0]


def test_a_merged_series_can_be_read_and_has_the_frames_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = comparison(), comparison()
    for number, results in enumerate((one, two)):
        results.films = results.films[1:]
        results.records = [r for r in results.records if r.evaluated_on == r.trained_on == "beta"]
        for each in results.records:
            where = each.environment.model_copy(update={"device_name": f"machine {number}"})
            each.environment, each.pictures = where, []
        folder = tmp_path / str(number)
        write_results(folder / "results.json", results)
        series = long_series(1, 64)
        series.rows = [
            SeriesRow(run=each.run, scores=series.rows[0].scores)
            for each in results.records
            if each.run
        ]
        if number:  # the second had to leave out every second frame
            monkeypatch.setattr(Series, "largest", len(series.model_dump_json()) * 2 // 3)
        write_json(folder / "series" / "beta.json", within_size_limit(series), indent=None)
    monkeypatch.setattr(Series, "largest", LARGEST_JSON)
    results, report = merge([tmp_path / "0", tmp_path / "1"], tmp_path / "both")
    merged = read_json(report.parent / str(results.films[0].series), Series)
    assert merged.frames == list(range(0, 64, 2))
    assert len(merged.rows) == 2 * len([r for r in one.records if r.run])


def test_latents_too_large_to_read_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "_MOST_LEVELS", 64)
    scale = Quantiser(torch.zeros(8), torch.ones(8), 8)
    for frames in (8, 9):
        kept = Latents(torch.zeros(frames, 8, dtype=torch.uint8), (8,), scale, frames)
        path = tmp_path / f"{frames}.safetensors"
        if frames == 8:
            latents.save_latents(path, kept, "film")
            assert latents.load_latents(path, "film", torch.device("cpu")).levels.shape == (8, 8)
        else:
            with pytest.raises(ZooError, match="use a smaller latent"):
                latents.save_latents(path, kept, "film")
            assert not path.exists()


def test_a_catalogue_too_large_to_read_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "LARGEST_CATALOGUE", 2000)
    parts = [tmp_path / f"part-{number:03d}-{'x' * 60}.ts" for number in range(40)]
    for part in parts:
        part.write_bytes(b"")
    with pytest.raises(BadInput, match=r"films\.toml would have"):
        Catalogue.open(Workspace(tmp_path)).add("long", parts)
    assert Catalogue.open(Workspace(tmp_path)).entries.keys() == registry().films.keys()


@pytest.mark.parametrize(("limit", "size"), [("LARGEST_HEADER", 100), ("LARGEST_PART", 8)])
def test_a_film_file_too_large_to_read_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, size: int
) -> None:
    monkeypatch.setattr(film_file, limit, size)
    with pytest.raises(ZooError, match="does not fit into one file"):
        seeds.film_file(tmp_path)
    assert list(tmp_path.glob("*.zoo")) == []
