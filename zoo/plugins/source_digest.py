"""A digest of the source code of a plugin's class, which identifies its version.

This module needs no torch and imports no plugin: it finds files by name and reads them.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import sys
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LENGTH = 16
_CORE = "zoo"
"""film-zoo's own package, which is identified by its version and is not in the digest."""


def source_digest(cls: type) -> str:
    """Compute the digest of a plugin class's source code: 16 hexadecimal digits.

    It covers the module that defines the class, the modules of base classes that come from plugins,
    and, recursively, all modules of the same top-level package that these import anywhere in the
    file. For a module outside any package, modules in the same folder count as its package.
    Comments, blank lines, docstrings and line ends do not matter; every other character does. Other
    packages and data files are not covered. Empty if there is no source to read, as for a class
    that was defined at a prompt.
    """
    return _digest(cls)


@functools.cache
def _digest(cls: Any) -> str:
    found: dict[Path, str] = {}
    for base in cls.__mro__:
        if _is_of_a_plugin(base):
            _gather(base.__module__, found)
    if not found:
        return ""
    return hashlib.sha256("".join(sorted(found.values())).encode()).hexdigest()[:LENGTH]


def _is_of_a_plugin(cls: type) -> bool:
    """Whether a class comes from a plugin and has one of the zoo's contracts as base."""
    return not _is_core(cls) and any(_is_core(base) for base in cls.__mro__)


def _is_core(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == _CORE


def _gather(module: str, found: dict[Path, str]) -> None:
    """Add the digests of a loaded module and of everything it imports from its own package."""
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None)
    if file is None:
        return
    places = _places(module, Path(file))
    waiting = [(module, Path(file))]
    while waiting:
        name, path = waiting.pop()
        if path in found or not path.is_file():
            continue
        stat = path.stat()
        found[path], imported = _read(path, stat.st_mtime_ns, stat.st_size)
        is_package = path.name == "__init__.py"
        for level, target in imported:
            absolute = _absolute(name, is_package, level, target)
            if absolute.partition(".")[0] in ("", _CORE):
                continue
            there = _file_of(absolute, places)
            if there:
                waiting.append((absolute, there))


def _places(module: str, file: Path) -> dict[str, list[Path]]:
    """The folders whose modules count as the plugin's own, by top-level package.

    The key "" stands for any name: modules in the same folder as a module outside any package.
    """
    top, _, below = module.partition(".")
    package = getattr(sys.modules.get(top), "__path__", None)
    if package is not None or below:
        return {top: [Path(folder) for folder in package or ()]}
    beside = file.resolve().parent
    shared = beside.name in ("site-packages", "dist-packages")
    return {} if shared or beside == Path(sysconfig.get_path("stdlib")) else {"": [beside]}


def _file_of(module: str, places: dict[str, list[Path]]) -> Path | None:
    """The file of a module in these folders; None if it is in another package, or no module."""
    top, *below = module.split(".")
    folders = places.get(top)
    if folders is None:
        folders, below = places.get("", []), [top, *below]
    for folder in folders:
        at = folder.joinpath(*below)
        for path in (at / "__init__.py", at.with_name(f"{at.name}.py")):
            if path.is_file():
                return path
    return None


def _absolute(module: str, is_package: bool, level: int, target: str) -> str:
    """The absolute name of `target`, which `module` imports with `level` leading dots."""
    if not level:
        return target
    parts = module.split(".")
    kept = parts[: len(parts) - level + is_package]
    return ".".join([*kept, *([target] if target else [])])


@functools.lru_cache(maxsize=1024)
def _read(path: Path, mtime_ns: int, size: int) -> tuple[str, list[tuple[int, str]]]:
    """The digest of a file's code, and its imports: number of leading dots, and name."""
    raw = path.read_bytes()
    try:
        with tokenize.open(path) as file:
            text = file.read()
        text = text.rstrip() + "\n"
        tree = ast.parse(text)
        code = _code(text, tree)
    except (SyntaxError, ValueError, tokenize.TokenError):
        # Not Python source, but an extension module, say: hash the whole file.
        return hashlib.sha256(raw).hexdigest(), []
    return hashlib.sha256(code.encode()).hexdigest(), list(_imported(tree))


def _imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield node.level, module
            for alias in node.names:
                yield node.level, f"{module}.{alias.name}".lstrip(".")


def _code(text: str, tree: ast.AST) -> str:
    """The lines of a module without comments, blank lines, docstrings and other bare strings."""
    lines: list[str | None] = [*text.split("\n")]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        row, column = token.start
        line = lines[row - 1] or ""
        if token.type == tokenize.COMMENT:
            lines[row - 1] = line[:column].rstrip()
        elif token.type == tokenize.NL and not line.strip():
            lines[row - 1] = None
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str()), end_lineno=int(last)):
                first = node.lineno
                before = (lines[first - 1] or "").encode()[: node.col_offset]
                after = (lines[last - 1] or "").encode()[node.end_col_offset :]
                if not before.strip() and not after.strip():
                    lines[first - 1 : last] = [None] * (last - first + 1)
    return "\n".join(line for line in lines if line is not None)
