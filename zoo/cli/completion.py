"""Names that a shell completes: models, films and presets, found without importing torch.

A shell that waits for TAB has no place for an error: where names cannot be read, there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from zoo.base.errors import ZooError
from zoo.base.presets_and_budgets import PRESETS

Completion = Callable[[str], list[str]]
"""From the beginning of a word to the words that it may become."""


def model_names() -> list[str]:
    """The models, references and codecs of the kept listing; none before plugins are first listed.

    Raises BadInput as `find_plugins`.
    """
    from zoo.plugins.entry_points import find_plugins
    from zoo.plugins.listing_cache import kept_listing
    from zoo.plugins.registry import ENTRY_POINT_GROUP

    kept = kept_listing(ENTRY_POINT_GROUP, find_plugins(ENTRY_POINT_GROUP))
    return [each.name for each in kept.models] if kept else []


def film_names() -> list[str]:
    """The films of the catalogue; raises BadInput as `Catalogue.open`."""
    from zoo.base.workspace import Workspace
    from zoo.films.catalogue import Catalogue

    return list(Catalogue.open(Workspace.here()).entries)


def one_of(names: Callable[[], Iterable[str]]) -> Completion:
    """Complete a word that is one name."""

    def complete(incomplete: str) -> list[str]:
        try:
            return [name for name in names() if name.startswith(incomplete)]
        except ZooError:
            return []

    return complete


def several_of(names: Callable[[], Iterable[str]], *words: str) -> Completion:
    """Complete the last name of `a,b`, or one of the words that stand for several."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        taken = before.split(",")
        found = one_of(lambda: [*(() if comma else words), *names()])(last)
        return [before + comma + name for name in found if name not in taken]

    return complete


one_model = one_of(model_names)
several_models = several_of(model_names, "all")
one_film = one_of(film_names)
several_films = several_of(film_names, "all", "mine")
one_preset = one_of(lambda: PRESETS)
