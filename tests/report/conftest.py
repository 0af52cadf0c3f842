from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.synthetic_results import comparison, put_pictures
from zoo.base.records import Results


@pytest.fixture
def results() -> Results:
    return comparison()


@pytest.fixture
def folder(tmp_path: Path, results: Results) -> Path:
    """A results folder with the pictures that the records name."""
    put_pictures(results, tmp_path)
    return tmp_path
