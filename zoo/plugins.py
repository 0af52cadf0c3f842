"""Finding plugins and what they add, so that a broken one harms nothing but itself.

Plugins are modules named by the entry-point group `zoo` of any installed package; the built-in
ones are found in the same way. Everything a plugin adds is checked here, once.
"""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pluggy

from zoo import hookspecs
from zoo.errors import BadInput
from zoo.workspace import check_name

if TYPE_CHECKING:
    from zoo.autoencoder import Autoencoder
    from zoo.films.catalogue import FilmEntry
    from zoo.metric import Metric

ENTRY_POINT_GROUP = "zoo"


@dataclass
class Plugin:
    """One entry point: where it came from, what it added, or why it could not."""

    name: str
    package: str
    version: str
    adds: dict[str, list[str]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """The package that brought it, with its version."""
        return f"{self.package} {self.version}"


class Registry:
    """All that the plugins add, by name, with the plugin each thing came from."""

    def __init__(self, entry_points: Iterable[importlib.metadata.EntryPoint]) -> None:
        self.plugins: list[Plugin] = []
        self.models: dict[str, type[Autoencoder]] = {}
        self.references: dict[str, type[Autoencoder]] = {}
        self.metrics: dict[str, type[Metric]] = {}
        self.films: dict[str, FilmEntry] = {}
        self.origins: dict[str, str] = {}
        self._kinds: Mapping[str, dict[str, Any]] = {
            "zoo_models": self.models,
            "zoo_references": self.references,
            "zoo_metrics": self.metrics,
            "zoo_films": self.films,
        }
        for entry_point in entry_points:
            self._load(entry_point)

    def _load(self, entry_point: importlib.metadata.EntryPoint) -> None:
        distribution = entry_point.dist
        plugin = Plugin(
            name=entry_point.name,
            package=distribution.name if distribution else "?",
            version=distribution.version if distribution else "?",
        )
        self.plugins.append(plugin)
        # A plugin is a stranger's code and may fail in any way; that it did is shown by
        # `zoo plugins` with the reason. SystemExit is caught too: a plugin cannot end the zoo.
        try:
            module = entry_point.load()
            manager = pluggy.PluginManager("zoo")
            manager.add_hookspecs(hookspecs)
            manager.register(module, entry_point.name)
            manager.check_pending()
        except (Exception, SystemExit) as error:
            plugin.errors.append(_in_one_line(error))
            return
        for hook, known in self._kinds.items():
            try:
                for thing in (t for ts in getattr(manager.hook, hook)() for t in ts):
                    self._add(plugin, hook, known, thing)
            except (Exception, SystemExit) as error:
                plugin.errors.append(f"{hook}: {_in_one_line(error)}")

    def _add(self, plugin: Plugin, hook: str, known: dict[str, Any], thing: Any) -> None:
        _check(hook, thing)
        rivals = (
            {**self.models, **self.references}
            if hook in ("zoo_models", "zoo_references")
            else known
        )
        if thing.name in rivals:
            raise ValueError(f"the name {thing.name!r} is taken by {self.origins[thing.name]}")
        known[thing.name] = thing
        self.origins[thing.name] = plugin.origin
        plugin.adds.setdefault(hook, []).append(thing.name)

    def architecture(self, name: str) -> type[Autoencoder]:
        """The model or reference of that name; raises BadInput naming what there is."""
        entries = {**self.models, **self.references}
        if name in entries:
            return entries[name]
        raise BadInput(
            f"no model is called {name!r}{_closest(name, entries)}; there are: "
            f"{', '.join(entries)}. `zoo plugins` shows any that failed to load"
        )

    def choose_models(self, text: str) -> list[type[Autoencoder]]:
        """Read `all` or `a,b`, each once; raises BadInput on an unknown name or on none."""
        if text == "all":
            return list(self.models.values())
        names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
        if not names:
            raise BadInput(f"no model is named; there are: {', '.join(self.models)}")
        return [self.architecture(name) for name in names]


@functools.cache
def registry() -> Registry:
    """The registry of this installation, loaded once."""
    return Registry(importlib.metadata.entry_points(group=ENTRY_POINT_GROUP))


def _check(hook: str, thing: Any) -> None:
    """Raise ValueError if a thing that a hook returned is not of the hook's kind."""
    from zoo.autoencoder import Autoencoder
    from zoo.films.catalogue import FilmEntry
    from zoo.metric import Metric

    if hook == "zoo_films":
        if not isinstance(thing, FilmEntry):
            raise ValueError(f"{thing!r} is not a FilmEntry")
        return
    base = Metric if hook == "zoo_metrics" else Autoencoder
    if not (isinstance(thing, type) and issubclass(thing, base)):
        raise ValueError(f"{thing!r} is not a subclass of zoo.{base.__name__}")
    for attribute in ("name", "label", "source") if base is Metric else ("name", "summary"):
        if not isinstance(getattr(thing, attribute, None), str):
            raise ValueError(f"{thing.__name__} has no {attribute}")
    check_name(thing.name, "plugin")
    role = {"zoo_models": "model", "zoo_references": "reference"}.get(hook)
    if role and getattr(thing, "role", None) != role:
        raise ValueError(f"{thing.name} comes through {hook} but its role is not {role!r}")


def _in_one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _closest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
