"""The results that the project publishes are what its own records give, and may be published."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from zoo.base.records import Results, Series
from zoo.base.untrusted_files import read_json
from zoo.report.write import write_report

RESULTS = Path(__file__).parents[1] / "results"


@pytest.fixture(scope="module")
def results() -> Results:
    return read_json(RESULTS / "results.json", Results)


def test_the_report_is_what_its_records_give(results: Results, tmp_path: Path) -> None:
    again = tmp_path / "results"
    shutil.copytree(RESULTS, again)
    (again / "report.md").unlink()
    written = write_report(results, again)
    assert written.read_text() == (RESULTS / "report.md").read_text()


def test_every_file_that_the_records_name_is_there(results: Results) -> None:
    for film in results.films:
        assert film.series and film.barcode
        assert (RESULTS / film.barcode).is_file()
        assert len(read_json(RESULTS / film.series, Series).rows) > 0
    for record in results.records:
        for picture in record.pictures:
            assert (RESULTS / picture.original).is_file()
            assert (RESULTS / picture.reconstruction).is_file()


def test_nothing_is_shown_of_a_film_without_a_licence(results: Results) -> None:
    shown = {record.evaluated_on for record in results.records if record.pictures or record.video}
    assert shown
    assert {film.name for film in results.films if film.licence} >= shown


def test_the_folder_is_small() -> None:
    sizes = {path: path.stat().st_size for path in RESULTS.rglob("*") if path.is_file()}
    seen = {path: size for path, size in sizes.items() if path.suffix in (".png", ".webp", ".mp4")}
    moving = seen.pop(RESULTS / "bunny.webp")
    assert moving < 3_000_000
    videos = [size for path, size in seen.items() if path.suffix == ".mp4"]
    pictures = [size for path, size in seen.items() if path.suffix != ".mp4"]
    assert max(videos) < 1_500_000
    assert max(pictures) < 1_000_000
    assert max(sizes.values()) < 3_000_000
    assert sum(sizes.values()) < 25_000_000
