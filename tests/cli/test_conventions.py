"""Conventions of a command line: -h, --version, completion, `list`, --json, plain help."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import pytest
import typer

from zoo.cli import app

Zoo = Callable[..., Any]


def words_of(command: Any, *words: str) -> Iterator[tuple[str, ...]]:
    """The words of a command and of all its subcommands."""
    yield words
    for name, each in getattr(command, "commands", {}).items():
        yield from words_of(each, *words, name)


COMMANDS = list(words_of(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_is_short_and_long_and_names_no_types_of_python(
    words: tuple[str, ...], zoo: Zoo
) -> None:
    help_page = zoo(*words, "-h")
    assert help_page.code == 0
    assert help_page.out == zoo(*words, "--help").out
    assert "list[" not in help_page.out


def test_version(zoo: Zoo) -> None:
    assert zoo("--version").out == f"film-zoo {version('film-zoo')}\n"


def test_completion_is_offered(zoo: Zoo) -> None:
    assert "--install-completion" in zoo("--help").out


@pytest.mark.parametrize("verb", ["films", "runs", "models", "plugins"])
def test_a_listing_verb_lists_alone_as_a_subcommand_and_as_json(verb: str, zoo: Zoo) -> None:
    assert zoo(verb).out == zoo(verb, "list").out
    listed = zoo(verb, "--json")
    assert listed.code == 0
    assert listed.out == zoo(verb, "list", "--json").out
    found = json.loads(listed.out)
    assert found["schema_version"] == 1
    assert verb == "runs" or all(each["name"] for each in found[verb])
    refused = zoo(verb, "--json", "list")
    assert refused.code == 2
    assert refused.err == f"zoo: put --json after `zoo {verb} list`\n"
