"""Each hint in the source has a test that provokes it and follows it, or stands in a list."""

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
PARSED_ALONE = [
    ("zoo/reconstruct/model_loader.py", "is held out. `zoo train {} --film {}` trains on it"),
    ("zoo/training/trained_models.py", "zoo train {} --film {} --overwrite"),
    ("zoo/cli/runs.py", "no runs here; `zoo train` and"),
    ("zoo/cli/runs.py", "and `zoo compare` leave them in runs/"),
    ("zoo/cli/runs.py", "with film-zoo comes {}: `zoo walk {}`"),
    ("zoo/cli/models.py", "brings no model; `zoo plugins check {}`"),
    ("zoo/cli/models.py", "see `zoo plugins`"),
    ("zoo/cli/compare.py", "(`zoo plugins` lists all)"),
    ("zoo/plugins/registry.py", "no model: `zoo compare --films all --models {}` runs it"),
    ("zoo/plugins/registry.py", "`zoo plugins check {}` examines it"),
    ("zoo/cli/evaluate.py", "is a film codec: `zoo compare --films all --models {}`"),
    ("zoo/cli/evaluate.py", "is of a film codec: `zoo compare --films all --models {}`"),
    ("zoo/cli/comparison_plan.py", "`zoo compare {name}` runs it"),
    ("zoo/report/results_folder.py", "holds no results: `zoo compare` writes them"),
    ("zoo/report/protocol.py", "break on purpose; `zoo models check` does"),
    ("zoo/reconstruct/archive/container.py", "is not a film file: `zoo encode`"),
    (
        "zoo/reconstruct/archive/container.py",
        "is not a film file: `zoo encode` writes one, and `zoo films info`",
    ),
    ("zoo/reconstruct/archive/container.py", "is not a film file, or not all of one: `zoo encode`"),
    (
        "zoo/reconstruct/archive/container.py",
        "is not a film file, or not all of one: `zoo encode` writes one, and `zoo films info`",
    ),
    ("zoo/cli/errors.py", "`zoo doctor` looks at this machine"),
    ("zoo/cli/errors.py", "`zoo --debug` and the same words show where"),
    ("zoo/cli/export.py", "`zoo reconstruct {} --film FILM` uses it"),
    ("zoo/reconstruct/hub.py", "is not a run that `zoo push` published"),
    ("zoo/reconstruct/hub.py", "that you may see: {}; `hf auth login` logs in"),
    ("zoo/reconstruct/hub.py", "cannot be pushed: {}; `hf auth login` logs in"),
    ("zoo/training/progress_page.py", "`zoo runs` says whether it still does"),
]
"""Hints of which `test_suggested_commands.py` knows only that the command line takes them."""
SCAFFOLD = "zoo/scaffold/__init__.py"
"""Its commands are those of a package's README; tests/test_scaffold.py follows them."""


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
        if hint.module not in (SCAFFOLD, "zoo/base/extras.py")
        and hint.command not in NOT_PRINTED
        and not hint.text.startswith(tuple(ELSEWHERE))
    ]


def test_every_hint_is_followed_or_listed() -> None:
    given = [*rows(), *PARSED_ALONE]
    assert len(wanted()) > 35
    assert [hint for hint in wanted() if not is_followed(hint, given)] == []


def test_what_is_followed_is_not_listed() -> None:
    assert set(rows()) & set(PARSED_ALONE) == set()


def test_no_row_is_of_a_hint_that_is_gone() -> None:
    texts = {(hint.module, hint.text) for hint in hints()}
    given = {*rows(), *PARSED_ALONE}
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
