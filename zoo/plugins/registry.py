"""The registry of what plugins add, by name; a broken plugin affects no other.

Plugins are modules that an installed package lists in the entry-point group `zoo`. Built-in
plugins are found in the same way, and come first. `zoo.plugins.entry_points` finds and loads them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.base.errors import BadInput
from zoo.base.extras import lacking
from zoo.base.safe_text import did_you_mean, one_line
from zoo.plugins.contribution_checks import check_contribution, is_codec, refuse
from zoo.plugins.entry_points import (
    Plugin,
    PluginFile,
    Point,
    file_hint,
    find_plugins,
    load_plugins,
    may_provide,
    plugin_limit,
    refuse_broken_files,
)
from zoo.plugins.listing_cache import ListedModel, Listing, ModelKind, kept_listing, listing

if TYPE_CHECKING:
    from zoo.api.autoencoder import Autoencoder
    from zoo.api.codec import FilmCodec
    from zoo.api.film_entry import FilmEntry
    from zoo.api.metric import Metric
    from zoo.api.recipe_and_events import TrainingCallback

ENTRY_POINT_GROUP = "zoo"


class Registry:
    """Everything that plugins add, by name, with the plugin that added it."""

    def __init__(
        self,
        entry_points: Iterable[Point],
        only: frozenset[str] | None = None,
    ) -> None:
        self.models: dict[str, type[Autoencoder]] = {}
        self.references: dict[str, type[Autoencoder]] = {}
        self.codecs: dict[str, type[FilmCodec]] = {}
        """References that encode a film as a whole; `zoo_references` returns them too."""
        self.metrics: dict[str, type[Metric]] = {}
        self.films: dict[str, FilmEntry] = {}
        self.callbacks: dict[str, type[TrainingCallback]] = {}
        self.origins: dict[str, str] = {}
        self._owners: dict[tuple[str, str], str] = {}
        self._kinds: Mapping[str, dict[str, Any]] = {
            "zoo_models": self.models,
            "zoo_references": self.references,
            "zoo_metrics": self.metrics,
            "zoo_films": self.films,
            "zoo_training_callbacks": self.callbacks,
        }
        self.plugins: list[Plugin] = []
        self.add(entry_points, only)

    def add(self, points: Iterable[Point], only: frozenset[str] | None = None) -> list[Plugin]:
        """Load more plugins, and return them with what they add and what failed."""
        added = load_plugins(ENTRY_POINT_GROUP, points, self._add, only)
        self.plugins += added
        return added

    def failures(self) -> list[str]:
        """A line for each contribution that failed to load."""
        return [line for plugin in self.plugins for line in plugin.failures()]

    def _add(self, plugin: Plugin, hook: str, thing: Any) -> None:
        check_contribution(hook, thing)
        architecture = hook in ("zoo_models", "zoo_references")
        key = ("architecture" if architecture else hook, thing.name)
        if key in self._owners:
            refuse(f"the name {thing.name!r} is taken by {self._owners[key]}")
        self._owners[key] = plugin.origin
        known = self.codecs if is_codec(thing) else self._kinds[hook]
        known[thing.name] = thing
        if architecture:
            self.origins[thing.name] = plugin.origin

    def architecture(self, name: str) -> type[Autoencoder]:
        """The model or reference of that name; raises BadInput with the known names if unknown."""
        entries = {**self.models, **self.references}
        if name in entries:
            return entries[name]
        if name in self.codecs:
            raise BadInput(
                f"{name} is a film codec, not a model: `zoo compare --films all --models {name}` "
                f"runs it, `zoo plugins check {name}` examines it"
            )
        raise _no_model(name, list(entries), self.failures())

    def check_installed(self, models: Iterable[type[Autoencoder] | type[FilmCodec]]) -> None:
        """Raise BadInput if a model needs an extra that is not installed."""
        for model in models:
            if line := self.lacking(model):
                raise BadInput(line)

    def lacking(self, model: type[Autoencoder] | type[FilmCodec]) -> str | None:
        """A line that says which extra a model lacks; None if all its modules are installed."""
        return lacking(model.name, getattr(model, "extras", {}), self.origins[model.name])

    def choose_models(self, text: str) -> list[type[Autoencoder]]:
        """Read `all` or `a,b`, each name once; raises BadInput on an unknown name or none."""
        return [self.architecture(name) for name in self._names(text)]

    def choose(self, text: str) -> list[type[Autoencoder] | type[FilmCodec]]:
        """Read `all` or `a,b` as `choose_models` does; film codecs may be named too."""
        return [self.codecs.get(name) or self.architecture(name) for name in self._names(text)]

    def choose_callbacks(self, names: Iterable[str]) -> list[type[TrainingCallback]]:
        """The training callbacks of these names, each once; raises BadInput on an unknown name."""
        chosen = []
        for name in dict.fromkeys(name.strip() for name in names if name.strip()):
            if name not in self.callbacks:
                raise BadInput(
                    f"no training callback is called {name!r}"
                    f"{did_you_mean(name, self.callbacks)}; there are: {', '.join(self.callbacks)}"
                )
            chosen.append(self.callbacks[name])
        if not chosen:
            raise BadInput(f"--track names no callback; there are: {', '.join(self.callbacks)}")
        return chosen

    def _names(self, text: str) -> list[str]:
        if text == "all":
            return list(self.models)
        names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
        if not names:
            raise BadInput(f"no model is named; there are: {', '.join(self.models)}")
        return names


def _no_model(name: str, known: Sequence[str], failures: Sequence[str] = ()) -> BadInput:
    failed = "".join(f". It did not load: {line}" for line in failures[:3])
    return BadInput(
        f"no model is called {name!r}{did_you_mean(name, known)}; there are: "
        f"{', '.join(known)}{failed}. {file_hint(name)}"
    )


def check_model_names(text: str) -> None:
    """Raise BadInput if `a,b` names an unknown model, provided this is known without imports.

    Otherwise `Registry.choose` finds it later.
    """
    if registry.cache_info().currsize:
        return
    kept = kept_listing(ENTRY_POINT_GROUP, find_plugins(ENTRY_POINT_GROUP))
    if kept is None:
        return
    codecs = {each.name for each in kept.models if each.kind == "codec"}
    known = [each.name for each in kept.models if each.kind != "codec"]
    for name in filter(None, map(str.strip, text.split(","))):
        if name != "all" and name not in known and name not in codecs:
            raise _no_model(name, known)


@functools.cache
def registry() -> Registry:
    """The registry of this installation, loaded once.

    Raises BadInput if ZOO_PLUGINS names something that does not exist, or a broken file.
    """
    return _registry_of(find_plugins(ENTRY_POINT_GROUP))


def add_file(path: Path) -> Plugin:
    """Add a Python file to this installation's registry.

    Raises BadInput if the file or one of its contributions fails to load.
    """
    point = PluginFile(path)
    known = registry().plugins
    there = next((p for p in known if (p.name, p.folder) == (path.name, str(path.parent))), None)
    plugin = there or registry().add([point])[0]
    refuse_broken_files([plugin], [point])
    return plugin


def films_of_plugins() -> Mapping[str, FilmEntry]:
    """The films of plugins, by name.

    If the registry is not loaded yet, this loads only plugins with films, according to the cached
    listing or their source, so that it need not import torch. Raises BadInput as `registry` does.
    """
    return (registry() if registry.cache_info().currsize else _registry_of_films()).films


@functools.cache
def _registry_of_films() -> Registry:
    points = find_plugins(ENTRY_POINT_GROUP)
    kept = kept_listing(ENTRY_POINT_GROUP, points)
    if kept is None:
        return _registry_of([point for point in points if may_provide(point, "zoo_films")])
    return _registry_of(
        [
            point
            for point, plugin in zip(points, kept.plugins, strict=True)
            if "zoo_films" in plugin.adds
        ]
    )


def list_plugins() -> Listing:
    """List this installation's plugins and models, from the cache if possible.

    Raises BadInput as `registry` does.
    """
    if registry.cache_info().currsize:
        return _listing_of(registry())
    return listing(ENTRY_POINT_GROUP, lambda: _listing_of(registry()))


def _listing_of(loaded: Registry) -> Listing:
    kinds: tuple[tuple[ModelKind, Mapping[str, type[Autoencoder] | type[FilmCodec]]], ...] = (
        ("model", loaded.models),
        ("reference", loaded.references),
        ("codec", loaded.codecs),
    )
    models = [
        ListedModel(
            kind=kind,
            name=each.name,
            role=each.role,
            summary=one_line(each.summary, 2000),
            origin=one_line(loaded.origins[each.name], 2000),
            extras=dict(getattr(each, "extras", {})),
        )
        for kind, things in kinds
        for each in things.values()
    ]
    return Listing(plugins=loaded.plugins, models=models)


def _registry_of(points: Sequence[Point]) -> Registry:
    loaded = Registry(points, plugin_limit())
    refuse_broken_files(loaded.plugins, points)
    return loaded
