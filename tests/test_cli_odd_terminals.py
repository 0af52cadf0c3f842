"""The command line where output is closed, and tables where a terminal is narrow."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tests.report.synthetic_results import comparison
from zoo.report.terminal import summary


def test_closed_output_is_no_failure(tmp_path: Path) -> None:
    command = f'"{sys.executable}" -m zoo films >&-'
    ended = subprocess.run(
        command, shell=True, cwd=tmp_path, stderr=subprocess.PIPE, text=True, timeout=120
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_number_is_cut_in_a_narrow_terminal(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(summary(comparison()))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert re.search(r"\d\.\d", printed)
    assert not re.search(r"\d…|\d\.…", printed)
