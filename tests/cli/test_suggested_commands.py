"""Every command that film-zoo prints or documents is one that its command line takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.cli.hints.printed import FILLED, ROOT, modules
from tests.cli.hints.printed import texts_of as printed_texts
from zoo.cli import UsageError, app
from zoo.scaffold import KINDS, MODELS

PLACEHOLDER = "1"
"""Stands for what is filled in: a text, a path and a number alike."""
PAGES = ("*.md", "docs/*.md", "examples/**/*.md", "zoo/scaffold/templates/*.md.j2")
AT_ONCE = frozenset(
    ("--help", "-h", "--version", "--install-completion", "--show-completion", "--debug")
)
CHEAP = ("zoo runs", "zoo plugins", "zoo models", "zoo films", "zoo doctor")
"""Listing verbs, of which hints are executed as they are printed."""


def texts_of(path: Path) -> Iterator[str]:
    """The texts of a module, with placeholders for what is filled in."""
    for text in printed_texts(path.read_text(), help_too=True):
        yield text.replace(FILLED, PLACEHOLDER)


def printed() -> dict[str, str]:
    """Commands in the texts of the code and of new packages, with a place that has each."""
    of_packages = {
        command: f"a new package of kind {word}"
        for word, kind in (MODELS | KINDS).items()
        for command in kind.commands
    }
    return of_packages | {
        " ".join("".join(command).split()): str(module.relative_to(ROOT))
        for module in modules()
        for text in texts_of(module)
        for command in re.findall(r"`(zoo [^`]+)`|^(zoo [a-z]+ .*--.*)$", text)
    }


def documented() -> dict[str, str]:
    """Commands in the shell blocks of pages, and, with `...` for the rest, those between words."""
    found = {}
    for page in sorted(path for pattern in PAGES for path in ROOT.glob(pattern)):
        text, name = page.read_text(), str(page.relative_to(ROOT))
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if command := re.match(r"(?:[A-Z_]+=\S+ )*(zoo .+)", line):
                    found[command[1]] = name
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        for command in re.findall(r"(?<!`)`(zoo [^`]+)`", prose):
            found[" ".join(f"{command} ...".split())] = name
    return found


def words_of(command: str) -> list[str]:
    """The words after `zoo`, without comment and redirection; names in capitals are filled in."""
    words = shlex.split(
        re.sub(r"\{\{.*?\}\}|\{\w+\}|<[^>]+>", PLACEHOLDER, command), comments=True
    )[1:]
    end = next((n for n, word in enumerate(words) if word in ("|", ">", "&&", ";")), len(words))
    return [
        re.sub(r"^[A-Z]+(\.\.\.)?$", PLACEHOLDER, word.strip("[]"))
        if not word.startswith("-")
        else word
        for word in words[:end]
    ]


def verb_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words begin with, and the rest; LookupError where there is none."""
    command = typer.main.get_command(app)
    while getattr(command, "commands", None) and words and not words[0].startswith("-"):
        if words[0] == "...":
            return command, []
        if words[0] not in command.commands:
            raise LookupError(f"no verb {words[0]!r}")
        command, words = command.commands[words[0]], words[1:]
    return command, words


def refused(command: str) -> str | None:
    """What the command line says against a command; None if it takes it."""
    command_words = words_of(command)
    try:
        verb, words = verb_of(command_words)
    except LookupError as missing:
        return str(missing)
    if not words or words[0] in AT_ONCE:
        return None  # the verb alone is named, or the option is known and acts as it is read
    if "..." in words:
        known = {name for option in verb.params for name in (*option.opts, *option.secondary_opts)}
        unknown = {word.partition("=")[0] for word in words if word.startswith("-")} - known
        return f"no option {', '.join(sorted(unknown))}" if unknown - AT_ONCE else None
    try:
        verb.make_context(verb.name, words)
    except UsageError as error:
        return str(error)
    return None


@pytest.fixture(autouse=True)
def any_plan_names_films(monkeypatch: pytest.MonkeyPatch) -> None:
    def apply(context: Any, path: Path) -> None:
        context.default_map = {"films": "all"}

    monkeypatch.setattr("zoo.cli.comparison_plan.apply_plan", apply)


def test_what_is_wrong_is_found() -> None:
    assert refused("zoo trian ae --film bikes") == "no verb 'trian'"
    assert "No such option" in str(refused("zoo train ae --film bikes --overwirte"))
    assert "Missing" in str(refused("zoo train ae"))
    assert refused("zoo train ... --overwirte") == "no option --overwirte"
    assert refused("zoo train ae --film 1 --budget 9steps") is None


def test_every_printed_command_is_one() -> None:
    found = printed()
    assert len(found) > 40
    wrong = {f"{found[each]}: `{each}`: {why}" for each in found if (why := refused(each))}
    assert wrong == set()


def test_every_documented_command_is_one() -> None:
    found = documented()
    assert len(found) > 150
    wrong = {f"{found[each]}: `{each}`: {why}" for each in found if (why := refused(each))}
    assert wrong == set()


def test_no_command_is_printed_without_backquotes() -> None:
    """They would be overlooked here, and look like prose to who reads them."""
    verbs = "|".join(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    bare = {
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in (ROOT / "zoo").rglob("*.py")
        for text in texts_of(path)
        if "\n" not in text and not text.startswith("zoo ")
        for found in re.finditer(rf"\bzoo (?:{verbs}) (?:\S+ )*?--\S+", re.sub("`[^`]*`", "", text))
    }
    assert bare == set()


@pytest.mark.parametrize("command", CHEAP)
def test_a_listing_that_is_suggested_lists(command: str, zoo: Callable, workspace: Path) -> None:
    assert command in printed()
    assert zoo(*command.split()[1:]).code in (0, 1 if command == "zoo doctor" else 0)


def test_one_phrase_says_how_an_interrupted_command_is_resumed() -> None:
    pages = [path for pattern in PAGES for path in ROOT.glob(pattern)]
    texts = {str(path): path.read_text() for path in [*pages, *(ROOT / "zoo").rglob("*.py")]}
    pattern = r"same\s+command\s+(?:\S+\s+){0,3}?(?:goes\s+on|resumes|continues)"
    assert [path for path, text in texts.items() if re.search(pattern, text)] == []
