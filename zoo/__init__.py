"""film-zoo: a model zoo and benchmark suite for networks that autoencode films.

The names that plugins need are exported here. They are loaded on first use, so that commands
which need no network do not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.api.autoencoder import (
        ANY,
        Autoencoder,
        Batch,
        Group,
        Loss,
        Losses,
        Optimizer,
        Options,
        Players,
        Step,
    )
    from zoo.api.codec import CodecOptions, CodedFilm, CodingTerms, FilmCodec
    from zoo.api.film_entry import FilmEntry
    from zoo.api.hookspecs import hookimpl
    from zoo.api.metric import Metric, TemporalMetric, Unavailable, shared
    from zoo.api.recipe_and_events import FollowedRun, Recipe, TrainingCallback, TrainingEvent
    from zoo.api.report_section import ReportSection
    from zoo.api.samples_and_latents import LatentSpec
    from zoo.base.errors import BadInput, ZooError
    from zoo.base.frame_size import FrameSize
    from zoo.films.ingested_film import Film
    from zoo.pretrained import feature_network
    from zoo.reconstruct.loading import Loaded, load
    from zoo.training.training_frames import TrainingFrames

_HOMES = {
    "TrainingFrames": "zoo.training.training_frames",
    "Recipe": "zoo.api.recipe_and_events",
    "LatentSpec": "zoo.api.samples_and_latents",
    "Group": "zoo.api.autoencoder",
    "Batch": "zoo.api.autoencoder",
    "ANY": "zoo.api.autoencoder",
    "Autoencoder": "zoo.api.autoencoder",
    "BadInput": "zoo.base.errors",
    "CodecOptions": "zoo.api.codec",
    "CodedFilm": "zoo.api.codec",
    "CodingTerms": "zoo.api.codec",
    "Film": "zoo.films.ingested_film",
    "FilmCodec": "zoo.api.codec",
    "FilmEntry": "zoo.api.film_entry",
    "FollowedRun": "zoo.api.recipe_and_events",
    "FrameSize": "zoo.base.frame_size",
    "Loaded": "zoo.reconstruct.loading",
    "Loss": "zoo.api.autoencoder",
    "Losses": "zoo.api.autoencoder",
    "Metric": "zoo.api.metric",
    "Optimizer": "zoo.api.autoencoder",
    "Options": "zoo.api.autoencoder",
    "Players": "zoo.api.autoencoder",
    "ReportSection": "zoo.api.report_section",
    "Step": "zoo.api.autoencoder",
    "TemporalMetric": "zoo.api.metric",
    "TrainingCallback": "zoo.api.recipe_and_events",
    "TrainingEvent": "zoo.api.recipe_and_events",
    "Unavailable": "zoo.api.metric",
    "ZooError": "zoo.base.errors",
    "feature_network": "zoo.pretrained",
    "hookimpl": "zoo.api.hookspecs",
    "load": "zoo.reconstruct.loading",
    "shared": "zoo.api.metric",
}

__all__ = [
    "ANY",
    "Autoencoder",
    "BadInput",
    "Batch",
    "CodecOptions",
    "CodedFilm",
    "CodingTerms",
    "Film",
    "FilmCodec",
    "FilmEntry",
    "FollowedRun",
    "FrameSize",
    "Group",
    "LatentSpec",
    "Loaded",
    "Loss",
    "Losses",
    "Metric",
    "Optimizer",
    "Options",
    "Players",
    "Recipe",
    "ReportSection",
    "Step",
    "TemporalMetric",
    "TrainingCallback",
    "TrainingEvent",
    "TrainingFrames",
    "Unavailable",
    "ZooError",
    "feature_network",
    "hookimpl",
    "load",
    "shared",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
