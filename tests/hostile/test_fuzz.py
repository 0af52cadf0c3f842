"""A bounded, seeded fuzz of every reader, each in a process of its own with little memory."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.readers import READERS

ROOT = Path(__file__).resolve().parents[2]
RUNS = {"report": 20, "curves": 40, "video": 400, "film_file": 600, "rounded_film_file": 600}
RUNS |= dict.fromkeys(("weights", "checkpoint", "scale", "times", "latents", "results"), 500)
USUAL = 1000
MEBIBYTES = 512

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("atheris") is None,
        reason="atheris is not installed: no coverage-guided fuzz; it has wheels for Linux alone",
    ),
]


def fuzz(name: str, runs: int, keep: Path, *more: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "tests.hostile.fuzz", name, "--runs", str(runs)]
    words += ["--mebibytes", str(MEBIBYTES), "--keep", str(keep), *more]
    return subprocess.run(
        words,
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=600,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("name", READERS)
def test_no_input_crashes_hangs_or_takes_gigabytes(name: str, tmp_path: Path) -> None:
    runs = RUNS.get(name, USUAL)
    done = fuzz(name, runs, tmp_path)
    kept = [path.name for path in tmp_path.iterdir()]
    assert done.returncode == 0, (kept, done.stdout[-3000:], done.stderr[-1000:])
    finished = re.search(r"#(\d+)\s+DONE\s+cov: (\d+)", done.stderr)
    assert finished and int(finished[1]) >= runs
    assert int(finished[2]) > 10, "nothing of the reader was reached"
    assert kept == []


def test_the_fuzz_finds_what_is_wrong(tmp_path: Path) -> None:
    """A reader that fails on a byte is caught, and the input kept."""
    done = fuzz("log", 5000, tmp_path, "--break")
    assert done.returncode != 0
    assert "a defect that was put here" in done.stdout
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("crash-")]
