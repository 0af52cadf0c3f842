"""Hints of commands for plugins: provoked, cut out of what is printed, and run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.hints.conftest import CPU, Shell
from tests.plugin_sources import describe_package

hint = pytest.mark.hint
REFERENCE = ("--preset", "quick", "--size", "32x32", "--latent", "4", *CPU, "--on", "inline")
CODED = (*REFERENCE, "--metrics", "psnr", "--videos", "0")


@hint("zoo/cli/models_and_plugins.py", "is called {}; `zoo plugins` lists them")
@hint(
    "zoo/cli/models_and_plugins.py",
    "only film-zoo's own plugins are installed; `zoo plugins` lists them",
)
def test_no_such_plugin(shell: Shell, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell("plugins", "check", "nonsense", code=2)
    assert "embedded" in shell.follow("is called {}; `zoo plugins` lists them").out
    monkeypatch.setattr("zoo.cli.models_and_plugins._all_plugins", list)
    shell("plugins", "check", code=2)
    shell.follow("only film-zoo's own plugins are installed; `zoo plugins` lists them")


METRIC = """
import zoo

class Mine(zoo.Metric):
    name, label, higher_is_better, source = "mine", "Mine", False, "its docs"

    def distortion(self, reconstructions, originals):
        return (reconstructions - originals).abs().flatten(1).mean(1)

@zoo.hookimpl
def zoo_metrics():
    return [Mine]
"""


@hint("zoo/cli/models_and_plugins.py", "provides no model; `zoo plugins check {}`")
@pytest.mark.usefixtures("forget_plugins")
@pytest.mark.parametrize("name", ["mine.py", "my own.py"])
def test_a_file_without_a_model(name: str, shell: Shell, workspace: Path) -> None:
    (workspace / name).write_text(METRIC)
    refused = shell("models", "check", name, code=None)
    assert "provides no model" in refused.err
    assert "mine" in shell.follow("provides no model; `zoo plugins check {}`", code=None).out


@hint("zoo/cli/models_and_plugins.py", "see `zoo plugins`")
@hint("zoo/cli/compare.py", "(`zoo plugins` lists all)")
@pytest.mark.usefixtures("forget_plugins")
def test_a_plugin_that_does_not_load(
    shell: Shell, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe_package(place / "installed", "broken-zoo", {"broken": "there_is_no_such_module"})
    monkeypatch.syspath_prepend(str(place / "installed"))
    shell("models")
    assert "there_is_no_such_module" in shell.follow("see `zoo plugins`").out
    words = ("--films", "first", "--models", "mean", "--no-codecs", *CODED)
    shell("compare", *words, "--dry-run")
    assert "there_is_no_such_module" in shell.follow("(`zoo plugins` lists all)").out
