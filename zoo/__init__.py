"""film-zoo: a model zoo and benchmark suite for networks that autoencode films.

What a plugin needs is exported here, loaded when it is first asked for, so that commands which
need no network do not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.autoencoder import (
        ANY,
        Autoencoder,
        Batch,
        Group,
        LatentSpec,
        Loss,
        Losses,
        Optimizer,
        Options,
        Players,
        Step,
    )
    from zoo.codec import CodecOptions, CodedFilm, CodingTerms, FilmCodec
    from zoo.errors import BadInput, ZooError
    from zoo.films.entry import FilmEntry
    from zoo.films.film import Film
    from zoo.films.training_frames import TrainingFrames
    from zoo.frame_size import FrameSize
    from zoo.hookspecs import hookimpl
    from zoo.loading import Loaded, load
    from zoo.metric import Metric, TemporalMetric, Unavailable, shared
    from zoo.pretrained import feature_network
    from zoo.recipe import Recipe
    from zoo.report.section import ReportSection

_HOMES = {
    "TrainingFrames": "zoo.films.training_frames",
    "Recipe": "zoo.recipe",
    "LatentSpec": "zoo.autoencoder",
    "Group": "zoo.autoencoder",
    "Batch": "zoo.autoencoder",
    "ANY": "zoo.autoencoder",
    "Autoencoder": "zoo.autoencoder",
    "BadInput": "zoo.errors",
    "CodecOptions": "zoo.codec",
    "CodedFilm": "zoo.codec",
    "CodingTerms": "zoo.codec",
    "Film": "zoo.films.film",
    "FilmCodec": "zoo.codec",
    "FilmEntry": "zoo.films.entry",
    "FrameSize": "zoo.frame_size",
    "Loaded": "zoo.loading",
    "Loss": "zoo.autoencoder",
    "Losses": "zoo.autoencoder",
    "Metric": "zoo.metric",
    "Optimizer": "zoo.autoencoder",
    "Options": "zoo.autoencoder",
    "Players": "zoo.autoencoder",
    "ReportSection": "zoo.report.section",
    "Step": "zoo.autoencoder",
    "TemporalMetric": "zoo.metric",
    "Unavailable": "zoo.metric",
    "ZooError": "zoo.errors",
    "feature_network": "zoo.pretrained",
    "hookimpl": "zoo.hookspecs",
    "load": "zoo.loading",
    "shared": "zoo.metric",
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
