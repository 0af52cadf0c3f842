"""Paths through latent space, rendered as a video and as a strip of frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from zoo.api.autoencoder import Autoencoder
from zoo.api.samples_and_latents import BATCH
from zoo.base.atomic_files import atomic_write
from zoo.base.picture_style import GROUND, QUIET, fit_letters, font
from zoo.base.time_code import FrameTimes
from zoo.evaluation.inference import decode_to_pixels
from zoo.reconstruct.frame_conversion import Pixels, Scaler
from zoo.reconstruct.video_writers import video_file

Kind = Literal["spherical", "linear"]

_PARALLEL = 1e-4

_WIDEST, _STRIP_GAP, _LETTERS = 1920, 6, 13
_LARGEST = 320


@dataclass(frozen=True)
class LatentStatistics:
    """Mean, standard deviation and range of a film's latents by dimension: float (L,).

    The standard deviation of a constant dimension is set to 1.
    """

    mean: Tensor
    sd: Tensor
    lowest: Tensor
    highest: Tensor

    @classmethod
    def of(cls, latents: Tensor) -> LatentStatistics:
        """Measure the latents of a film (N, L)."""
        sd = latents.std(dim=0, correction=0)
        lowest, highest = latents.aminmax(dim=0)
        return cls(latents.mean(dim=0), torch.where(sd > 0, sd, 1.0), lowest, highest)

    def within(self, latents: Tensor) -> Tensor:
        """Clip latents (N, L) to the film's range, because the decoder was trained only on that."""
        return torch.maximum(torch.minimum(latents, self.highest), self.lowest)


def path_through(stops: Tensor, steps: int, space: LatentStatistics, kind: Kind) -> Tensor:
    """Make a path of latents (`steps`, L) through stops (S, L), from the first to the last.

    Each leg, from one stop to the next, takes the same time. Stops in between are hit exactly if
    `steps` - 1 is a multiple of the number of legs. A linear path is straight; halfway between two
    frames it is nearer to the mean of the film's latents than frames are. A spherical path avoids
    this: relative to the mean, in units of the standard deviation, its direction and length change
    evenly (White, Sampling generative networks, 2016).
    """
    legs = len(stops) - 1
    path = []
    for step in range(steps):
        leg, rest = divmod(step * legs, steps - 1)
        if leg == legs:
            path.append(stops[-1])
            continue
        share = rest / (steps - 1)
        start, stop = stops[leg], stops[leg + 1]
        if kind == "linear" or not rest:
            path.append(torch.lerp(start, stop, share))
        else:
            turned = _turned((start - space.mean) / space.sd, (stop - space.mean) / space.sd, share)
            path.append(turned * space.sd + space.mean)
    return space.within(torch.stack(path))


def _turned(start: Tensor, stop: Tensor, share: float) -> Tensor:
    """A latent between two others (L,), with evenly changing direction and length."""
    lengths = start.norm(), stop.norm()
    cosine = torch.dot(start, stop) / (lengths[0] * lengths[1]).clamp_min(1e-12)
    angle = math.acos(float(cosine.clamp(-1, 1)))
    if math.sin(angle) < _PARALLEL:
        # Between opposite directions the shortest arc is not unique; equal ones need no arc.
        return torch.lerp(start, stop, share)
    direction = (
        math.sin((1 - share) * angle) * start / lengths[0]
        + math.sin(share * angle) * stop / lengths[1]
    ) / math.sin(angle)
    return direction * torch.lerp(lengths[0], lengths[1], share)


def closed_walk(latents: Tensor, steps: int, turns: int, seed: int) -> Tensor:
    """A random closed path (steps, L) with the mean and covariance of a film's latents (N, L).

    It is a stationary Gaussian process in the span of the latents: each principal component follows
    a sum of `turns` harmonics with random amplitudes and phases. So every step is a sample of the
    normal distribution with the film's mean and covariance, and the last step leads back to the
    first. More turns give faster motion. The same seed gives the same path.
    """
    space = LatentStatistics.of(latents)
    centred = (latents - space.mean).double()
    # (K, L), where K is the smaller of the numbers of latents and of dimensions.
    _, spreads, components = torch.linalg.svd(centred, full_matrices=False)
    spreads = spreads / math.sqrt(len(latents))
    generator = torch.Generator().manual_seed(seed)
    waves = torch.randn(2, turns, len(spreads), generator=generator, dtype=torch.float64)
    time = torch.arange(steps, dtype=torch.float64)[:, None] / steps
    phase = 2 * math.pi * time * torch.arange(1, turns + 1)
    walked = (phase.cos() @ waves[0] + phase.sin() @ waves[1]) / math.sqrt(turns)
    path = (walked * spreads.cpu()) @ components.cpu()
    return space.within(path.to(latents) + space.mean)


