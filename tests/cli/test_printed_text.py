"""What is printed: whole rows in a pipe, escapes where letters have no bytes, no foreign lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tests.test_plugins import good, package
from zoo.base.json_output import print_json
from zoo.plugins.entry_points import installed_entry_points
from zoo.plugins.isolation import _shared_state
from zoo.plugins.registry import Registry

LONG = "the-passion-of-joan-of-arc-1928-restored-gaumont-2015"
TITLE = "Звенигора №1 - 東京物語 🎬"


@pytest.fixture
def many_films(workspace: Path) -> Path:
    """A workspace whose films have long names, and titles in letters of several scripts."""
    (workspace / "a.mkv").write_bytes(b"no film")
    (workspace / "films.toml").write_text(
        f'[{LONG}]\nfiles = ["a.mkv"]\ntitle = "{TITLE}"\n', encoding="utf-8"
    )
    return workspace


def run(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A `zoo` of its own, its output a pipe."""
    plain = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "PYTHONIOENCODING")}
    return subprocess.run(
        [sys.executable, "-m", "zoo", *words],
        cwd=folder,
        env={**plain, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="surrogateescape",
    )


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp1252"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["latin-1", "ascii", "cp1252", "POSIX"],
)
def test_letters_that_cannot_be_encoded_are_escaped(
    environment: dict[str, str], many_films: Path
) -> None:
    done = run("films", folder=many_films, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert LONG in done.stdout and "\\u6771\\u4eac" in done.stdout


def test_rows_are_whole_in_a_pipe(many_films: Path) -> None:
    done = run("films", folder=many_films)
    assert done.returncode == 0, done.stderr
    assert f" {LONG} " in done.stdout and TITLE in done.stdout and "…" not in done.stdout


def test_a_list_of_films_does_not_wait_for_torch(many_films: Path) -> None:
    code = (
        "import sys\nfrom zoo.cli import main\nsys.argv = ['zoo', 'films']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=many_films, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [("films",), ("--help",), ("runs",), ("films", "--help")])
def test_a_pipe_that_nobody_reads_is_silent(words: tuple[str, ...], many_films: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "zoo", *words], cwd=many_films, stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_an_unknown_command_is_told_which_there_are(zoo: Callable) -> None:
    done = zoo("runs", "rm", "x")
    assert done.code == 2
    assert "No such command 'rm'; there are: list, show, watch, remove" in done.err


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_runs_can_be_told_apart_at_any_width(
    width: int, zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in ("perceptual", "vaegan"):
        trained = zoo(
            *("train", model, "--film", "carphone", "--preset", "quick", "--device", "cpu"),
            *("--size", "32x32", "--latent", "4", "--set", "width=8", "--batch", "2"),
            *("--budget", "2steps"),
        )
        if trained.code:
            pytest.skip(trained.err)  # weights of the perceptual network cannot be had
    narrow = Console(width=width, force_terminal=True, color_system=None)
    monkeypatch.setattr("zoo.cli.console.Console", lambda: narrow)
    with narrow.capture() as captured:
        assert zoo("runs").code == 0
    said = captured.get()
    joined = "".join(line.strip() for line in said.splitlines())
    assert "…" not in said
    assert max(len(line.rstrip()) for line in said.splitlines()) <= width
    for word in ("perceptual", "vaegan", "carphone", "finished"):
        assert word in (joined if width < 40 else said), (word, said)


NOISY = """
    import atexit, os, subprocess, sys, threading, time
    print("printed")
    sys.__stdout__.write("written to the first stream\\n")
    os.write(1, b"written to the descriptor\\n")
    subprocess.run([sys.executable, "-c", "print('by a child')"])
    atexit.register(print, "printed at the end")

    def chatter():
        while True:
            os.write(1, b"printed by a thread\\n")
            time.sleep(0.005)

    threading.Thread(target=chatter, daemon=True).start()
    import zoo

    @zoo.hookimpl
    def zoo_films():
        print("printed by a hook")
        return []
"""


@pytest.mark.parametrize("verb", ["doctor", "films", "models", "plugins"])
def test_json_is_one_document_whatever_a_plugin_prints(
    verb: str, tmp_path: Path, many_films: Path
) -> None:
    package(tmp_path, "noisy", noisy=NOISY)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = run(verb, "--json", folder=many_films, PYTHONPATH=path, ZOO_CACHE=str(tmp_path))
    assert json.loads(done.stdout)["schema_version"] == 1
    lines = ("printed", "first stream", "descriptor", "by a child", "by a hook")
    for line in (*lines, "by a thread", "at the end"):
        assert line in done.stderr, line


@pytest.mark.parametrize(
    ("words", "code"), [(["info", "none.zoo"], 2), (["match", "none", "no"], 2), (["films"], 0)]
)
def test_json_of_a_command_that_fails_is_nothing_and_its_error_is_one_line(
    words: list[str], code: int, many_films: Path
) -> None:
    done = run(*words, "--json", folder=many_films)
    assert done.returncode == code
    assert bool(done.stdout) == (code == 0)
    assert len(done.stderr.splitlines()) == (code != 0)


def test_numbers_that_are_not_finite_are_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(found=[1.5, float("nan"), {"x": (float("inf"), -float("inf"))}])
    assert json.loads(capsys.readouterr().out)["found"] == [1.5, None, {"x": [None, None]}]


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("torch.set_default_dtype(torch.float64)", "default dtype (float32 to float64)"),
        ("torch.set_default_device('meta')", "default device (cpu to meta)"),
        ("torch.set_grad_enabled(False)", "grad mode (True to False)"),
        ("torch.set_num_threads(torch.get_num_threads() + 1)", "number of threads"),
        ("torch.use_deterministic_algorithms(True)", "deterministic algorithms"),
        ("torch.set_float32_matmul_precision('medium')", "precision of products"),
        ("torch.autograd.set_detect_anomaly(True)", "anomaly detection"),
        ("torch.backends.cudnn.deterministic = True", "choice of kernels"),
        ("import os; os.chdir('/')", "working directory"),
        ("import locale; locale.setlocale(locale.LC_ALL, 'C')", "the locale"),
        ("import signal; signal.signal(signal.SIGINT, print)", "handler of SIGINT"),
        ("import os; os.environ['ZOO_X'] = 'y'", "the environment ({} to {'ZOO_X': 'y'})"),
        ("import os; os.umask(0o777)", "mode of new files"),
        ("import warnings; warnings.simplefilter('error')", "which warnings are errors"),
        ("import sys; sys.setrecursionlimit(5000)", "recursion limit (1000 to 5000)"),
    ],
)
@pytest.mark.parametrize("where", ["import", "hook"])
def test_what_a_plugin_changes_of_the_process_is_put_back_and_said(
    where: str, statement: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = good("changing")
    if where == "import":
        source = source.replace("import torch\n", f"import torch\n    {statement}\n", 1)
    else:
        source = source.replace("return [Good]", f"{statement}; return [Good]")
    package(tmp_path, "changer", changing=source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "changing_of_changer", raising=False)

    before = {one.name: one.read() for one in _shared_state()}
    found = Registry([point for point in installed_entry_points("zoo") if point.name == "changing"])
    assert {one.name: one.read() for one in _shared_state()} == before
    (plugin,) = found.plugins
    assert not plugin.errors and list(found.models) == ["changing"]
    assert len(plugin.changed) == 1 and what in plugin.changed[0]
    assert plugin.changed[0].endswith("it was put back")


def test_defaults_are_put_back_though_the_plugin_imports_torch_first(tmp_path: Path) -> None:
    source = good("first").replace(
        "import torch\n", "import torch\n    torch.set_default_dtype(torch.float64)\n", 1
    )
    package(tmp_path, "aaa-first", first=source)
    code = (
        "import sys\nassert 'torch' not in sys.modules\n"
        "from zoo.plugins.entry_points import installed_entry_points, load_plugins\n"
        "points = [p for p in installed_entry_points('zoo') if p.name == 'first']\n"
        "(plugin,) = load_plugins('zoo', points, lambda *_: None)\n"
        "import torch\n"
        "assert torch.get_default_dtype() == torch.float32\n"
        "assert 'default dtype' in plugin.changed[0], plugin\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
