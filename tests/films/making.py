"""Small films that the tests encode themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from zoo.api.film_entry import FilmEntry, parse_fps
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.films.ingest import open_film
from zoo.films.ingested_film import Film

Pixels = npt.NDArray[np.uint8]


def rgb(width: int, height: int, colour: Sequence[int]) -> Pixels:
    """A plain frame, uint8 (H, W, 3)."""
    return np.full((height, width, 3), colour, dtype=np.uint8)


def texture(width: int, height: int, seed: int = 0) -> Pixels:
    """A bright frame of soft patches, uint8 (H, W, 3), different for every seed."""
    coarse = np.random.default_rng(seed).integers(60, 250, (-(-height // 8), -(-width // 8), 3))
    return np.kron(coarse, np.ones((8, 8, 1)))[:height, :width].astype(np.uint8)


def drifting(width: int, height: int, count: int, seed: int = 0) -> list[Pixels]:
    """A shot: one texture that moves a pixel a frame."""
    wide = texture(width + count, height, seed)
    return [np.ascontiguousarray(wide[:, i : i + width]) for i in range(count)]


def video_frame(pixels: Pixels, pix_fmt: str) -> av.VideoFrame:
    """An RGB frame as limited-range BT.601 in a pixel format."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    return frame.reformat(
        format=pix_fmt, dst_colorspace="ITU601", dst_color_range="MPEG", src_color_range="JPEG"
    )


def planar(planes: Sequence[npt.NDArray[Any]], pix_fmt: str) -> av.VideoFrame:
    """A frame of planes as they are, one array (H, W) each, whatever the depth."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, values in zip(frame.planes, planes, strict=True):
        padded = np.zeros((plane.height, plane.line_size // values.itemsize), values.dtype)
        padded[:, : values.shape[1]] = values
        plane.update(padded.tobytes())
    return frame


def encode(
    path: Path,
    frames: Iterable[Pixels | av.VideoFrame],
    *,
    codec: str = "libx264",
    rate: int | Fraction = 25,
    pix_fmt: str = "yuv420p",
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    container_format: str | None = None,
    rotate: int = 0,
    matrix: Sequence[int] | None = None,
    **context: Any,
) -> Path:
    """Write a film; `context` are attributes of the codec context, such as colour tags."""
    frames = list(frames)
    chosen = {"preset": "ultrafast", "crf": "12"} if codec == "libx264" else {}
    with av.open(
        str(path), "w", format=container_format, options=container_options or {}
    ) as container:
        stream = container.add_stream(codec, rate=rate, options={**chosen, **(options or {})})
        first = frames[0]
        if isinstance(first, av.VideoFrame):
            stream.width, stream.height = first.width, first.height
        else:
            stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = pix_fmt
        base = time_base or 1 / Fraction(rate)
        stream.codec_context.time_base = base
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        if rotate:
            stream.set_display_rotation(rotate)
        if matrix:
            stream.set_display_matrix(matrix)
        for number, one in enumerate(frames):
            frame = one if isinstance(one, av.VideoFrame) else video_frame(one, pix_fmt)
            frame.pts = number if pts is None else pts[number]
            frame.time_base = base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def film_of(
    folder: Path,
    frame: av.VideoFrame,
    codes: tuple[int, int, int],
    full: bool = False,
    size: str = "192x48",
) -> Film:
    """A film of a frame, with codes for matrix, primaries and transfer."""
    name = "-".join(map(str, codes))
    clip = encode(
        folder / f"{name}.mkv",
        [frame] * 3,
        codec="ffv1",
        pix_fmt=frame.format.name,
        colorspace=codes[0],
        color_primaries=codes[1],
        color_trc=codes[2],
        color_range=2 if full else 1,
    )
    return opened(clip, folder / name, size, crop="none")


def opened(path: Path | Sequence[Path], folder: Path, size: str = "64x36", **given: Any) -> Film:
    """Ingest files in a workspace of their own; entry fields and settings by name."""
    files = (path,) if isinstance(path, Path) else tuple(path)
    names = ("start", "stop", "crop", "licence", "fit", "fps")
    fields = {k: given.pop(k) for k in names if k in given}
    if fields.get("fps") is not None:
        fields["fps"] = parse_fps(fields["fps"])
    entry = FilmEntry(name="film", files=files, **fields)
    given.setdefault("holdout", 0)
    return open_film(entry, FrameSize.parse(size), Workspace(folder / "workspace"), **given)
