"""Find plugins by entry points and files, and load them in order.

This module needs no torch, so that the report, which runs without torch, can find its sections.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import sys
import tokenize
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pluggy

from zoo.api import hookspecs
from zoo.base.errors import BadInput
from zoo.base.safe_text import describe_value, did_you_mean, one_line
from zoo.plugins.contribution_checks import Refused, check_contract, refuse
from zoo.plugins.isolation import process_state_restored

BUILT_IN = "film-zoo"
"""The package whose plugins load first, so that no other package can take their names."""
LIMIT = "ZOO_PLUGINS"
"""The environment variable that selects plugins: names of entry points or packages limit which
installed plugins load, and files are loaded in addition."""
_HOMES = frozenset({"home", "Users", "root"})
"""First folders of paths that may contain a person's name."""
_KINDS = MappingProxyType(
    {
        "zoo.api.autoencoder.Autoencoder": "zoo_models",
        "zoo.api.codec.FilmCodec": "zoo_references",
        "zoo.api.metric.Metric": "zoo_metrics",
        "zoo.api.film_entry.FilmEntry": "zoo_films",
        "zoo.api.report_section.ReportSection": "zoo_report_sections",
        "zoo.api.recipe_and_events.TrainingCallback": "zoo_training_callbacks",
    }
)
"""The hook for a contribution, by the name of its base class."""
_THIRD_PARTY: set[str] = set()
"""Top-level packages from which plugins were loaded, except the built-in ones."""
_CLASSES = MappingProxyType({hook: base.rpartition(".")[2] for base, hook in _KINDS.items()})


@dataclass(frozen=True)
class PluginFile:
    """A plugin that is a single Python file and is not installed."""

    path: Path

    @property
    def name(self) -> str:
        """The file's name without its folder, which is the plugin's name."""
        return self.path.name

    def load(self) -> ModuleType:
        """Import the file, under its own name if no other module has that name.

        Its folder is appended to `sys.path`, so that it can import modules in the same folder. A
        file in a package is imported as a module of that package.
        """
        root = self.path.parent
        while (root / "__init__.py").exists():
            root = root.parent
        parts = (*self.path.parent.relative_to(root).parts, self.path.stem)
        if str(root) not in sys.path:
            sys.path.append(str(root))
        name = ".".join(parts)
        if all(part.isidentifier() for part in parts) and _is_at(name, self.path):
            return importlib.import_module(name)
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:8]
        name = f"{re.sub(r'[^A-Za-z0-9_]', '_', self.path.stem)}_{digest}"
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, self.path)
        assert spec is not None and spec.loader is not None, "the suffix is that of a module"
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module


Point = EntryPoint | PluginFile
"""The source of a plugin."""


