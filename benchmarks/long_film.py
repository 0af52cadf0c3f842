"""A synthetic film of any length: soft patches that drift, with a cut every ten seconds."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from zoo.base.frame_size import FrameSize

RATE = 25
SHOT = 10 * RATE
PICTURES = 50
"""Pictures in a shot, shown forwards and backwards, over and over."""
SHOTS = 32
"""Shots that differ; after these, the first comes again."""
PATCH = 8


def draw_film(path: Path, frames: int, size: FrameSize) -> Path:
    """Encode a film of so many frames as MPEG-4, the fastest codec available."""
    shots = [_shot(size, seed) for seed in range(SHOTS)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE, options={"qscale": "3", "g": "50"})
        stream.width, stream.height, stream.pix_fmt = size.width, size.height, "yuv420p"
        stream.thread_count = 0
        for number, frame in zip(range(frames), _endless(shots), strict=False):
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _shot(size: FrameSize, seed: int) -> list[VideoFrame]:
    coarse = np.random.default_rng(seed).integers(
        30, 250, (-(-size.height // PATCH), -(-(size.width + PICTURES) // PATCH), 3), np.uint8
    )
    wide = np.kron(coarse, np.ones((PATCH, PATCH, 1), np.uint8))[: size.height]
    pictures = [np.ascontiguousarray(wide[:, at : at + size.width]) for at in range(PICTURES)]
    there = [
        VideoFrame.from_ndarray(p, format="rgb24").reformat(format="yuv420p") for p in pictures
    ]
    return there + there[::-1]


def _endless(shots: list[list[VideoFrame]]) -> itertools.chain[VideoFrame]:
    return itertools.chain.from_iterable(
        itertools.islice(itertools.cycle(shot), SHOT) for shot in itertools.cycle(shots)
    )
