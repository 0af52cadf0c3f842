"""The hints in the source: each text with a command that somebody is told to run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
FILLED = "{}"
"""Stands for what is filled in when a text is printed."""
_PROGRAMS = "zoo|pip|pipx|uv|ffmpeg|hf|cat|cd"
COMMAND = re.compile(rf"`((?:{_PROGRAMS})(?: [^`]*)?)`")
_LINE = re.compile(r"zoo [a-z]+ (?:.*--|.*\{).*[^.]")
_INSTALLERS = ("missing_extra", "install_command", "package_command")
"""Functions that make a command of how film-zoo was installed."""
_HELP = ("Option", "Argument")


@dataclass(frozen=True)
class Hint:
    """A command in a text of a module."""

    module: str
    text: str
    command: str


def _template(node: ast.AST) -> str:
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=values):
            return "".join(map(_template, values))
        case _:
            return FILLED


def _parts(tree: ast.AST) -> Iterator[ast.AST]:
    """The parts of other texts, but for the texts in what is filled in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield from node.values
            for value in node.values:
                if isinstance(value, ast.FormattedValue) and value.format_spec:
                    yield from ast.walk(value.format_spec)


def _help(tree: ast.AST) -> Iterator[ast.AST]:
    """What is no message: docstrings and `help=`."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant() as text):
                yield text
            case ast.Call(func=ast.Attribute(attr=name)) if name in _HELP:
                yield from ast.walk(node)
            case ast.keyword(arg="help", value=value):
                yield from ast.walk(value)


def texts_of(source: str, *, help_too: bool = False) -> Iterator[str]:
    """The texts of a module that may be printed, with `{}` for what is filled in.

    `help_too` is for docstrings and the help of options as well.
    """
    tree = ast.parse(source)
    silent = {id(node) for node in (*_parts(tree), *(() if help_too else _help(tree)))}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr | ast.Constant) and id(node) not in silent:
            yield _template(node)
        match node:
            case ast.Call(func=ast.Name(id=name), args=args) if name in _INSTALLERS:
                yield f"`pip {name}({', '.join(map(ast.unparse, args))})`"


def hints_of(module: str, source: str) -> Iterator[Hint]:
    """The hints in a module's source."""
    for text in (" ".join(text.split()) for text in texts_of(source)):
        commands = [text] if _LINE.fullmatch(text) else COMMAND.findall(text)
        yield from (Hint(module, text, command) for command in commands)


def modules() -> list[Path]:
    """The source of film-zoo and of the plugins that come with it."""
    return sorted([*(ROOT / "zoo").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])


def hints() -> list[Hint]:
    """Every hint of film-zoo and of the plugins that come with it."""
    return [
        hint
        for path in modules()
        for hint in hints_of(path.relative_to(ROOT).as_posix(), path.read_text())
    ]
