"""`zoo report`: the report again from its records, without torch."""

from __future__ import annotations

import subprocess
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.report.synthetic_results import comparison, put_pictures
from zoo.report.write import write_report

_WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "av", "timm", "lpips"):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Refuse())
from zoo.cli import main
sys.argv = ["zoo", "report", *sys.argv[1:]]
main()
"""


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
    )


def test_a_report_is_made_again_where_there_is_no_torch(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    results = comparison()
    put_pictures(results, folder)
    first = write_report(results, folder).read_bytes()
    (folder / "report.md").unlink()
    (folder / "figures" / "crossing.png").unlink()
    done = run(cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (folder / "report.md").read_bytes() == first
    assert (folder / "figures" / "crossing.png").exists()
    report, page = done.stdout.rstrip().splitlines()[-2:]
    assert report == f"report: {folder / 'report.md'}"
    assert page == f"to look at: {folder / 'report.html'}"
    assert "sharp has the lowest LPIPS" in " ".join(done.stdout.split())
    assert done.stdout.index("alpha") < done.stdout.index("Mean over 2 films")


def test_a_folder_without_results_is_refused_in_one_line(tmp_path: Path) -> None:
    empty = run(cwd=tmp_path)
    assert empty.returncode == 2
    assert empty.stderr.endswith("results holds no results: `zoo compare` writes them\n")
    missing = run("nowhere", cwd=tmp_path)
    assert missing.returncode == 2
    assert missing.stderr == "zoo: nowhere holds no results: `zoo compare` writes them\n"
    (tmp_path / "results.json").write_text('{"schema_version": 1}')
    foreign = run(".", cwd=tmp_path)
    assert foreign.returncode == 2
    assert foreign.stderr.startswith("zoo: results.json was written by a film-zoo with schema 1; ")
    assert foreign.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json"]


def test_the_page_is_opened_where_there_is_a_browser(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = comparison()
    put_pictures(results, workspace / "results")
    write_report(results, workspace / "results")
    addresses: list[str] = []
    for there in (True, False):

        def browse(address: str, there: bool = there) -> bool:
            addresses.append(address)
            return there

        monkeypatch.setattr(webbrowser, "open", browse)
        said = zoo("report", "--open")
        assert said.code == 0, said.err
        assert ("no browser could be opened" in said.out) == (not there)
    assert addresses == [(workspace / "results/report.html").as_uri()] * 2
    assert zoo("report").code == 0 and len(addresses) == 2
