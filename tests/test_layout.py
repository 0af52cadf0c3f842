"""The rooms of the code: which may import which, how many files there are and how long they get."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ROOT / "zoo", ROOT / "plugins" / "zoo_plugins"
MOST_FILES, MOST_LINES = 221, 450

ROOMS = (
    "base",
    "api",
    "plugins",
    "films",
    "pretrained",
    "matching",
    "report",
    "training",
    "evaluation",
    "reconstruct",
    "compare",
    "conformance",
    "scaffold",
    "doctor",
    "cli",
)
"""Lowest first: a room imports from rooms before it and never from those after it."""
UPWARD = {
    # While a model is trained, a few frames are scored as in an evaluation.
    ("zoo.training.validation", "evaluation"),
}
"""The only imports that go upward, each from one module."""
FRONT = {"zoo", "zoo.__main__", "zoo.testing"}
"""The public face, which imports from anywhere."""
REPLACED = frozenset(
    {
        *(
            "afresh",
            "aside",
            "deal",
            "dealt",
            "drawing",
            "drawn",
            "elsewhere",
            "eyes",
            "feed",
            "hear",
        ),
        *("hears", "judge", "judged", "judges", "pace", "redraw", "redrawn", "saying", "scribe"),
        *("standings", "stranger", "strangers", "tally", "tells", "trait", "traits", "watched"),
        *("watcher", "watching", "wishes"),
    }
)
"""Words that the glossary replaced: no name in the code has them as a part."""


@functools.cache
def sources() -> dict[str, Path]:
    """Every module by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            parts = path.relative_to(package.parent).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


@functools.cache
def tree(module: str) -> ast.Module:
    return ast.parse(sources()[module].read_text())


@functools.cache
def imports(module: str) -> frozenset[tuple[str, bool]]:
    """Modules of ours that a module imports, and whether it does so as soon as it is imported.

    Imports for type checkers alone are left out.
    """
    return frozenset(_imports(tree(module), at_once=True))


def _imports(node: ast.AST, at_once: bool) -> Iterator[tuple[str, bool]]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.Import():
                yield from ((n.name, at_once) for n in child.names if n.name in sources())
            case ast.ImportFrom(module=str(source), level=0):
                for name in child.names:
                    inner = f"{source}.{name.name}"
                    if inner in sources() or source in sources():
                        yield inner if inner in sources() else source, at_once
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _imports(child, at_once=False)
            case _:
                yield from _imports(child, at_once)


def room(module: str) -> str | None:
    """The room of a module of the package `zoo`; None for the public face and for plugins."""
    parts = module.split(".")
    return None if parts[0] != "zoo" or module in FRONT else parts[1]


def test_every_module_is_in_a_room() -> None:
    assert {room(module) for module in sources()} - {None} == set(ROOMS)


def test_rooms_import_only_from_rooms_below_them() -> None:
    upward = sorted(
        f"{module} imports {target}"
        for module in sources()
        for target, _ in imports(module)
        if (here := room(module)) and (there := room(target))
        if ROOMS.index(there) > ROOMS.index(here) and (module, there) not in UPWARD
    )
    assert upward == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {
        module: {target for target, at_once in imports(module) if at_once and target != module}
        for module in sources()
        if module != "zoo"
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a cycle of imports: {' -> '.join(error.args[1])}")


def test_the_core_imports_no_built_in_plugin() -> None:
    assert [m for m in sources() if room(m) for t, _ in imports(m) if "zoo_plugins" in t] == []


def test_there_are_few_files_and_none_is_long() -> None:
    lengths = {module: len(path.read_text().splitlines()) for module, path in sources().items()}
    assert len(lengths) <= MOST_FILES
    assert {m: n for m, n in lengths.items() if n > MOST_LINES} == {}


def _names(module: str) -> Iterator[str]:
    yield from module.split(".")
    for node in ast.walk(tree(module)):
        for field in ("name", "id", "arg", "attr", "asname"):
            name = getattr(node, field, None)
            if isinstance(name, str):
                yield name


def test_no_name_has_a_word_that_was_replaced() -> None:
    guilty = {
        f"{module}: {name}"
        for module in sources()
        for name in _names(module)
        if set(re.findall(r"[a-z]+", re.sub(r"([A-Z])", r"_\1", name).lower())) & REPLACED
    }
    assert guilty == set()


def _named_in_pages(pattern: str) -> set[tuple[str, str]]:
    """What the pages name in this form, each with its page."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")]
    return {(p.name, name) for p in pages for name in re.findall(pattern, p.read_text())}


def test_pages_name_modules_that_are_there() -> None:
    named = _named_in_pages(r"\b(?:zoo|plugins|tests|benchmarks)/[a-z0-9_/]+\.py\b")
    assert len(named) > 20
    assert {each for each in named if not (ROOT / each[1]).is_file()} == set()


def test_pages_name_tests_that_are_there() -> None:
    named = _named_in_pages(r"(?:::|`)(test_\w+)\b(?!\.py)")
    files = [*ROOT.glob("tests/**/*.py"), *ROOT.glob("benchmarks/*.py")]
    defined = {name for f in files for name in re.findall(r"def (test_\w+)", f.read_text())}
    assert len(named) > 20
    assert {each for each in named if each[1] not in defined} == set()
