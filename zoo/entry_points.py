"""Installed plugins: which there are, in what order, which may load, and loading them.

Nothing here needs torch: the report, which does without it, finds its sections through this file.
"""

from __future__ import annotations

import ast
import difflib
import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any

import pluggy

from zoo import hookspecs
from zoo.errors import BadInput
from zoo.isolation import process_kept
from zoo.plain_text import one_line

BUILT_IN = "film-zoo"
"""The package whose plugins load first, so that no other can take their names."""
LIMIT = "ZOO_PLUGINS"
"""The environment variable that limits what loads: names of entry points and of packages."""
CONTRACT = "zoo_contract"
"""The name in a plugin's module that says which contract it was written for."""


@dataclass
class Plugin:
    """One entry point: where it came from, what it added, or why it could not."""

    name: str
    package: str
    version: str
    adds: dict[str, list[str]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    """What its import changed of the process, a line each; all of it was put back."""
    left_out: bool = False
    """Whether ZOO_PLUGINS kept it from loading."""

    @property
    def origin(self) -> str:
        """The package that brought it, with its version."""
        return f"{self.package} {self.version}"


def installed(group: str) -> list[EntryPoint]:
    """The entry points of a group: the built-in ones, then the others by package and name."""
    return sorted(importlib.metadata.entry_points(group=group), key=_turn)


def limit() -> frozenset[str] | None:
    """What ZOO_PLUGINS names, normalised; None where it is not set or empty: everything loads.

    Raises BadInput if a name in it is that of no installed plugin and of no package with one.
    """
    words = [word.strip() for word in os.environ.get(LIMIT, "").split(",") if word.strip()]
    if not words:
        return None
    points = [point for group in hookspecs.GROUPS for point in installed(group)]
    known = dict.fromkeys([_package(point) for point in points] + [point.name for point in points])
    normalised = {_normalise(name) for name in known}
    for word in words:
        if _normalise(word) not in normalised:
            close = difflib.get_close_matches(word, known, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise BadInput(
                f"{LIMIT} names {word!r}, and no installed plugin or package is called that{hint}; "
                f"there are: {', '.join(known)}"
            )
    return frozenset(map(_normalise, words))


def load(
    group: str,
    points: Iterable[EntryPoint],
    add: Callable[[Plugin, str, Any], None],
    only: frozenset[str] | None = None,
) -> list[Plugin]:
    """Load plugins one after another, handing each thing that one brings to `add`.

    `add(plugin, hook, thing)` takes the thing or raises. Whatever a plugin raises, on import, from
    a hook or because of what it brings, becomes a line of its `errors` and costs only itself.
    `only` is what `limit` gives: the rest is listed as left out.
    """
    plugins = []
    for point in points:
        plugin = Plugin(point.name, _package(point), point.dist.version if point.dist else "?")
        plugins.append(plugin)
        if only is not None and not {_normalise(point.name), _normalise(plugin.package)} & only:
            plugin.left_out = True
            continue
        # A plugin is a stranger's code and may fail in any way; that it did is shown by
        # `zoo plugins` with the reason. SystemExit is caught too: a plugin cannot end the zoo.
        try:
            with process_kept(plugin.changed):
                manager, hooks = _registered(group, point)
        except (Exception, SystemExit) as error:
            plugin.errors.append(in_one_line(error))
            continue
        for hook in hooks:
            try:
                with process_kept(plugin.changed):
                    things = _things(manager, hook)
            except (Exception, SystemExit) as error:
                plugin.errors.append(f"{hook}: {in_one_line(error)}")
                continue
            for thing in things:
                try:
                    add(plugin, hook, thing)
                    plugin.adds.setdefault(hook, []).append(thing.name)
                except (Exception, SystemExit) as error:
                    plugin.errors.append(f"{hook}: {in_one_line(error)}")
    return plugins


def in_one_line(error: BaseException) -> str:
    """An error's kind and message on one line."""
    return one_line(f"{type(error).__name__}: {error}", 1000)


def _registered(group: str, point: EntryPoint) -> tuple[pluggy.PluginManager, Sequence[str]]:
    """Import a plugin into a manager of its own; return that and the hooks that it fills."""
    written_for = _declared_contract(point.module)
    if written_for not in (None, hookspecs.CONTRACT_VERSION):
        raise ValueError(
            f"written for contract {written_for}, this zoo has {hookspecs.CONTRACT_VERSION}"
        )
    module = point.load()
    manager = pluggy.PluginManager("zoo")
    manager.add_hookspecs(hookspecs)
    manager.register(module, point.name)
    manager.check_pending()
    hooks = [caller.name for caller in manager.get_hookcallers(module) or ()]
    if not hooks:
        raise ValueError("it fills no hook: no function in it is marked with @zoo.hookimpl")
    for other, theirs in hookspecs.GROUPS.items():
        for hook in set(hooks) & set(theirs):
            if other != group:
                raise ValueError(f"{hook} belongs in a module named under the group {other!r}")
    return manager, [hook for hook in hookspecs.GROUPS[group] if hook in hooks]


def _things(manager: pluggy.PluginManager, hook: str) -> list[Any]:
    # pluggy drops a None, so that a forgotten `return` would go unseen.
    returned = getattr(manager.hook, hook)()
    if not returned:
        raise ValueError("it returned None, not a list")
    return [thing for things in returned for thing in things]


def may_fill(point: EntryPoint, hook: str) -> bool:
    """Whether a plugin's module may fill a hook: its source names it, or cannot be read."""
    try:
        with process_kept([]):
            source = _source(point.module)
        tree = ast.parse(source or "")
    # Loading it says what is wrong with it, to whoever asks for plugins.
    except (Exception, SystemExit):
        return True
    named = {getattr(node, "name", "") for node in tree.body}
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            named |= {alias.asname or alias.name for alias in node.names}
    return source is None or hook in named or "*" in named


def _source(module: str) -> str | None:
    """The source of a module that is not imported for it; None where there is none to read."""
    spec = importlib.util.find_spec(module)
    found = getattr(spec.loader, "get_source", lambda name: None)(module) if spec else None
    return found if isinstance(found, str) else None


def _declared_contract(module: str) -> int | None:
    """The number in the line `zoo_contract = 1` of a module's source; None if there is none.

    The module is read and not run: one that was written for another contract may well fail on
    import, for a reason that says less.
    """
    source = _source(module)
    if source is None:
        return None
    for statement in ast.parse(source, f"{module.rpartition('.')[2]}.py").body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == CONTRACT:
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=value) if name == CONTRACT:
                pass
            case _:
                continue
        match value:
            case ast.Constant(value=bool()):
                pass
            case ast.Constant(value=int(number)):
                return number
        raise ValueError(f"{CONTRACT} is a plain number, such as 1")
    return None


def _turn(point: EntryPoint) -> tuple[bool, str, str]:
    package = _normalise(_package(point))
    # The sort is stable: built-in plugins stay in the order of their package.
    return (False, "", "") if package == BUILT_IN else (True, package, point.name)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "?"


def _normalise(name: str) -> str:
    """A name as package indexes compare them: `Film_Zoo` is `film-zoo`."""
    return re.sub(r"[-_.]+", "-", name).lower()
