"""A plugin that is one file and is not installed."""

from __future__ import annotations

import importlib.metadata
import io
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from tests.plugin_sources import METRIC, MODEL, MODELS_HOOK, describe_package
from tests.report.synthetic_results import comparison, put_pictures
from zoo.api.report_section import ReportSection
from zoo.cli.console import Console
from zoo.cli.models_and_plugins import check_things
from zoo.plugins.entry_points import PluginFile, as_typed
from zoo.plugins.registry import Registry, registry
from zoo.report.results_folder import write_results

pytestmark = pytest.mark.usefixtures("forget_plugins")

EMPTY = """
import zoo


@zoo.hookimpl
def zoo_models():
    return []
"""
SECTION = """
import zoo


class Words(zoo.ReportSection):
    name = "words"
    heading = "Words"

    def write(self, results):
        return "A few words."
"""


@pytest.fixture
def named(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write files into the workspace and have ZOO_PLUGINS name them, after other words."""

    def write(*words: str, **files: str) -> str:
        for stem, source in files.items():
            (workspace / f"{stem}.py").write_text(textwrap.dedent(source))
        value = ",".join([*words, *(f"{stem}.py" for stem in files)])
        monkeypatch.setenv("ZOO_PLUGINS", value)
        return value

    return write


def test_classes_of_a_file_are_taken_without_a_hook(named: Callable[..., str]) -> None:
    named(mine=MODEL.format(name="mine") + METRIC.format(name="measured"))
    found = registry()
    assert found.models["mine"].summary == "a model for a test"
    assert found.origins["mine"] == "mine.py"
    assert "measured" in found.metrics
    assert {"ae", "pca"} <= {*found.models, *found.references}, "files are added to what loads"


def test_a_hook_of_a_file_says_what_is_taken(named: Callable[..., str]) -> None:
    other = MODEL.format(name="other").replace("class Model", "class Other")
    named(mine=MODEL.format(name="mine") + other + MODELS_HOOK)
    assert "mine" in registry().models
    assert "other" not in registry().models


def test_a_base_class_without_a_name_is_none_of_the_models(named: Callable[..., str]) -> None:
    base = MODEL.replace('    name = "{name}"\n', "").format().replace("class Model", "class Base")
    named(mine=base + "\n\nclass Mine(Base):\n    name = 'mine'\n")
    assert [p.adds for p in registry().plugins if p.name == "mine.py"] == [{"zoo_models": ["mine"]}]


def test_files_and_names_are_mixed(named: Callable[..., str]) -> None:
    named("ae", first=MODEL.format(name="one"), second=MODEL.format(name="two"))
    assert list(registry().models) == ["ae", "one", "two"]
    assert not registry().references


def test_a_file_imports_what_lies_beside_it(named: Callable[..., str], workspace: Path) -> None:
    (workspace / "beside_it.py").write_text("SUMMARY = 'from beside'\n")
    source = MODEL.format(name="mine").replace('"a model for a test"', "beside_it.SUMMARY")
    named(mine=f"import beside_it\n{source}")
    assert registry().models["mine"].summary == "from beside"


def test_a_file_in_a_package_imports_from_it(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = workspace / "a_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "words.py").write_text("SUMMARY = 'from the package'\n")
    source = MODEL.format(name="mine").replace('"a model for a test"', "words.SUMMARY")
    (package / "mine.py").write_text(f"from . import words\n{source}")
    monkeypatch.setenv("ZOO_PLUGINS", "a_package/mine.py")
    assert registry().models["mine"].summary == "from the package"


def test_a_file_that_is_named_twice_is_one_plugin(
    named: Callable[..., str], workspace: Path
) -> None:
    named("./mine.py", f"../{workspace.name}/mine.py", mine=MODEL.format(name="mine"))
    assert [plugin.name for plugin in registry().plugins].count("mine.py") == 1


@pytest.mark.parametrize("stem", ["json", "my-model", "torch", "3d"])
def test_a_file_may_have_any_name(stem: str, named: Callable[..., str]) -> None:
    named(**{stem: MODEL.format(name="mine")})
    assert registry().models["mine"].name == "mine"
    import json

    assert hasattr(json, "loads"), "no module of another is replaced"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def (", "mine.py: SyntaxError: invalid syntax (mine.py, line 1)"),
        ("import nothing_of_this_name", "mine.py: ModuleNotFoundError: No module named"),
        ("x = 1", "mine.py: it has no hook marked with @zoo.hookimpl, and no class of a model"),
        (MODEL.format(name="ae"), "mine.py: zoo_models: the name 'ae' is taken by film-zoo"),
        (MODEL.format(name="a b"), "mine.py: zoo_models: a plugin's name has letters"),
        ("raise SystemExit(3)", "mine.py: SystemExit: 3"),
        ("zoo_contract = 99", "mine.py: written for contract 99: this zoo has"),
        ("\0", "mine.py: "),
    ],
)
def test_a_file_that_is_wrong_ends_every_command_in_one_line(
    source: str, reason: str, named: Callable[..., str], zoo: Callable
) -> None:
    named(mine=source)
    for words in (("plugins",), ("compare", "--films", "all", "--models", "mine")):
        said = zoo(*words)
        assert said.code == 2
        assert said.err.startswith(f"zoo: {reason}") and said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("gone.py", "ZOO_PLUGINS: no such file: gone.py"),
        ("./folder", "ZOO_PLUGINS: ./folder is a folder; name the Python files in it"),
        ("./notes.txt", "ZOO_PLUGINS: ./notes.txt: a plugin's file must end in .py"),
    ],
)
def test_a_file_that_is_not_there_is_said(
    word: str, reason: str, zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace / "folder").mkdir()
    (workspace / "notes.txt").touch()
    monkeypatch.setenv("ZOO_PLUGINS", word)
    said = zoo("plugins")
    assert (said.code, said.err) == (2, f"zoo: {reason}\n")


def test_a_section_in_a_file_needs_no_torch(named: Callable[..., str], workspace: Path) -> None:
    named(model=MODEL.format(name="mine"), section=SECTION)
    program = (
        "import sys; from zoo.report.plugin_sections import section_registry as found;"
        "print(*found().sections, *found().origins.values(), 'torch' in sys.modules)"
    )
    words = [sys.executable, "-c", program]
    said = subprocess.run(words, capture_output=True, text=True, env=dict(os.environ))
    assert said.stdout.split() == ["words", "section.py", "False"], said.stderr
    assert "mine" in registry().models


def test_models_of_a_file_are_checked(zoo: Callable, workspace: Path) -> None:
    second = MODEL.format(name="other").replace("class Model", "class Other")
    (workspace / "mine.py").write_text(MODEL.format(name="mine") + second)
    said = zoo("models", "check", "mine.py")
    assert said.code == 0, said.out + said.err
    assert {"mine", "other"} <= set(said.out.splitlines())
    assert said.out.count("kept") >= 20 and "broken" not in said.out


def test_a_name_that_is_unknown_says_how_a_file_becomes_a_plugin(
    zoo: Callable, workspace: Path
) -> None:
    assert zoo("models", "check", "mine.py").err == "zoo: no such file: mine.py\n"
    words = (("models", "check", "mine"), ("plugins", "check", "mine"), ("train", "mine"))
    for word in ("FILE.py", "mine.py"):
        for each in words:
            said = zoo(*each, *(("--film", "bikes") if each[0] == "train" else ()))
            assert said.code == 2
            assert said.err.endswith(f"without installing it, set ZOO_PLUGINS={word}\n"), said.err
        (workspace / "mine.py").write_text(MODEL.format(name="mine"))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def (", "mine.py: SyntaxError"),
        (METRIC.format(name="measured"), "mine.py provides no model; `zoo plugins check mine.py`"),
    ],
)
def test_a_file_without_models_is_said(
    source: str, reason: str, zoo: Callable, workspace: Path
) -> None:
    (workspace / "mine.py").write_text(source)
    said = zoo("models", "check", "mine.py")
    assert said.code == 2
    assert said.err.startswith(f"zoo: {reason}") and said.err.count("\n") == 1


@pytest.mark.slow
def test_worker_processes_know_a_file_s_model(
    named: Callable[..., str], zoo: Callable, workspace: Path
) -> None:
    named(mine=MODEL.format(name="mine"))
    words = ("--preset", "quick", "--size", "32x32", "--budget", "3steps", "--device", "cpu")
    said = zoo("compare", "--films", "carphone", "--models", "mine", "--metrics", "psnr", *words)
    assert said.code == 0, said.out + said.err
    report = (workspace / "results" / "report.md").read_text()
    assert "\nZOO_PLUGINS=mine.py zoo " in report


def test_an_error_in_a_plugin_names_its_line(
    named: Callable[..., str], zoo: Callable, workspace: Path
) -> None:
    source = MODEL.format(name="mine").replace("error = (", "error = self.not_there + (")
    named(mine=source)
    line = next(n for n, text in enumerate(source.split("\n"), 1) if "not_there" in text)
    words = ("--film", "carphone", "--preset", "quick", "--size", "32x32", "--budget", "2steps")
    said = zoo("train", "mine", *words, "--device", "cpu")
    assert said.code == 1
    assert f"this is a defect in a plugin (mine.py, line {line}): `zoo --debug`" in said.err


@pytest.fixture
def editable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """What `pip install -e` leaves of a package whose module lies in a folder of its own."""

    def install(name: str, source: str, group: str = "zoo") -> Path:
        folder = tmp_path / "packages"
        about = describe_package(folder, name, {name: f"{name}_module"}, group)
        url = f'"url": "file://{folder}/sources"'
        (about / "direct_url.json").write_text(f'{{{url}, "dir_info": {{"editable": true}}}}')
        (folder / f"{name}_module.py").write_text(source)
        monkeypatch.syspath_prepend(str(folder))
        return folder

    return install


def test_what_did_not_load_is_said_where_it_is_missed(
    zoo: Callable, editable: Callable[..., Path]
) -> None:
    packages = editable("hers", "import zoo\ndef (")
    said = zoo("train", "hers", "--film", "carphone")
    assert said.code == 2
    assert "no model is called 'hers'" in said.err
    assert "did not load: plugin hers of hers 1.0: SyntaxError: invalid syntax" in said.err
    doctor = " ".join(zoo("doctor").out.split())
    assert f"next: repair it in {packages}/sources, or leave it out by ZOO_PLUGINS" in doctor
    assert "pip install --upgrade hers" not in doctor


def test_a_metric_that_did_not_load_is_said_by_a_comparison(
    zoo: Callable, editable: Callable[..., Path]
) -> None:
    editable("hers", "raise RuntimeError('no luck')")
    said = zoo("compare", "--films", "nothing", "--models", "ae")
    assert said.code == 2
    assert "plugin hers of hers 1.0: RuntimeError: no luck (`zoo plugins` lists all)" in said.out


@pytest.mark.parametrize(
    ("constructor", "reason"),
    [
        ("def __init__(self, device, size): ...", "TypeError: Measure.__init__() missing 1"),
        ("def __init__(self): raise zoo.Unavailable('no weights')", "no weights"),
    ],
)
def test_a_metric_that_cannot_be_made_is_said_by_a_comparison(
    constructor: str, reason: str, named: Callable[..., str], zoo: Callable, workspace: Path
) -> None:
    source = METRIC.format(name="mine").replace(
        "    def __call__", f"    {constructor}\n\n    def __call__"
    )
    named(mine=source)
    (workspace / "junk.mp4").write_bytes(b"no film")
    said = zoo("compare", "--films", "./junk.mp4", "--models", "ae", "--metrics", "mine")
    assert f"metric mine is not measured: {reason}" in said.out


def test_a_section_that_did_not_load_is_said_by_zoo_report(
    workspace: Path, zoo: Callable, editable: Callable[..., Path]
) -> None:
    editable("hers", "def (", "zoo.report_sections")
    results = comparison()
    put_pictures(results, workspace / "results")
    write_results(workspace / "results" / "results.json", results)
    said = zoo("report")
    assert said.code == 0, said.err
    missing = "A section is missing: plugin hers of hers 1.0: SyntaxError: invalid syntax"
    assert missing in said.out
    assert missing in (workspace / "results" / "report.md").read_text().replace("\\", "")


def test_the_registry_takes_a_file_beside_installed_ones(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODEL.format(name="mine"))
    point = importlib.metadata.EntryPoint("sound", "json", "zoo")
    found = Registry([point, PluginFile(tmp_path / "mine.py")])
    assert list(found.models) == ["mine"]
    assert [plugin.origin for plugin in found.plugins] == ["? ?", "mine.py"]


@pytest.mark.parametrize(
    ("set_to", "said"),
    [
        ("", ""),
        ("mine.py", "ZOO_PLUGINS=mine.py "),
        ("film-zoo, ../b.py", "ZOO_PLUGINS=film-zoo,../b.py "),
        ("{here}/below/mine.py", "ZOO_PLUGINS=below/mine.py "),
        ("{home}/my code/a.py", "ZOO_PLUGINS='~/my code/a.py' "),
        ("/home/somebody/else.py", "ZOO_PLUGINS=else.py "),
        ("/shared/mine.py", "ZOO_PLUGINS=/shared/mine.py "),
    ],
)
def test_a_command_can_be_typed_again_and_names_no_home(
    set_to: str, said: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path("/nowhere/somebody")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("ZOO_PLUGINS", set_to.format(here=workspace, home=home))
    assert as_typed(["zoo", "compare", "--films", "a b"]) == f"{said}zoo compare --films 'a b'"


def test_a_check_of_nothing_is_not_a_success(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace / "empty.py").write_text(EMPTY)
    said = zoo("plugins", "check", "empty.py")
    assert (said.code, said.out) == (2, "")
    assert said.err == "zoo: empty.py provides nothing to check\n"
    monkeypatch.setenv("ZOO_PLUGINS", "film-zoo")
    describe_package(workspace / "installed", "other-zoo", {"other": "empty"})
    monkeypatch.syspath_prepend(str(workspace / "installed"))
    registry.cache_clear()
    for words in (("other",), ()):
        said = zoo("plugins", "check", *words)
        assert (said.code, said.err) == (2, "zoo: other is left out by ZOO_PLUGINS\n")


def slow_section(console: Console) -> type[ReportSection]:
    """A section that is written once the console has shown which check runs, or not at all."""

    class Slow(ReportSection):
        name, heading = "slow", "Slow"

        def write(self, results: object) -> str:
            end = time.monotonic() + 20
            while console.is_terminal and "checking slow: is written" not in shown(console):
                assert time.monotonic() < end, "it is not shown which check runs"
                time.sleep(0.02)
            self.shown.append(shown(console))
            return ""

        shown: ClassVar[list[str]] = []

    return Slow


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_shows_which_check_runs() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    check_things(console, [slow_section(console)])


def test_what_a_check_found_is_printed_before_the_next_and_nothing_else() -> None:
    console = Console(file=io.StringIO(), force_terminal=False)
    section = slow_section(console)
    check_things(console, [section])
    lines = shown(console).splitlines()
    assert all(line.startswith(("kept ", "unknown", "broken", "        ")) for line in lines[:-1])
    # The second check already finds the line of the first.
    assert section.shown[0] == "" and section.shown[-1].startswith("kept    is written")  # type: ignore[attr-defined]
