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


def _silent(tree: ast.AST) -> set[int]:
    """Nodes of which the text is no message: docstrings, `help=` and parts of other texts."""
    silent: set[int] = set()
    for node in ast.walk(tree):
        inner: list[ast.AST] = []
        match node:
            case ast.JoinedStr(values=values):
                inner = values
                specs = [v.format_spec for v in values if isinstance(v, ast.FormattedValue)]
                inner += [part for spec in specs if spec for part in ast.walk(spec)]
            case ast.Expr(value=ast.Constant() as text):
                inner = [text]
            case ast.Call(func=ast.Attribute(attr=name)) if name in _HELP:
                inner = list(ast.walk(node))
            case ast.keyword(arg="help", value=value):
                inner = list(ast.walk(value))
        silent |= {id(part) for part in inner}
    return silent


def texts_of(source: str) -> Iterator[str]:
    """The texts of a module that may be printed, with `{}` for what is filled in, in one line."""
    tree = ast.parse(source)
    silent = _silent(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr | ast.Constant) and id(node) not in silent:
            yield " ".join(_template(node).split())
        match node:
            case ast.Call(func=ast.Name(id=name), args=args) if name in _INSTALLERS:
                yield f"`pip {name}({', '.join(map(ast.unparse, args))})`"


def hints_of(module: str, source: str) -> Iterator[Hint]:
    """The hints in a module's source."""
    for text in texts_of(source):
        commands = [text] if _LINE.fullmatch(text) else COMMAND.findall(text)
        yield from (Hint(module, text, command) for command in commands)


def hints() -> list[Hint]:
    """Every hint of film-zoo and of the plugins that come with it."""
    modules = sorted([*(ROOT / "zoo").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])
    return [
        hint
        for path in modules
        for hint in hints_of(path.relative_to(ROOT).as_posix(), path.read_text())
    ]
