"""What plugins add, by name, checked once: a broken one harms nothing but itself.

Plugins are modules named by the entry-point group `zoo` of any installed package; the built-in
ones are found in the same way, and first. `zoo.entry_points` finds and loads them.
"""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from zoo.entry_points import Plugin, installed, limit, load, may_fill
from zoo.errors import BadInput
from zoo.workspace import check_name

if TYPE_CHECKING:
    from zoo.autoencoder import Autoencoder
    from zoo.codec import FilmCodec
    from zoo.films.catalogue import FilmEntry
    from zoo.metric import Metric

ENTRY_POINT_GROUP = "zoo"


class Registry:
    """All that the plugins add, by name, with the plugin each thing came from."""

    def __init__(
        self,
        entry_points: Iterable[importlib.metadata.EntryPoint],
        only: frozenset[str] | None = None,
    ) -> None:
        self.models: dict[str, type[Autoencoder]] = {}
        self.references: dict[str, type[Autoencoder]] = {}
        self.codecs: dict[str, type[FilmCodec]] = {}
        """References that code a film as a whole; they come through `zoo_references` too."""
        self.metrics: dict[str, type[Metric]] = {}
        self.films: dict[str, FilmEntry] = {}
        self.origins: dict[str, str] = {}
        """Which package brought a model or reference."""
        self._brought: dict[tuple[str, str], str] = {}
        self._kinds: Mapping[str, dict[str, Any]] = {
            "zoo_models": self.models,
            "zoo_references": self.references,
            "zoo_metrics": self.metrics,
            "zoo_films": self.films,
        }
        self.plugins = load(ENTRY_POINT_GROUP, entry_points, self._add, only)

    def _add(self, plugin: Plugin, hook: str, thing: Any) -> None:
        _check(hook, thing)
        architecture = hook in ("zoo_models", "zoo_references")
        key = ("architecture" if architecture else hook, thing.name)
        if key in self._brought:
            raise ValueError(f"the name {thing.name!r} is taken by {self._brought[key]}")
        self._brought[key] = plugin.origin
        known = self.codecs if _is_codec(thing) else self._kinds[hook]
        known[thing.name] = thing
        if architecture:
            self.origins[thing.name] = plugin.origin

    def architecture(self, name: str) -> type[Autoencoder]:
        """The model or reference of that name; raises BadInput naming what there is."""
        entries = {**self.models, **self.references}
        if name in entries:
            return entries[name]
        if name in self.codecs:
            raise BadInput(
                f"{name} is a film codec, with nothing to train or to examine; it stands in every "
                "comparison"
            )
        raise BadInput(
            f"no model is called {name!r}{_closest(name, entries)}; there are: "
            f"{', '.join(entries)}. `zoo plugins` shows any that did not load"
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
    """The registry of this installation, loaded once.

    Raises BadInput if ZOO_PLUGINS names something that is not installed.
    """
    return Registry(installed(ENTRY_POINT_GROUP), limit())


def films_of_plugins() -> Mapping[str, FilmEntry]:
    """The films that plugins bring, by name.

    Where the registry is not loaded yet, only modules that may bring films are: a list of films
    need not wait for torch. Raises BadInput as `registry` does.
    """
    return (registry() if registry.cache_info().currsize else _registry_of_films()).films


@functools.cache
def _registry_of_films() -> Registry:
    points = [point for point in installed(ENTRY_POINT_GROUP) if may_fill(point, "zoo_films")]
    return Registry(points, limit())


def _check(hook: str, thing: Any) -> None:
    """Raise ValueError if a thing that a hook returned is not of the hook's kind."""
    if hook == "zoo_films":
        from zoo.films.catalogue import FilmEntry

        if not isinstance(thing, FilmEntry):
            raise ValueError(f"{thing!r} is not a zoo.FilmEntry")
        _check_no_word(thing.name)
        return

    from zoo.autoencoder import Autoencoder
    from zoo.codec import FilmCodec
    from zoo.metric import Metric

    base: type[Metric | Autoencoder | FilmCodec] = Metric if hook == "zoo_metrics" else Autoencoder
    if hook == "zoo_references" and _is_codec(thing):
        base = FilmCodec
    if not (isinstance(thing, type) and issubclass(thing, base)):
        raise ValueError(f"{thing!r} is not a subclass of zoo.{base.__name__}")
    for attribute in ("name", "label", "source") if base is Metric else ("name", "summary"):
        if not isinstance(getattr(thing, attribute, None), str):
            raise ValueError(f"{thing.__name__} has no {attribute}")
    check_name(thing.name, "plugin")
    _check_no_word(thing.name)
    role = {"zoo_models": "model", "zoo_references": "reference"}.get(hook)
    if role and getattr(thing, "role", None) != role:
        raise ValueError(f"{thing.name} comes through {hook} but its role is not {role!r}")


def _is_codec(thing: Any) -> bool:
    if not isinstance(thing, type):
        return False
    from zoo.codec import FilmCodec

    return isinstance(thing, type) and issubclass(thing, FilmCodec)


def _check_no_word(name: str) -> None:
    if name in ("all", "default"):
        raise ValueError(f"{name!r} means several at once; nothing can be called that")


def _closest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
