"""What plugins add, by name, checked once: a broken one harms nothing but itself.

Plugins are modules named by the entry-point group `zoo` of any installed package; the built-in
ones are found in the same way, and first. `zoo.plugins.entry_points` finds and loads them.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.api.contract import refuse
from zoo.base.errors import BadInput
from zoo.base.text import named
from zoo.base.workspace import check_name
from zoo.plugins.entry_points import (
    Plugin,
    PluginFile,
    Point,
    found,
    limit,
    load,
    may_fill,
    refuse_broken_files,
)

if TYPE_CHECKING:
    import pydantic

    from zoo.api.autoencoder import Autoencoder
    from zoo.api.codec import FilmCodec
    from zoo.api.metric import Metric
    from zoo.films.entry import FilmEntry

ENTRY_POINT_GROUP = "zoo"


class Registry:
    """All that the plugins add, by name, with the plugin each thing came from."""

    def __init__(
        self,
        entry_points: Iterable[Point],
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
        self.plugins: list[Plugin] = []
        self.add(entry_points, only)

    def add(self, points: Iterable[Point], only: frozenset[str] | None = None) -> list[Plugin]:
        """Load more plugins, and return them with what each adds or why it could not."""
        added = load(ENTRY_POINT_GROUP, points, self._add, only)
        self.plugins += added
        return added

    def failures(self) -> list[str]:
        """A line for each thing that a plugin could not bring."""
        return [line for plugin in self.plugins for line in plugin.failures()]

    def _add(self, plugin: Plugin, hook: str, thing: Any) -> None:
        _check(hook, thing)
        architecture = hook in ("zoo_models", "zoo_references")
        key = ("architecture" if architecture else hook, thing.name)
        if key in self._brought:
            refuse(f"the name {thing.name!r} is taken by {self._brought[key]}")
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
                f"{name} is a film codec and no model: `zoo compare --models {name}` runs it, "
                f"`zoo plugins check {name}` examines it"
            )
        failed = "".join(f". It did not load: {line}" for line in self.failures()[:3])
        raise BadInput(
            f"no model is called {name!r}{_closest(name, entries)}; there are: "
            f"{', '.join(entries)}{failed}"
        )

    def choose_models(self, text: str) -> list[type[Autoencoder]]:
        """Read `all` or `a,b`, each once; raises BadInput on an unknown name or on none."""
        return [self.architecture(name) for name in self._names(text)]

    def choose(self, text: str) -> list[type[Autoencoder] | type[FilmCodec]]:
        """Read `all` or `a,b` as `choose_models`; film codecs may be named as well."""
        return [self.codecs.get(name) or self.architecture(name) for name in self._names(text)]

    def _names(self, text: str) -> list[str]:
        if text == "all":
            return list(self.models)
        names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
        if not names:
            raise BadInput(f"no model is named; there are: {', '.join(self.models)}")
        return names


@functools.cache
def registry() -> Registry:
    """The registry of this installation, loaded once.

    Raises BadInput if ZOO_PLUGINS names something that is not there, or a file that is broken.
    """
    return _registry_of(found(ENTRY_POINT_GROUP))


def add_file(path: Path) -> Plugin:
    """Load a file of Python into this installation's registry, beside what is in it already.

    Raises BadInput if it does not load, or something in it is not as it should be.
    """
    point = PluginFile(path)
    known = registry().plugins
    there = next((p for p in known if (p.name, p.folder) == (path.name, str(path.parent))), None)
    plugin = there or registry().add([point])[0]
    refuse_broken_files([plugin], [point])
    return plugin


def films_of_plugins() -> Mapping[str, FilmEntry]:
    """The films that plugins bring, by name.

    Where the registry is not loaded yet, only modules that may bring films are: a list of films
    need not wait for torch. Raises BadInput as `registry` does.
    """
    return (registry() if registry.cache_info().currsize else _registry_of_films()).films


@functools.cache
def _registry_of_films() -> Registry:
    return _registry_of([p for p in found(ENTRY_POINT_GROUP) if may_fill(p, "zoo_films")])


def _registry_of(points: Sequence[Point]) -> Registry:
    loaded = Registry(points, limit())
    refuse_broken_files(loaded.plugins, points)
    return loaded


def _check(hook: str, thing: Any) -> None:
    """Raise ValueError if a thing that a hook returned is not of the hook's kind."""
    if hook == "zoo_films":
        from zoo.films.entry import FilmEntry

        if not isinstance(thing, FilmEntry):
            refuse(f"{named(thing)} is not a zoo.FilmEntry")
        _check_no_word(thing.name)
        return

    from zoo.api.autoencoder import Autoencoder, Options
    from zoo.api.codec import CodecOptions, FilmCodec
    from zoo.api.metric import Metric
    from zoo.api.sampling import Sampling

    base: type[Metric | Autoencoder | FilmCodec] = Metric if hook == "zoo_metrics" else Autoencoder
    if hook == "zoo_references" and _is_codec(thing):
        base = FilmCodec
    if not isinstance(thing, type) and isinstance(thing, base):
        refuse(f"an instance of {type(thing).__name__} is not a class: return the class itself")
    if not (isinstance(thing, type) and issubclass(thing, base)):
        refuse(f"{named(thing)} is not a subclass of zoo.{base.__name__}")
    for attribute in ("name", "label", "source") if base is Metric else ("name", "summary"):
        if not isinstance(getattr(thing, attribute, None), str):
            refuse(f"{thing.__name__} has no {attribute}: it is text, set in the class")
    check_name(thing.name, "plugin")
    _check_no_word(thing.name)
    _check_fields(thing, _FIELDS[base.__name__])
    if issubclass(thing, Autoencoder):
        try:
            Sampling.of(thing)
        except BadInput as error:
            refuse(str(error))
    if base is not Metric:
        _check_options(thing, CodecOptions if base is FilmCodec else Options)
    role = {"zoo_models": "model", "zoo_references": "reference"}.get(hook)
    if role and getattr(thing, "role", None) != role:
        refuse(f"{thing.name} comes through {hook} but its role is not {role!r}")


