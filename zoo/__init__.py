"""film-zoo: a model zoo and benchmark suite for networks that autoencode films.

What a plugin needs is exported here, loaded when it is first asked for, so that commands which
need no network do not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.autoencoder import Autoencoder, Loss, Losses, Optimizer, Options, Players, Step
    from zoo.codec import CodedFilm, FilmCodec
    from zoo.errors import BadInput, ZooError
    from zoo.films.catalogue import FilmEntry
    from zoo.films.film import Film
    from zoo.frame_size import FrameSize
    from zoo.hookspecs import hookimpl
    from zoo.loading import Loaded, load
    from zoo.metric import Metric, TemporalMetric, Unavailable, shared
    from zoo.report.section import ReportSection

_HOMES = {
    "Autoencoder": "zoo.autoencoder",
    "BadInput": "zoo.errors",
    "CodedFilm": "zoo.codec",
    "Film": "zoo.films.film",
    "FilmCodec": "zoo.codec",
    "FilmEntry": "zoo.films.catalogue",
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
    "hookimpl": "zoo.hookspecs",
    "load": "zoo.loading",
    "shared": "zoo.metric",
}

__all__ = [
    "Autoencoder",
    "BadInput",
    "CodedFilm",
    "Film",
    "FilmCodec",
    "FilmEntry",
    "FrameSize",
    "Loaded",
    "Loss",
    "Losses",
    "Metric",
    "Optimizer",
    "Options",
    "Players",
    "ReportSection",
    "Step",
    "TemporalMetric",
    "Unavailable",
    "ZooError",
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
