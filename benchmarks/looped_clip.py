"""A film of any length for benchmarks: a real clip, forwards and backwards, over and over."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
from av.video.stream import VideoStream

from zoo.plugins.registry import registry

FPS = 25


def write_looped_clip(
    path: Path, codec: str, size: tuple[int, int], frames: int, options: Mapping[str, str]
) -> None:
    """Encode `frames` frames of the embedded clip, scaled to `size`, at 25 frames/s."""
    width, height = size
    source = registry().films["bigbuckbunny"].files[0]
    with av.open(str(source)) as clip:
        pictures = [f.reformat(width, height) for f in clip.decode(video=0)]
    with av.open(str(path), "w") as target:
        stream = target.add_stream(codec, rate=FPS, options=dict(options))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            # Forwards and backwards, so that looping adds no cuts.
            at = number % (2 * len(pictures))
            frame = pictures[min(at, 2 * len(pictures) - 1 - at)]
            frame.pts, frame.time_base, frame.pict_type = number, Fraction(1, FPS), 0
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