def frames_at(seconds: Sequence[float], times: FrameTimes) -> list[int]:
    """Frames shown at times in seconds; raises ValueError for a time outside the film."""
    for time in seconds:
        if not times.begins - 1e-6 <= time < times.ends:
            raise ValueError(time)
    return [int(times.frame_at(time)) for time in seconds]


ON_STRIP = 9


@dataclass(frozen=True)
class PathVideo:
    """The video file of a path, and how it shows the latents."""

    path: Path
    rate: Fraction
    hold: int = 1
    """Number of video frames that show each latent."""
    enlarge: int = 1
    """Integer factor by which small frames are enlarged."""

    @property
    def strip(self) -> Path:
        """Path of the strip, a PNG next to the video."""
        return self.path.with_suffix(".png")


def write_path_video(
    model: Autoencoder,
    path: Tensor,
    shape: tuple[int, ...],
    video: PathVideo,
    tags: Mapping[str, str],
    *,
    captions: Mapping[int, str] | None = None,
    columns: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Decode latents (N, L), each of `shape`, into an MP4 and a strip, one frame per latent.

    For a model with a window, this is the middle frame. The strip shows the latents that have
    `captions`, by number; without captions, it shows evenly spaced latents with their times.
    `progress` gets the number of latents decoded so far. Raises ZooError if a file is not writable.
    """
    shown = dict(captions) if captions is not None else _evenly(len(path), video)
    on_strip: dict[int, Pixels] = {}
    size = model.size
    large = type(size)(size.width * video.enlarge, size.height * video.enlarge)
    scale = Scaler(size, large, "lanczos")
    with video_file(video.path, large, video.rate, tags=tags) as file:
        count = max(1, BATCH // model.window)
        for start in range(0, len(path), count):
            some = path[start : start + count].unflatten(1, shape)
            for number, frame in enumerate(decode_to_pixels(model, some, middle=True), start):
                if number in shown:
                    on_strip[number] = np.array(frame)
                enlarged = scale(frame)
                for _ in range(video.hold):
                    file.write(enlarged)
                if progress:
                    progress(number + 1)
    order = sorted(shown)
    write_strip(video.strip, [on_strip[n] for n in order], [shown[n] for n in order], columns)


def _evenly(count: int, video: PathVideo) -> dict[int, str]:
    """Choose evenly spaced latents, including both ends, with their times in the video."""
    chosen = torch.linspace(0, count - 1, min(ON_STRIP, count), dtype=torch.float64).round()
    return {int(n): f"{float(int(n) * video.hold / video.rate):.2f} s" for n in chosen}


def write_strip(
    path: Path, frames: Sequence[Pixels], captions: Sequence[str], columns: int | None = None
) -> None:
    """Write frames, uint8 (H, W, 3) of one size, as a PNG with `columns` columns or in one row.

    Small frames are enlarged by an integer factor and large ones reduced, so that a row is at most
    1,920 pixels wide.
    """
    columns = columns or len(frames)
    rows = math.ceil(len(frames) / columns)
    height, width, _ = frames[0].shape
    room = min(_LARGEST, (_WIDEST - _STRIP_GAP) // columns - _STRIP_GAP)
    scale: float = room // width if room >= width else room / width
    size = max(1, round(width * scale)), max(1, round(height * scale))
    caption = _LETTERS + 8 if any(captions) else 0
    cell = size[0] + _STRIP_GAP, size[1] + caption + _STRIP_GAP
    strip = Image.new("RGB", (columns * cell[0] + _STRIP_GAP, rows * cell[1] + _STRIP_GAP), GROUND)
    pen = ImageDraw.Draw(strip)
    by = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    for number, (frame, text) in enumerate(zip(frames, captions, strict=True)):
        left = _STRIP_GAP + number % columns * cell[0]
        top = _STRIP_GAP + number // columns * cell[1]
        strip.paste(Image.fromarray(frame).resize(size, by), (left, top))
        if text:
            middle = (left + size[0] / 2, top + size[1] + caption / 2)
            words, letters = fit_letters(text, size[0], _LETTERS)
            pen.text(middle, words, fill=QUIET, font=font(letters), anchor="mm")
    with atomic_write(path) as temporary:
        strip.save(temporary, format="PNG")
