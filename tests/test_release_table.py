"""The table of a release: the means of `results.csv`, as they are there, written once."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks.release_table import COSTS, MATCHED, main
from tests.report.synthetic_results import comparison
from zoo.base.records import Results
from zoo.report.results_csv import write_csv

RELEASES = Path(__file__).parents[1] / "results" / "releases"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    results: Results = comparison()
    for one in results.records:
        one.environment = one.environment.model_copy(update={"commit": "1234567e8901"})
    write_csv(tmp_path / "results.csv", results)
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_means_of_every_row_are_kept(folder: Path) -> None:
    main(["0.1.0", "--results", str(folder)])
    every, kept = rows(folder / "results.csv"), rows(folder / "releases" / "0.1.0.csv")
    assert len(kept) == len(every)
    numbers = [*(name for name in every[0] if name.endswith("_mean")), *MATCHED, *COSTS]
    assert "lpips_mean" in numbers
    for old, new in zip(every, kept, strict=True):
        assert set(new) < set(old), "spreads and intervals are left out"
        for name, value in new.items():
            if name in numbers and value:
                assert float(value) == pytest.approx(float(old[name]), rel=1e-5)
            else:
                assert value == old[name], "text, even where it looks like a number"
    assert {row["commit"] for row in kept} == {"1234567e8901"}


def test_a_table_is_written_once(folder: Path) -> None:
    main(["0.1.0", "--results", str(folder)])
    table = folder / "releases" / "0.1.0.csv"
    before = table.read_bytes()
    (folder / "results.csv").write_text((folder / "results.csv").read_text() + "\n")
    with pytest.raises(SystemExit, match="already exists"):
        main(["0.1.0", "--results", str(folder)])
    assert table.read_bytes() == before


def test_results_that_do_not_fit_are_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="does not exist"):
        main(["0.1.0", "--results", str(tmp_path / "none")])
    (folder / "results.csv").write_text("model,psnr_mean\nae,20\n")
    with pytest.raises(SystemExit, match="has no column trained_on: `zoo report"):
        main(["0.1.0", "--results", str(folder)])
    assert not (folder / "releases").exists()


def test_the_tables_of_this_project_are_small_and_whole() -> None:
    tables = sorted(RELEASES.glob("*.csv"))
    assert tables
    for table in tables:
        assert table.stat().st_size < 200_000
        assert all(row["model"] and row["status"] == "ok" for row in rows(table))
