"""Each hint in the source has a test that provokes it and follows it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.cli.hints.printed import COMMAND, Hint, hints, hints_of

HERE = Path(__file__).parent
ELSEWHERE = {
    # Commands that pip and its kin run, made in one place: tests/cli/test_extras.py.
    "`pip ",
    "pipx runpip {} install {}",
    "uv pip install --python {} {}",
}
"""Hints that other tests follow, by how they begin."""
NOT_PRINTED = {"zoo compare --films alpha,beta"}


def rows() -> Iterator[tuple[str, str]]:
    """The module and the text of each hint that the tests of this folder say they follow."""
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="hint"), args=[ast.Constant(), *_] as words):
                    module, *texts = [ast.literal_eval(word) for word in words]
                    yield from ((module, text) for text in texts)


def is_followed(hint: Hint, given: list[tuple[str, str]]) -> bool:
    """Whether a row is of this hint: of its module, a part of its text that has its command."""
    return any(
        module == hint.module
        and text in hint.text
        and (text == hint.command or hint.command in COMMAND.findall(text))
        for module, text in given
    )


def wanted() -> list[Hint]:
    return [
        hint
        for hint in hints()
        if hint.module != "zoo/base/extras.py"
        and hint.command not in NOT_PRINTED
        and not hint.text.startswith(tuple(ELSEWHERE))
    ]


def test_every_hint_is_followed() -> None:
    given = list(rows())
    assert len(wanted()) > 35
    assert [hint for hint in wanted() if not is_followed(hint, given)] == []


def test_no_row_is_of_a_hint_that_is_gone() -> None:
    texts = {(hint.module, hint.text) for hint in hints()}
    given = set(rows())
    known = {row for row in given for m, text in texts if row[0] == m and row[1] in text}
    assert given - known == set()


def test_a_hint_is_seen_however_it_is_written() -> None:
    source = '''
def f(name):
    """`zoo docstring` is none."""
    raise E(f"no {name!r}: `zoo train {name:>{4}} --film FILM` makes "
            "one, `cd` first")
again = f"zoo train {name} --overwrite"
option = typer.Option("--x", help="As `zoo runs` names it.")
raise E(missing_extra("hub", "it"))
'''
    assert [hint.command for hint in hints_of("m.py", source)] == [
        *("zoo train {} --overwrite", "pip missing_extra('hub', 'it')"),
        *("zoo train {} --film FILM", "cd"),
    ]
