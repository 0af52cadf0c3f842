"""`zoo compare plan.toml`: what a plan can say, and plans that are written."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

import zoo.cli
from zoo.cli.comparison_plan import write_plan

PLAN = """
films = ["carphone", "./a,b.mkv"]
models = "ae,vae"
preset = "quick"
latents = [8, 16]
seeds = 2
holdout = 0.2
others = false
codecs = false
compile = true
out = "results/night2"
recipe = ["schedule=constant"]
[set]
width = [16, 32]
layered = true
"""
SAID = {
    "films": "carphone,./a,b.mkv",
    "models": "ae,vae",
    "preset": "quick",
    "latents": "8,16",
    "seeds": 2,
    "holdout": 0.2,
    "others": False,
    "codecs": False,
    "compiled": True,
    "out": Path("results/night2"),
    "recipe": ["schedule=constant"],
    "settings": ["width=16,32", "layered=true"],
}


def said(*words: str, save: Path | None = None) -> dict[str, object]:
    """The options of `zoo compare` with these words, without running it."""
    command = typer.main.get_command(zoo.cli.app).commands["compare"]  # type: ignore[attr-defined]
    with command.make_context("compare", list(words)) as context:
        if save:
            write_plan(context, save)
        return dict(context.params)


def test_a_plan_says_what_the_command_line_can_say(workspace: Path) -> None:
    (workspace / "plan.toml").write_text(PLAN)
    found = said("plan.toml")
    assert {name: found[name] for name in SAID} == SAID
    assert found["budget"] is None and found["videos"] == 120.0, "what it does not say is as ever"
    other = said("plan.toml", "--seeds", "5", "--others", "--set", "width=8")
    assert (other["seeds"], other["others"], other["settings"]) == (5, True, ["width=8"])
    assert said("plan.toml", "--codecs")["codecs"] and said("--films", "a")["codecs"]


def test_a_written_plan_says_which_plugins_it_needs(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace / "plan.toml").write_text(PLAN)
    monkeypatch.setenv("ZOO_PLUGINS", str(workspace / "mine.py"))
    said("plan.toml", save=workspace / "new.toml")
    first = (workspace / "new.toml").read_text().splitlines()[0]
    assert "`ZOO_PLUGINS=mine.py zoo compare new.toml` runs it" in first
    said("new.toml")


def test_a_written_plan_says_the_same(workspace: Path) -> None:
    (workspace / "plan.toml").write_text(PLAN)
    first = said("plan.toml", "--budget", "9steps", "--overwrite", save=workspace / "new.toml")
    again = said("new.toml")
    changed = {name for name in first if first[name] != again[name]}
    assert changed == {"plan", "overwrite"}, "permission to replace is given once"
    written = tomllib.loads((workspace / "new.toml").read_text())
    assert written["budget"] == "9steps" and "videos" not in written
    assert written["set"]["width"] == "16,32"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("modles = 'ae'", "a comparison has no option 'modles' (did you mean 'models'?)"),
        ("compiled = true", "no option 'compiled' (did you mean 'compile'?)"),
        ("films = 3.5.1", "is not TOML: "),
        ("seeds = 'three'", "seeds: "),
        ("latent = 1.5", "latent: "),
        ("others = 'no'", "others must be true or false; not 'no'"),
        ("videos = true", "videos must be a text or a number; not True"),
        ("models = [{a = 1}]", "models must be a text or a number or a list of them; not"),
        ("set = 3", "set must be a table, such as set = { width = 64 }, or a list of words; not 3"),
        ("set.width = []", "set.width must be a text, a number, true or false, or a list"),
        ("dry-run = true", "--dry-run belongs on the command line, not in a plan"),
        ("\0", "is not TOML: "),
        ("\ufeffpreset = true", "preset must be a text"),
    ],
)
def test_a_plan_that_is_wrong_is_one_line(
    zoo: Callable, workspace: Path, text: str, expected: str
) -> None:
    (workspace / "plan.toml").write_text(text)
    found = zoo("compare", "plan.toml", "--films", "carphone")
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith("zoo: plan.toml") and expected in found.err
    assert found.err.count("\n") == 1
    assert [path.name for path in workspace.iterdir()] == ["plan.toml"], "nothing is half done"


def test_a_plan_is_a_file_that_is_there_and_none_is_replaced(
    zoo: Callable, workspace: Path
) -> None:
    (workspace / "folder.toml").mkdir()
    assert "folder.toml is not a file" in zoo("compare", "folder.toml").err
    assert "none.toml: there is no such file" in zoo("compare", "none.toml").err
    assert "ae.txt: a plan's name must end in .toml" in zoo("compare", "ae.txt").err
    (workspace / "kept.toml").write_text("# by hand\n")
    found = zoo("compare", "--films", "carphone", "--save-plan", "kept.toml")
    assert found.code == 2 and "kept.toml is there already" in found.err
    assert "--save-plan names another" in found.err
    assert (workspace / "kept.toml").read_text() == "# by hand\n"
