"""The hooks of a plugin: one per kind of contribution, each returning a list."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.api.autoencoder import Autoencoder
    from zoo.api.codec import FilmCodec
    from zoo.api.film_entry import FilmEntry
    from zoo.api.metric import Metric
    from zoo.api.recipe_and_events import TrainingCallback
    from zoo.api.report_section import ReportSection

CONTRACT_VERSION = 2
"""The version that a plugin's `zoo_contract` must equal; raised when plugins have to change."""

GROUPS = MappingProxyType(
    {
        "zoo": (
            *("zoo_models", "zoo_references", "zoo_metrics", "zoo_films"),
            "zoo_training_callbacks",
        ),
        # A separate group, so that a report is made without importing models, and torch with them.
        "zoo.report_sections": ("zoo_report_sections",),
    }
)
"""The hooks of each group of entry points."""

hookspec = pluggy.HookspecMarker("zoo")
hookimpl = pluggy.HookimplMarker("zoo")


@hookspec
def zoo_models() -> Sequence[type[Autoencoder]]:
    """Return architectures."""
    raise AssertionError("a specification is never called")


@hookspec
def zoo_references() -> Sequence[type[Autoencoder] | type[FilmCodec]]:
    """Return references to list with the models in every table, film codecs included."""
    raise AssertionError("a specification is never called")


@hookspec
def zoo_metrics() -> Sequence[type[Metric]]:
    """Return metrics."""
    raise AssertionError("a specification is never called")


@hookspec
def zoo_films() -> Sequence[FilmEntry]:
    """Return films to include in every catalogue."""
    raise AssertionError("a specification is never called")


@hookspec
def zoo_training_callbacks() -> Sequence[type[TrainingCallback]]:
    """Return training callbacks, for `zoo train MODEL --film FILM --track NAME`."""
    raise AssertionError("a specification is never called")


@hookspec
def zoo_report_sections() -> Sequence[type[ReportSection]]:
    """Return sections of the report."""
    raise AssertionError("a specification is never called")
