"""The built-in clips as frames, and frames as videos."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from tests.films.making import encode
from zoo.plugins.registry import registry

Pixels = npt.NDArray[np.uint8]


@functools.cache
def file_of(clip: str) -> Path:
    """Where a built-in clip lies."""
    return registry().films[clip].files[0]


def frames_of(clip: str, width: int, height: int, every: int = 1) -> Pixels:
    """Frames of a clip, uint8 (N, H, W, 3), scaled without regard to its shape."""
    return np.stack(list(_decoded(file_of(clip), width, height))[::every])


def _decoded(path: Path, width: int, height: int) -> Iterator[Pixels]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.reformat(width, height, "rgb24").to_ndarray()


def coded(path: Path, frames: Iterable[Pixels], rate: int = 25, crf: int = 30) -> Path:
    """Frames as a video."""
    return encode(path, frames, rate=rate, options={"crf": str(crf)})
