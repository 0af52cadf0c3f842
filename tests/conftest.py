"""The command line, called in the test's own process, in an empty workspace."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from zoo.cli import main

# One thread a process unless asked otherwise, before torch is first imported: the tests run in
# parallel themselves.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@dataclass(frozen=True)
class Said:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def zoo(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """Run `zoo` with the given words."""

    def run(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["zoo", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to the slow tests what takes a new process per built-in model, but for `ae`."""
    for item in items:
        name, _, check = item.name.partition("-")
        built_in = item.path.name == "test_models.py" and name != "test_conformance[ae"
        if built_in and check == "importing_does_no_work]":
            item.add_marker(pytest.mark.slow)
