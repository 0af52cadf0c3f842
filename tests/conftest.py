"""The command line, called in the test's own process, in an empty workspace."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from zoo.cli import main
from zoo.plugins.registry import registry
from zoo.report.plugin_sections import section_registry

# One thread a process unless asked otherwise, before torch is first imported: the tests run in
# parallel themselves.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@dataclass(frozen=True)
class Said:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    def check_refused(self, words: str) -> None:
        """Fail unless the command refused its input in one line, with these words in it."""
        assert self.code == 2, self
        assert words in self.err and self.err.count("\n") == 1, self


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def forget_plugins(tmp_path: Path) -> Iterator[None]:
    """Load plugins anew, and forget afterwards what was imported from the test's folder."""
    modules, path = set(sys.modules), [*sys.path]
    registry.cache_clear()
    section_registry.cache_clear()
    yield
    registry.cache_clear()
    section_registry.cache_clear()
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


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
        if any(str(word).endswith(".py") for word in words):
            registry.cache_clear()  # A plugin's file is tried by one command.
        return Said(code, captured.out, captured.err)

    return run


SLOW_CHECKS = "importing_does_no_work", "fits_one_batch"
"""Checks of a model that take a new process or a hundred steps."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the longest checks of models to the slow tests, but those of `ae`."""
    for item in items:
        test, _, case = item.name.partition("[")
        model, _, check = case.removesuffix("]").partition("-")
        if test == "test_conformance" and model != "ae" and check in SLOW_CHECKS:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _own_number_of_threads() -> Iterator[None]:
    """Give torch its number of threads back: a command that changes it ends with its process."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
