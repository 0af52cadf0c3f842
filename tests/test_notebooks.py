"""The notebooks in examples/ run from top to bottom, and are kept without outputs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def code_cells(path: Path) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_is_kept(path: Path) -> None:
    cells = code_cells(path)
    assert len(cells) > 3
    assert [c for c in cells if c["outputs"] or c["execution_count"] is not None] == []


def test_the_plugin_in_the_notebook_is_that_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    (cell,) = (
        source
        for each in code_cells(ROOT / "examples" / "first-hour.ipynb")
        if (source := "".join(each["source"])).startswith("%%writefile")
    )
    for line in ("class Linear(zoo.Autoencoder):", "def zoo_models():", "return [Linear]"):
        assert line in cell and line in readme


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="the extra `dev` brings it")
    nbclient = pytest.importorskip("nbclient", reason="the extra `dev` brings it")
    pytest.importorskip("ipykernel", reason="the extra `dev` brings it")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    # The kernel starts elsewhere: this checkout comes first there, too.
    here = [str(ROOT), str(ROOT / "plugins"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, here)))
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    nbclient.NotebookClient(book, timeout=900, kernel_name="python3").execute(cwd=tmp_path)
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    said = "".join(output.get("text", "") for output in outputs)
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    assert pictures, "a notebook shows pictures"
    for wrong in ("Traceback", "Warning", "zoo: ", "broken"):
        assert wrong not in said, said
    if path.stem == "first-hour":
        assert "kept    shapes and range" in said
        report = "".join(o["data"].get("text/markdown", "") for o in outputs if "data" in o)
        assert "linear" in report
