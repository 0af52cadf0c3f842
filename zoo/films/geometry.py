"""Geometry of frames: cropping, rotation, pixel aspect, and fitting into the wanted size."""

from __future__ import annotations

import functools
import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, cast

import av.error
from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame

from zoo.api.film_entry import Fit, Rect
from zoo.base.frame_size import FrameSize
from zoo.films.filters import FilterGraph, Step
from zoo.films.frame_store import Bars
from zoo.films.video_file import VideoFile, usable_aspect

# A deviation of up to this many degrees from a quarter turn is taken for rounding.
_EXACT_DEGREES = 0.5
# A display matrix: nine numbers of 32 bits, row after row.
_MATRIX = struct.Struct("=9i")
# A frame's pixel aspect is measured as an image's width, in this many parts of its height.
_ASPECT_PARTS = 360


class Rotation(NamedTuple):
    """The effect of a display matrix: mirroring, left for right, and then rotation."""

    degrees: int = 0
    """Clockwise: 0, 90, 180 or 270."""
    mirrored: bool = False
    stated: float | None = None
    """The clockwise angle in degrees that the file states, if it is not a quarter turn."""

    @classmethod
    def of(cls, frame: VideoFrame) -> Rotation:
        """Read the rotation of a decoded frame; other angles become the nearest quarter turn."""
        matrix = side_data(frame, "DISPLAYMATRIX")
        return cls() if matrix is None else _rotation(matrix)


@functools.lru_cache(maxsize=16)
def _rotation(matrix: bytes) -> Rotation:
    """Read a display matrix, which takes (x, y) to (a x + c y, b x + d y), with y downwards."""
    if len(matrix) < _MATRIX.size:
        return Rotation()
    a, b, _, c, d, *_ = _MATRIX.unpack_from(matrix)
    if a * d == b * c:
        # Nothing would be visible: the picture is projected onto a line or a point.
        return Rotation()
    mirrored = a * d < b * c
    if mirrored:
        a, b = -a, -b
    angle = math.degrees(math.atan2(b - c, a + d)) % 360
    quarter = round(angle / 90) % 4 * 90
    off = abs((angle - quarter + 180) % 360 - 180)
    return Rotation(quarter, mirrored, angle if off > _EXACT_DEGREES else None)


def _unnamed_kind(kinds: type[Type], value: int) -> Type:
    """Make a member for a kind of side data that FFmpeg has and PyAV does not name."""
    kind = object.__new__(kinds)
    vars(kind).update(_name_=f"KIND_{value}", _value_=value)
    kinds._value2member_map_[value] = kind
    return kind


# Without this, PyAV gives none of the side data of a frame that has EXIF, as photographs have.
Type._missing_ = classmethod(_unnamed_kind)  # type: ignore[method-assign, assignment]


def side_data(frame: VideoFrame, name: str) -> bytes | None:
    """Return a frame's side data of the given FFmpeg name; None if there is none."""
    found = cast("SideData | None", frame.side_data.get(name))
    return None if found is None else bytes(memoryview(found))


class _Aspect(NamedTuple):
    """Attached to one frame: PyAV loses an object shared by two frames once one is deleted."""

    width_over_height: Fraction


def pixel_aspect(frame: VideoFrame) -> Fraction:
    """Return the width of a pixel over its height, for a frame from `ContainerGeometry.apply`."""
    carried = frame.opaque
    assert isinstance(carried, _Aspect), "frames come from `ContainerGeometry.apply`"
    return carried.width_over_height


