"""The plugin in the README works as it is printed."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

from zoo.conformance.suite import examine
from zoo.plugins.registry import Registry

README = Path(__file__).parents[1] / "README.md"


def snippet(name: str) -> str:
    found = re.search(
        rf"<!-- snippet: {re.escape(name)} -->\n```\w+\n(.*?)```", README.read_text(), re.DOTALL
    )
    assert found, f"README.md has no snippet {name}"
    return found[1]


def test_the_plugin_is_about_thirty_lines() -> None:
    assert sum(bool(line.strip()) for line in snippet("zoo_linear.py").splitlines()) <= 30


def test_the_plugin_loads_and_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zoo_linear.py").write_text(snippet("zoo_linear.py"))
    monkeypatch.syspath_prepend(str(tmp_path))
    described = tomllib.loads(snippet("pyproject.toml"))
    ((name, module),) = described["project"]["entry-points"]["zoo"].items()
    assert described["tool"]["setuptools"]["py-modules"] == [module]

    found = Registry([importlib.metadata.EntryPoint(name, module, "zoo")])
    assert [plugin.errors for plugin in found.plugins] == [[]]
    findings = list(examine(found.models["linear"]))
    assert len(findings) >= 10
    assert [(finding.check, finding.problem) for finding in findings if finding.problem] == []