_SENTENCES = "a tuple of texts", lambda value: _is_tuple(value, str)
_FIELDS: Mapping[str, Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "Autoencoder": {
        "presets": ("options by the name of a preset", lambda v: _is_mapping(v, Mapping)),
        "opposed": (
            "a tuple of pairs of terms",
            lambda v: _is_tuple(v, tuple) and all(_is_tuple(p, str) and len(p) == 2 for p in v),
        ),
        "unequal_terms": _SENTENCES,
        "tuned_on": _SENTENCES,
        "waivers": ("reasons by the name of a check", lambda v: _is_mapping(v, str)),
        "side_multiple": ("a whole number from 1", lambda v: type(v) is int and v >= 1),
    },
    "Metric": {
        "unit": ("text", lambda v: isinstance(v, str)),
        "better": ("'higher', 'lower' or 'one'", lambda v: v in ("higher", "lower", "one")),
        "digits": ("a whole number from 0 to 15", lambda v: type(v) is int and 0 <= v <= 15),
        "default": ("True or False", lambda v: isinstance(v, bool)),
        "frame_shape": ("a tuple of whole numbers", lambda v: _is_tuple(v, int)),
    },
    "FilmCodec": {
        "default": ("True or False", lambda v: isinstance(v, bool)),
        "trains": ("True or False", lambda v: isinstance(v, bool)),
        "suffix": (
            "letters and digits",
            lambda v: isinstance(v, str) and v.isascii() and v.isalnum(),
        ),
    },
}
"""What a class may set, beside its names: what it has to be, in words, and whether it is."""


def _check_fields(thing: type, fields: Mapping[str, tuple[str, Callable[[Any], bool]]]) -> None:
    for name, (wanted, fits) in fields.items():
        value = getattr(thing, name)
        if not fits(value):
            refuse(f"{thing.__name__}.{name} is {named(value)}; it is to be {wanted}")


def _check_options(thing: Any, base: type[pydantic.BaseModel]) -> None:
    options = getattr(thing, "Options", base)
    if not (isinstance(options, type) and issubclass(options, base)):
        refuse(
            f"{thing.name}: its Options are {named(options)}, no subclass of zoo.{base.__name__}"
        )
    # `bytes_a_frame` is what every codec is asked for, and stands beside its options.
    if "bytes_a_frame" in options.model_fields:
        refuse(f"{thing.name}: no option can be called bytes_a_frame")
    for name, field in options.model_fields.items():
        if field.is_required():
            refuse(f"{thing.name}, option {name}: it has no default")


def _is_tuple(value: Any, of: type) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(each, of) for each in value)


def _is_mapping(value: Any, of: type) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(each, of) for key, each in value.items()
    )


def _is_codec(thing: Any) -> bool:
    if not isinstance(thing, type):
        return False
    from zoo.api.codec import FilmCodec

    return isinstance(thing, type) and issubclass(thing, FilmCodec)


def _check_no_word(name: str) -> None:
    if name in ("all", "default"):
        refuse(f"{name!r} means several at once; nothing can be called that")


def _closest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
