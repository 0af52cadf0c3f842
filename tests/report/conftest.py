from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.machines import on_a_gpu, put, small
from tests.report.synthetic_results import comparison, put_pictures
from zoo.base.atomic_files import write_json
from zoo.base.records import Results
from zoo.report import merge as merging
from zoo.report.write import write_report


@pytest.fixture
def results() -> Results:
    return comparison()


@pytest.fixture
def folder(tmp_path: Path, results: Results) -> Path:
    """A results folder with the pictures that the records name."""
    put_pictures(results, tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report that the tests only read."""
    folder = tmp_path_factory.mktemp("results")
    results = comparison()
    put_pictures(results, folder)
    assert write_report(results, folder) == folder / "report.md"
    return folder


@pytest.fixture(scope="session")
def text(written: Path) -> str:
    return (written / "report.md").read_text(encoding="utf-8")


@pytest.fixture
def cpu(tmp_path: Path) -> Path:
    return put(small(), tmp_path / "cpu")


@pytest.fixture
def gpu(tmp_path: Path) -> Path:
    return put(on_a_gpu(small()), tmp_path / "gpu", scale=0.5)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Merge without drawing the report, which takes seconds."""

    def draw(results: Results, folder: Path, out: Path) -> None:
        write_json(out / "results.json", results)

    monkeypatch.setattr(merging, "build_report", draw)
