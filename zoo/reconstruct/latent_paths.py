"""Paths through latent space, and the video and the strip of pictures that show one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from zoo.api.autoencoder import Autoencoder
from zoo.evaluation.watch import BATCH, drawn
from zoo.films.time_code import FrameTimes
from zoo.reconstruct.video.frame_conversion import Pixels, Scaler
from zoo.reconstruct.video.frame_grid import write_strip
from zoo.reconstruct.video.mp4_writer import Coding, video_file

Kind = Literal["spherical", "linear"]
KINDS: tuple[Kind, ...] = ("spherical", "linear")

_PARALLEL = 1e-4


@dataclass(frozen=True)
class Space:
    """Where the latents of a film lie: their mean, their spread in each dimension, their range.

    All are float (L,); a dimension that never changes has a spread of 1.
    """

    mean: Tensor
    sd: Tensor
    lowest: Tensor
    highest: Tensor

    @classmethod
    def of(cls, latents: Tensor) -> Space:
        """Measure the latents of a film (N, L)."""
        sd = latents.std(dim=0, correction=0)
        lowest, highest = latents.aminmax(dim=0)
        return cls(latents.mean(dim=0), torch.where(sd > 0, sd, 1.0), lowest, highest)

    def within(self, latents: Tensor) -> Tensor:
        """Latents (N, L) cut to the range that the film spans: a decoder knows nothing else."""
        return torch.maximum(torch.minimum(latents, self.highest), self.lowest)


def between(stops: Tensor, steps: int, space: Space, kind: Kind) -> Tensor:
    """A way through stops (S, L), of `steps` latents (steps, L), the first and last stop included.

    As much time is spent from each stop to the next; stops between are met where the steps between
    the first and the last are a multiple of the legs. A linear way is straight; on a spherical one
    direction turns evenly and length changes evenly, as seen from the middle of the film's latents
    with every dimension at one spread (White, Sampling generative networks, 2016): halfway between
    two frames a straight way lies nearer to that middle than frames do.
    """
    legs = len(stops) - 1
    way = []
    for step in range(steps):
        leg, rest = divmod(step * legs, steps - 1)
        if leg == legs:
            way.append(stops[-1])
            continue
        share = rest / (steps - 1)
        start, stop = stops[leg], stops[leg + 1]
        if kind == "linear" or not rest:
            way.append(torch.lerp(start, stop, share))
        else:
            turned = _turned((start - space.mean) / space.sd, (stop - space.mean) / space.sd, share)
            way.append(turned * space.sd + space.mean)
    return space.within(torch.stack(way))


def _turned(start: Tensor, stop: Tensor, share: float) -> Tensor:
    """Between two latents (L,): direction and length both change evenly."""
    lengths = start.norm(), stop.norm()
    cosine = torch.dot(start, stop) / (lengths[0] * lengths[1]).clamp_min(1e-12)
    angle = math.acos(float(cosine.clamp(-1, 1)))
    if math.sin(angle) < _PARALLEL:
        # Opposite directions have no one way around; equal ones need none.
        return torch.lerp(start, stop, share)
    direction = (
        math.sin((1 - share) * angle) * start / lengths[0]
        + math.sin(share * angle) * stop / lengths[1]
    ) / math.sin(angle)
    return direction * torch.lerp(lengths[0], lengths[1], share)


def drift(latents: Tensor, steps: int, turns: int, seed: int) -> Tensor:
    """A closed way (steps, L) with the mean and covariance of a film's latents (N, L).

    A stationary normal process in the space that the latents span: along each of their principal
    components runs a sum of `turns` harmonics with random amplitudes and phases, so that every
    moment is a draw from the normal distribution with the film's mean and covariance, and the last
    leads back to the first. More turns drift faster. The same seed gives the same way.
    """
    space = Space.of(latents)
    centred = (latents - space.mean).double()
    # (K, L) with K the number of latents or of dimensions, whichever is smaller.
    _, spreads, components = torch.linalg.svd(centred, full_matrices=False)
    spreads = spreads / math.sqrt(len(latents))
    generator = torch.Generator().manual_seed(seed)
    waves = torch.randn(2, turns, len(spreads), generator=generator, dtype=torch.float64)
    time = torch.arange(steps, dtype=torch.float64)[:, None] / steps
    phase = 2 * math.pi * time * torch.arange(1, turns + 1)
    walked = (phase.cos() @ waves[0] + phase.sin() @ waves[1]) / math.sqrt(turns)
    way = (walked * spreads.cpu()) @ components.cpu()
    return space.within(way.to(latents) + space.mean)


def frames_at(moments: Sequence[float], times: FrameTimes) -> list[int]:
    """The frame that is shown at each moment, in seconds; raises ValueError outside the film."""
    for moment in moments:
        if not times.begins - 1e-6 <= moment < times.ends:
            raise ValueError(moment)
    return [int(times.frame_at(moment)) for moment in moments]


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