@dataclass
class Plugin:
    """One plugin: where it came from, what it added, and what failed."""

    name: str
    package: str
    version: str
    adds: dict[str, list[str]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    """Process state that its import changed, a line each; all changes were undone."""
    left_out: bool = False
    """Whether ZOO_PLUGINS kept it from loading."""
    folder: str | None = None
    """The folder of its source, for an editable package or a file; else None."""

    @classmethod
    def at(cls, point: Point) -> Plugin:
        """Describe the plugin of an entry point or file that is not loaded yet."""
        if isinstance(point, PluginFile):
            return cls(point.name, point.name, "", folder=str(point.path.parent))
        version = point.dist.version if point.dist else "?"
        return cls(point.name, _package(point), version, folder=_editable(point))

    @property
    def origin(self) -> str:
        """The plugin's package with its version, or the name of its file."""
        return f"{self.package} {self.version}".rstrip()

    def failures(self) -> list[str]:
        """A line for each contribution that failed to load."""
        whose = "" if self.origin == self.name else f" of {self.origin}"
        return [f"plugin {self.name}{whose}: {error}" for error in self.errors]


def installed_entry_points(group: str) -> list[EntryPoint]:
    """The entry points of a group: built-in ones first, then the others by package and name."""
    return sorted(importlib.metadata.entry_points(group=group), key=_turn)


def find_plugins(group: str) -> list[Point]:
    """All plugins of a group: the installed ones, then the files that ZOO_PLUGINS names.

    Raises BadInput if it names a file that does not exist.
    """
    files = [plugin_file(word, f"{LIMIT}: ") for word in _words() if is_file_name(word)]
    words = map(PluginFile, files)
    return [*installed_entry_points(group), *dict.fromkeys(words)]


def is_file_name(word: str) -> bool:
    """Whether a word names a Python file instead of a plugin or a package."""
    return word.endswith(".py") or "/" in word or os.sep in word


def file_hint(name: str) -> str:
    """A hint how to use a file as a plugin, for messages about a name that no plugin provides."""
    file = f"{name}.py" if Path(f"{name}.py").is_file() else "FILE.py"
    return f"To use a plugin without installing it, set {LIMIT}={file}"


def as_typed(words: Iterable[str]) -> str:
    """Format a command so that it can be run again in this folder, with ZOO_PLUGINS if it is set.

    Plugin files are relative to this folder or to `~`, since the line may be part of a report,
    which should not contain anybody's home folder.
    """
    plugins = ",".join(map(_named_from_here, _words()))
    return (f"{LIMIT}={shlex.quote(plugins)} " if plugins else "") + shlex.join(words)


def _named_from_here(word: str) -> str:
    path = Path(word).expanduser()
    if not is_file_name(word) or not path.is_absolute():
        return word
    path = Path(os.path.normpath(path))
    if path.is_relative_to(Path.cwd()):
        return str(path.relative_to(Path.cwd()))
    home = Path("~").expanduser()
    if home.is_absolute() and home != Path(home.anchor) and path.is_relative_to(home):
        return f"~/{path.relative_to(home)}"
    return path.name if _HOMES & {*path.parts[1:2]} else word


def plugin_file(word: str, said_by: str = "") -> Path:
    """Return the absolute path of a plugin file; raises BadInput if it is not a Python file.

    `said_by` is put before the message if the file was not named on the command line.
    """
    # Without `..`, so that a file is one plugin however it is written; links are not resolved.
    path = Path(os.path.normpath(Path(word).expanduser().absolute()))
    if path.is_dir():
        raise BadInput(f"{said_by}{word} is a folder; name the Python files in it")
    if not path.is_file():
        raise BadInput(f"{said_by}no such file: {word}")
    if path.suffix != ".py":
        raise BadInput(f"{said_by}{word}: a plugin's file must end in .py")
    return path


def plugin_limit() -> frozenset[str] | None:
    """The normalised names in ZOO_PLUGINS other than files; None if there are none: all load.

    Raises BadInput for a name that is neither an installed plugin nor a package with one.
    """
    words = [word for word in _words() if not is_file_name(word)]
    if not words:
        return None
    points = [point for group in hookspecs.GROUPS for point in installed_entry_points(group)]
    known = dict.fromkeys([_package(point) for point in points] + [point.name for point in points])
    normalised = {_normalise(name) for name in known}
    for word in words:
        if _normalise(word) not in normalised:
            raise BadInput(
                f"{LIMIT}: no installed plugin or package is called {word!r}"
                f"{did_you_mean(word, known)}; "
                f"there are: {', '.join(known)}"
            )
    return frozenset(map(_normalise, words))


def load_plugins(
    group: str,
    points: Iterable[Point],
    add: Callable[[Plugin, str, Any], None],
    only: frozenset[str] | None = None,
) -> list[Plugin]:
    """Load plugins one after another, and pass each of their contributions to `add`.

    `add(plugin, hook, thing)` accepts the contribution or raises. Any error of a plugin (on import,
    in a hook, in a contribution) becomes a line of its `errors` and affects no other plugin.
    `only` is the result of `plugin_limit`; all other installed plugins are listed as left out.
    """
    plugins = []
    for point in points:
        plugin = Plugin.at(point)
        plugins.append(plugin)
        names = {_normalise(point.name), _normalise(plugin.package)}
        if only is not None and not isinstance(point, PluginFile) and not names & only:
            plugin.left_out = True
            continue
        # A plugin is third-party code and may fail in any way; `zoo plugins` shows the failure
        # and its reason. SystemExit is caught too: a plugin must not end the process.
        try:
            with process_state_restored(plugin.changed):
                hooks = _hooks(group, point)
        except (Exception, SystemExit) as error:
            plugin.errors.append(error_in_one_line(error))
            continue
        for hook, call in hooks.items():
            try:
                with process_state_restored(plugin.changed):
                    things = _things(call())
            except (Exception, SystemExit) as error:
                plugin.errors.append(f"{hook}: {error_in_one_line(error)}")
                continue
            for thing in things:
                try:
                    add(plugin, hook, thing)
                    plugin.adds.setdefault(hook, []).append(thing.name)
                except (Exception, SystemExit) as error:
                    plugin.errors.append(f"{hook}: {error_in_one_line(error)}")
    return plugins


def refuse_broken_files(plugins: Iterable[Plugin], points: Iterable[Point]) -> None:
    """Raise BadInput if a plugin file failed: the user named it explicitly."""
    files = {point.name for point in points if isinstance(point, PluginFile)}
    for plugin in plugins:
        if plugin.errors and plugin.name in files and plugin.package == plugin.name:
            raise BadInput(f"{plugin.name}: {plugin.errors[0]}")


def line_in_plugin(error: BaseException) -> str | None:
    """The line of a third-party plugin that raised an error, as `mine.py, line 12`; None if none.

    It is the innermost line of the traceback that is in a package from which a plugin was loaded.
    """
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__", "").partition(".")[0] in _THIRD_PARTY:
            found = f"{Path(frame.f_code.co_filename).name}, line {line}"
    return found


def error_in_one_line(error: BaseException) -> str:
    """Format an error on one line: type and message; for film-zoo's own errors only the message."""
    kind = "" if isinstance(error, Refused | BadInput) else f"{type(error).__name__}: "
    return one_line(f"{kind}{error}", 1000)


def _hooks(group: str, point: Point) -> dict[str, Callable[[], list[Any]]]:
    """Import a plugin; return the hooks of the group that it implements, as callables."""
    source = _source(point)
    if source is not None:
        check_contract(source, _file_name(point))
    module = point.load()
    if isinstance(point, PluginFile) or _normalise(_package(point)) != BUILT_IN:
        _THIRD_PARTY.add(module.__name__.partition(".")[0])
    manager = pluggy.PluginManager("zoo")
    manager.add_hookspecs(hookspecs)
    manager.register(module, point.name)
    manager.check_pending()
    hooks = [caller.name for caller in manager.get_hookcallers(module) or ()]
    if not hooks and isinstance(point, PluginFile):
        contributions = _contributions(module)
        return {
            hook: functools.partial(list, [contributions[hook]])
            for hook in hookspecs.GROUPS[group]
            if hook in contributions
        }
    if not hooks:
        refuse("it implements no hook: no function in it is marked with @zoo.hookimpl")
    for other, theirs in hookspecs.GROUPS.items():
        for hook in set(hooks) & set(theirs):
            if other != group and not isinstance(point, PluginFile):
                refuse(f"{hook} belongs in a module named under the group {other!r}")
    return {hook: getattr(manager.hook, hook) for hook in hookspecs.GROUPS[group] if hook in hooks}


def _contributions(module: ModuleType) -> dict[str, list[Any]]:
    """The contributions of a file without hooks, by hook: its classes with a `name`, and films."""
    things: dict[str, list[Any]] = {}
    for value in vars(module).values():
        kind = value if isinstance(value, type) else type(value)
        own = isinstance(value, type) and value.__module__ == module.__name__ != ""
        for base in kind.__mro__:
            hook = _KINDS.get(f"{base.__module__}.{base.__qualname__}")
            if hook == "zoo_films" and not isinstance(value, type):
                things.setdefault(hook, []).append(value)
            elif hook and hook != "zoo_films" and own and "name" in vars(value):
                if hook == "zoo_models" and getattr(value, "role", "") == "reference":
                    hook = "zoo_references"
                things.setdefault(hook, []).append(value)
    if not things:
        refuse(
            "it has no hook marked with @zoo.hookimpl, and no class of a model, metric, codec or "
            "section that has a name"
        )
    return things


def _things(returned: Sequence[Any]) -> list[Any]:
    # pluggy drops a None, so that a forgotten `return` would go unnoticed.
    if not returned:
        refuse("it returned None, not a list")
    things: list[Any] = []
    for one in returned:
        if isinstance(one, type):
            refuse(f"it returned the class {one.__name__}, not a list: `return [{one.__name__}]`")
        if isinstance(one, str | bytes | Mapping) or not isinstance(one, Iterable):
            refuse(f"it returned {describe_value(one)}, not a list")
        things += one
    return things


def may_provide(point: Point, hook: str) -> bool:
    """Whether a plugin may implement a hook: its source names the hook, or cannot be read."""
    try:
        with process_state_restored([]):
            source = _source(point)
        if isinstance(point, PluginFile):
            # A file needs no hooks, so the name of the hook or of its base class is enough.
            return any(word in (source or "") for word in (hook, _CLASSES[hook]))
        tree = ast.parse(source or "")
    # Loading the plugin later reports what is wrong with it.
    except (Exception, SystemExit):
        return True
    names = {getattr(node, "name", "") for node in tree.body}
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return source is None or hook in names or "*" in names


def _file_name(point: Point) -> str:
    if isinstance(point, PluginFile):
        return point.name
    return f"{point.module.rpartition('.')[2]}.py"


def _source(point: Point) -> str | None:
    """The source of a plugin's module, read without importing it; None if it has no source."""
    if isinstance(point, PluginFile):
        with tokenize.open(point.path) as file:
            return file.read()
    spec = importlib.util.find_spec(point.module)
    found = getattr(spec.loader, "get_source", lambda name: None)(point.module) if spec else None
    return found if isinstance(found, str) else None


def _is_at(module: str, path: Path) -> bool:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return False
    origin = spec.origin if spec else None
    return origin is not None and Path(origin).resolve() == path.resolve()


def _editable(point: EntryPoint) -> str | None:
    """The folder of a package that is installed in editable mode; None for any other package."""
    try:
        described = json.loads((point.dist and point.dist.read_text("direct_url.json")) or "{}")
    except ValueError:
        return None
    if not described.get("dir_info", {}).get("editable"):
        return None
    return url2pathname(urlsplit(str(described.get("url", ""))).path)


def _words() -> list[str]:
    return [word.strip() for word in os.environ.get(LIMIT, "").split(",") if word.strip()]


def _turn(point: EntryPoint) -> tuple[bool, str, str]:
    package = _normalise(_package(point))
    # The sort is stable: built-in plugins stay in the order of their package.
    return (False, "", "") if package == BUILT_IN else (True, package, point.name)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "?"


def _normalise(name: str) -> str:
    """Normalise a name as package indexes do: `Film_Zoo` becomes `film-zoo`."""
    return re.sub(r"[-_.]+", "-", name).lower()
