"""Latents in order into a video, and a strip of it beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder
from zoo.evaluation.watch import BATCH, drawn
from zoo.latent_walk.strip import write_strip
from zoo.video.convert import Pixels, Scaler
from zoo.video.writer import Coding, video_file

ON_STRIP = 9


@dataclass(frozen=True)
class Video:
    """How a walk becomes a video."""

    path: Path
    rate: Fraction
    held: int = 1
    """Pictures of the video for which each latent is shown."""
    enlarged: int = 1
    """By a whole factor, so that small frames can be seen."""

    @property
    def strip(self) -> Path:
        """Where the strip lies."""
        return self.path.with_suffix(".png")


def write_walk(
    model: Autoencoder,
    way: Tensor,
    shape: tuple[int, ...],
    video: Video,
    tags: Mapping[str, str],
    *,
    captions: Mapping[int, str] | None = None,
    columns: int | None = None,
    coding: Coding | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Draw latents (N, L), each of `shape`, as an MP4 and a strip: a picture each.

    Of a window, that is the frame in the middle.

    On the strip are the latents that have `captions`, by number; without them evenly spaced ones,
    each with its time. `progress` is called with the number of latents drawn so far. Raises
    ZooError where a file cannot be written.
    """
    shown = dict(captions) if captions is not None else _evenly(len(way), video)
    kept: dict[int, Pixels] = {}
    size = model.size
    large = type(size)(size.width * video.enlarged, size.height * video.enlarged)
    scale = Scaler(size, large, "lanczos")
    with video_file(video.path, large, video.rate, coding=coding, tags=tags) as file:
        count = max(1, BATCH // model.window)
        for start in range(0, len(way), count):
            some = way[start : start + count].unflatten(1, shape)
            for number, picture in enumerate(drawn(model, some, middle=True), start):
                if number in shown:
                    kept[number] = np.array(picture)
                enlarged = scale(picture)
                for _ in range(video.held):
                    file.write(enlarged)
                if progress:
                    progress(number + 1)
    order = sorted(shown)
    write_strip(video.strip, [kept[n] for n in order], [shown[n] for n in order], columns)


def _evenly(count: int, video: Video) -> dict[int, str]:
    """Evenly spaced numbers, the first and the last among them, with their times in the video."""
    chosen = torch.linspace(0, count - 1, min(ON_STRIP, count), dtype=torch.float64).round()
    return {int(n): f"{float(int(n) * video.held / video.rate):.2f} s" for n in chosen}
