"""Verbs that need no network import no torch, and list plugins from what is kept of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.plugins.entry_points import Plugin, PluginFile
from zoo.plugins.listing_cache import Listing, listing
from zoo.plugins.registry import ENTRY_POINT_GROUP
from zoo.training.runs import bundled_runs

PRINTS_MODULES = """
import sys
from zoo.cli import main
try:
    main()
except SystemExit as end:
    code = end.code
print(*sorted({"torch", "timm", "lpips"} & {name.partition(".")[0] for name in sys.modules}),
      code or 0, file=sys.stderr)
"""


def started(folder: Path, *words: str) -> tuple[str, str]:
    """What a command printed, and which heavy modules it imported, with its exit code."""
    printed, _, modules = outcome(folder, *words)
    return printed, modules


def outcome(folder: Path, *words: str) -> tuple[str, str, str]:
    """As `started`, with what was printed on standard error between."""
    done = subprocess.run(
        [sys.executable, "-c", PRINTS_MODULES, *words],
        cwd=folder,
        env={**os.environ, "ZOO_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
    )
    *said, modules = done.stderr.splitlines()
    return done.stdout, "\n".join(said), modules


@pytest.fixture(scope="module")
def listed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the plugins have been listed, as after any first command."""
    folder = tmp_path_factory.mktemp("listed")
    started(folder, "models")
    return folder


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--help",), 0),
        (("--version",), 0),
        (("films",), 0),
        (("films", "list", "--json"), 0),
        (("runs",), 0),
        (("report",), 2),
        (("info", "none.zoo"), 2),
    ],
    ids=str,
)
def test_a_verb_that_needs_no_network_imports_no_torch(
    words: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    assert started(tmp_path, *words)[1] == str(code)


def test_plugins_are_imported_once_and_listed_from_the_cache_then(tmp_path: Path) -> None:
    first, modules = started(tmp_path, "models")
    assert "torch" in modules
    for words in (("models",), ("plugins",), ("plugins", "--json"), ("films",)):
        printed, modules = started(tmp_path, *words)
        assert modules == "0", words
        if words == ("models",):
            assert printed == first
    for kept in (tmp_path / "cache" / "plugins").iterdir():
        kept.write_text("{}")
    again, modules = started(tmp_path, "models")
    assert again == first and "torch" in modules
    assert started(tmp_path, "models")[1] == "0"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("train vaegann --film carphone", "no model is called 'vaegann'"),
        ("train vae --film carphonee", "carphonee"),
        ("train vae --film carphone --budget 2parsecs", "a budget must be more than 0"),
        ("train vae --film carphone --size 95x53", "95x53"),
        ("train vae --film carphone --preset quik", "no preset is called 'quik'"),
        ("compare --films carphone --models vae,vaegann", "no model is called 'vaegann'"),
        ("compare --films carphone --models vae --budget 2parsecs", "a budget must be more than 0"),
        ("walk vaegann --film carphone", "no model is called 'vaegann'"),
        ("walk --film carphone --run tune/vaegan", "tune/vaegan"),
        ("interpolate vae --film carphonee --from 1 --to 2", "carphonee"),
        ("interpolate vae --film carphone --from 1 --to 2 --path bent", "spherical or linear"),
    ],
)
def test_wrong_words_are_refused_before_torch_is_imported(
    words: str, why: str, listed_once: Path
) -> None:
    _, said, modules = outcome(listed_once, *words.split())
    assert why in said and modules == "2"


def test_an_output_that_is_there_is_refused_before_torch_is_imported(listed_once: Path) -> None:
    run = next(iter(bundled_runs()))
    taken = listed_once / "taken.mp4"
    taken.write_bytes(b"")
    for verb in (["walk"], ["interpolate", "--from", "0", "--to", "1"]):
        _, said, modules = outcome(listed_once, *verb, "--run", run.name, "-o", taken.name)
        assert "taken.mp4 is there already" in said and modules == "2", said


@pytest.mark.parametrize(
    ("typed", "found", "others"),
    [
        ("zoo train vaeg", {"vaegan"}, {"vae"}),
        ("zoo walk beta", {"beta_vae"}, {"vae"}),
        ("zoo train vae --film carph", {"carphone"}, {"vae"}),
        ("zoo train vae --preset qu", {"quick"}, {"film"}),
        ("zoo compare --models ae,vaeg", {"ae,vaegan"}, {"vaegan", "all"}),
        ("zoo compare --films m", {"mine"}, {"all"}),
        ("zoo train --film nothing-is-called-this", set(), {"carphone"}),
    ],
)
def test_a_shell_completes_names_without_torch(
    typed: str,
    found: set[str],
    others: set[str],
    listed_once: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = typed.split()
    monkeypatch.setenv("_ZOO_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    printed, said, modules = outcome(listed_once)
    offered = set(printed.split())
    assert found <= offered and not others & offered, (printed, said)
    assert modules == "0"


class Counted:
    """A way to make a listing that counts how often it was taken."""

    def __init__(self, *errors: str) -> None:
        self.made = 0
        self.errors = errors

    def __call__(self) -> Listing:
        self.made += 1
        return Listing(plugins=[Plugin("mine.py", "mine.py", "", errors=[*self.errors])])


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugin in a file that has been loaded."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "mine.py"
    path.write_text("value = 1\n")
    monkeypatch.setenv("ZOO_PLUGINS", f"film-zoo,{path}")
    monkeypatch.setitem(sys.modules, "mine", PluginFile(path).load())
    return path


def test_a_listing_holds_until_the_source_of_a_plugin_changes(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Counted()
    for _ in range(2):
        listing(ENTRY_POINT_GROUP, made)
    assert made.made == 1
    os.utime(mine, ns=(1, 1))
    listing(ENTRY_POINT_GROUP, made)
    assert made.made == 1, "touched and not changed"
    mine.write_text("value = 2\n")
    listing(ENTRY_POINT_GROUP, made)
    assert made.made == 2
    monkeypatch.setenv("ZOO_PLUGINS", "film-zoo")
    listing(ENTRY_POINT_GROUP, made)
    assert made.made == 3
    monkeypatch.setattr(sys, "version", "3.99")
    listing(ENTRY_POINT_GROUP, made)
    assert made.made == 4


def test_a_listing_with_a_plugin_that_failed_is_made_again(mine: Path) -> None:
    made = Counted("No module named 'gone'")
    for _ in range(2):
        assert listing(ENTRY_POINT_GROUP, made).plugins[0].errors
    assert made.made == 2


@pytest.mark.parametrize("kept", ["", "{", '{"sources": {}, "listing": 3}', "[" * 5000, "\0"])
def test_a_corrupted_listing_is_made_again(kept: str, mine: Path, tmp_path: Path) -> None:
    made = Counted()
    listing(ENTRY_POINT_GROUP, made)
    (path,) = (tmp_path / "cache" / "plugins").iterdir()
    path.write_text(kept)
    listing(ENTRY_POINT_GROUP, made)
    listing(ENTRY_POINT_GROUP, made)
    assert made.made == 2


def test_without_a_cache_that_can_be_written_the_listing_is_made_each_time(
    mine: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    made = Counted()
    for _ in range(2):
        listing(ENTRY_POINT_GROUP, made)
    assert made.made == 2
