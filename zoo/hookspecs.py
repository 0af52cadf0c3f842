"""What a plugin may add to the zoo: one hook a kind, each returning what it adds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.autoencoder import Autoencoder
    from zoo.films.catalogue import FilmEntry
    from zoo.metric import Metric

hookspec = pluggy.HookspecMarker("zoo")
hookimpl = pluggy.HookimplMarker("zoo")


@hookspec
def zoo_models() -> Sequence[type[Autoencoder]]:
    """Return architectures."""
    raise AssertionError("a specification is never called")


@hookspec
def zoo_references() -> Sequence[type[Autoencoder]]:
    """Return things to stand beside the models in every table: `role = "reference"`."""
    raise AssertionError("a specification is never called")


@hookspec
def zoo_metrics() -> Sequence[type[Metric]]:
    """Return metrics."""
    raise AssertionError("a specification is never called")


@hookspec
def zoo_films() -> Sequence[FilmEntry]:
    """Return films that are in every catalogue."""
    raise AssertionError("a specification is never called")