class ContainerGeometry:
    """Applies the cropping and pixel aspect of a container to its frames, in order of decoding."""

    def __init__(self, source: VideoFile) -> None:
        self._source = source
        self._cropping = source.cropping
        self._cut: FilterGraph | None = None
        self._cut_for: tuple[int, int, str] | None = None
        self._aspect = source.pixel_aspect
        self._decoders: Fraction | None = None
        self._first: Fraction | None = None
        self._begun = False

    def apply(self, frame: VideoFrame) -> VideoFrame:
        """Return the next frame cropped as the header says, carrying its pixel aspect."""
        aspect = self._aspect_of(frame)
        if self._cropping != Bars():
            frame = self._cropped(frame)
        frame.opaque = _Aspect(aspect)
        return frame

    def _aspect_of(self, frame: VideoFrame) -> Fraction:
        """Return the container's aspect until the decoder finds another one, then that one."""
        decoders = self._source.stream.codec_context.sample_aspect_ratio
        if not self._begun:
            self._begun = True
            self._decoders = self._first = decoders
        # The decoder is a few frames ahead of the frames that it returns.
        if decoders != self._decoders and _carries(frame, decoders, self._decoders):
            self._decoders = decoders
            back = decoders == self._first
            self._aspect = self._source.pixel_aspect if back else usable_aspect(decoders)
        return self._aspect

    def _cropped(self, frame: VideoFrame) -> VideoFrame:
        cut = self._cropping
        width = frame.width - cut.left - cut.right
        height = frame.height - cut.top - cut.bottom
        if width < 2 or height < 2:
            # After a change of size in mid-film a frame may be smaller than what is to be cut.
            return frame
        kind = (frame.width, frame.height, frame.format.name)
        if self._cut is None or kind != self._cut_for:
            area = {"w": str(width), "h": str(height), "x": str(cut.left), "y": str(cut.top)}
            self._cut = _graph(frame, [("crop", {**area, "exact": "1"})])
            self._cut_for = kind
        times = frame.pts, frame.dts, frame.time_base
        shown = _filtered(self._cut, frame)
        shown.pts, shown.dts = times[:2]
        if times[2] is not None:
            shown.time_base = times[2]
        return shown


def _carries(frame: VideoFrame, new: Fraction | None, old: Fraction | None) -> bool:
    """Whether a frame's own pixel aspect is the new one rather than the old one.

    PyAV does not expose a frame's aspect; libavfilter can make it the width of an image.
    """
    parts = f"clip({_ASPECT_PARTS}*sar,1,{20 * _ASPECT_PARTS})"
    steps: list[Step] = [
        ("crop", {"w": "2", "h": "2", "x": "0", "y": "0"}),
        ("scale", {"w": parts, "h": "2", "eval": "frame", "flags": "neighbor"}),
    ]
    try:
        own = _filtered(_graph(frame, steps), frame).width / _ASPECT_PARTS
    except (av.error.FFmpegError, ValueError):
        # Not every pixel format can be scaled; the decoder's value is at most a few frames early.
        return True
    return abs(own - usable_aspect(new)) <= abs(own - usable_aspect(old))


def _graph(frame: VideoFrame, steps: list[Step]) -> FilterGraph:
    return FilterGraph((frame.width, frame.height), frame.format.name, False, steps)


def _filtered(line: FilterGraph, frame: VideoFrame) -> VideoFrame:
    """Pass one frame through filters that return each frame at once."""
    line.push(frame)
    shown = line.pull()
    assert shown is not None
    return shown


@dataclass(frozen=True)
class Placement:
    """How a coded frame becomes one of the wanted size: crop, scale, rotate, then pad.

    `scaled` is the size after scaling, before rotation; `pad_left` and `pad_top` are the position
    of the rotated picture in the wanted size.
    """

    crop: Rect
    scaled: tuple[int, int]
    pad_left: int
    pad_top: int


def fit_frame(
    picture: Rect, pixel_aspect: Fraction, rotation: int, size: FrameSize, fit: Fit
) -> Placement:
    """Fit a picture into `size`, keeping its shape: cropped evenly or padded with black.

    `pixel_aspect` is the width of a coded pixel over its height, `rotation` the multiple of 90
    degrees by which the picture is rotated after scaling.
    """
    width, height = (size.height, size.width) if rotation % 180 else size
    shape = picture.width * pixel_aspect / picture.height
    wanted = Fraction(width, height)
    if fit == "pad":
        inside = (
            (width, _even(width / shape, height))
            if shape > wanted
            else (_even(height * shape, width), height)
        )
        left, top = (width - inside[0]) // 2, (height - inside[1]) // 2
        pads = (top, left) if rotation % 180 else (left, top)
        return Placement(picture, inside, *pads)
    crop_width, crop_height = picture.width, picture.height
    if shape > wanted:
        crop_width = _even(picture.height * wanted / pixel_aspect, picture.width)
    else:
        crop_height = _even(picture.width * pixel_aspect / wanted, picture.height)
    # Even offsets: half a chroma sample cannot be cut off.
    crop = Rect(
        picture.left + (picture.width - crop_width) // 4 * 2,
        picture.top + (picture.height - crop_height) // 4 * 2,
        crop_width,
        crop_height,
    )
    return Placement(crop, (width, height), 0, 0)


def _even(length: Fraction, most: int) -> int:
    return max(2, min(round(length / 2) * 2, most))
