"""Convert decoded frames to RGB frames of the film's size, with libavfilter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import av
import av.error
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from zoo.api.film_entry import Fit, Rect
from zoo.base.errors import BadInput, ZooError
from zoo.base.extras import package_command
from zoo.base.frame_size import FrameSize
from zoo.films.colour import Colour, can_decode_matrix, has_alpha, is_rgb, matrix_to_rgb
from zoo.films.filters import UNSTATED, FilterGraph, Step
from zoo.films.frame_store import Bars
from zoo.films.geometry import Placement, Rotation, fit_frame, pixel_aspect

# libswscale's number of SWS_INTENT_PERCEPTUAL, the rendering intent that keeps the look of a
# picture whose range or gamut is wider than the display's.
_KEEP_THE_LOOK = "0"
_ONE = Fraction(1)
# sRGB primaries and curve.
_DISPLAY = {
    "out_primaries": "bt709",
    "out_transfer": "iec61966-2-1",
    "intent": _KEEP_THE_LOOK,
}
_FEW_BITS = re.compile(r"(?:rgb|bgr)([456])([456])([456])[bl]e")
_FLAGS = "accurate_rnd+full_chroma_int+full_chroma_inp"
_FULL_RANGE = {"in_range": "full", "out_range": "full"}
# Before FFmpeg 8 the scaler knew neither transfer functions nor primaries.
_SCALES_WIDE = av.library_versions["libavfilter"][0] >= 11


# A named tuple because that is fast: one is made and compared for every frame.
class Layout(NamedTuple):
    """Everything that the filters depend on: a frame with another layout needs other filters."""

    width: int
    height: int
    pixel_format: str
    colour: Colour
    full_range: bool
    aspect: Fraction
    rotation: Rotation
    interlaced: bool


@dataclass
class FrameConverter:
    """Converts the frames of one file to rgb24 frames of the wanted size, in the same order.

    `name` is the file's name, for errors. `bars` are in pixels of a frame of `coded` (width,
    height), and are scaled for other sizes, since size, shape, colour and format may change within
    a file. Raises BadInput in one line, naming the file, if a frame cannot be converted.
    """

    name: str
    size: FrameSize
    fit: Fit
    coded: tuple[int, int]
    bars: Bars
    interlaced: bool

    def __post_init__(self) -> None:
        self._layout: Layout | None = None
        self._graphs: list[FilterGraph] = []
        self._taken = self._given = 0

    def convert(self, frame: VideoFrame) -> Iterator[tuple[int, VideoFrame]]:
        """Take a frame; yield the frames that are ready, each with its number in order of input.

        Deinterlacing looks one frame ahead, so a frame may only come out when the next goes in.
        """
        self.interlaced = self.interlaced or frame.interlaced_frame
        colour = Colour.of(frame)
        layout = Layout(
            frame.width,
            frame.height,
            frame.format.name,
            colour,
            colour.full_range(frame.format),
            pixel_aspect(frame),
            Rotation.of(frame),
            self.interlaced,
        )
        if min(frame.width, frame.height) < 2:
            raise BadInput(
                f"{self.name}: frames of {frame.width}x{frame.height} are too small; a film must "
                "be at least 2 pixels wide and high"
            )
        if layout != self._layout:
            yield from self.flush()
            self._layout = layout
            with self._converting(layout):
                self._graphs = self._build(layout)
        frame.pts, frame.time_base = self._taken, _ONE
        # The filters get all colour settings as options, and must not read the frame's tags.
        frame.colorspace = frame.color_trc = frame.color_primaries = UNSTATED
        frame.color_range = 2 if layout.full_range else 1
        self._taken += 1
        with self._converting(layout):
            self._graphs[0].push(frame)
        yield from self._ready(layout)

    def flush(self) -> Iterator[tuple[int, VideoFrame]]:
        """Yield the frames that are still in the filters."""
        if self._layout is not None:
            with self._converting(self._layout):
                self._graphs[0].push(None)
            yield from self._ready(self._layout)
            self._graphs, self._layout = [], None
            self._given = self._taken

    def placement(self, layout: Layout) -> Placement:
        """Return how the picture in a frame of this layout is cropped, scaled and placed."""
        across, down = layout.width / self.coded[0], layout.height / self.coded[1]
        left, top = round(self.bars.left * across), round(self.bars.top * down)
        picture = Rect(
            left,
            top,
            max(2, layout.width - left - round(self.bars.right * across)),
            max(2, layout.height - top - round(self.bars.bottom * down)),
        )
        return fit_frame(picture, layout.aspect, layout.rotation.degrees, self.size, self.fit)

    def _ready(self, layout: Layout) -> Iterator[tuple[int, VideoFrame]]:
        # Pulling from empty filters costs an exception, so no more is pulled than was put in.
        while self._given < self._taken:
            with self._converting(layout):
                frame = self._pulled(layout)
            if frame is None:
                return
            if (frame.width, frame.height) != self.size:
                raise ZooError(
                    f"{self.name}: a converted frame is {frame.width}x{frame.height}, not "
                    f"{self.size}; please report this with the output of `zoo films info`"
                )
            assert frame.pts is not None
            self._given += 1
            # The deinterlacer halves the time base.
            yield int(frame.pts * (frame.time_base or 1)), frame

    def _pulled(self, layout: Layout) -> VideoFrame | None:
        frame = self._graphs[0].pull()
        if frame is None or len(self._graphs) == 1:
            return frame
        decoded = matrix_to_rgb(frame, layout.colour, layout.full_range)
        assert frame.pts is not None
        decoded.pts, decoded.time_base = int(frame.pts * (frame.time_base or 1)), _ONE
        self._graphs[1].push(decoded)
        return self._graphs[1].pull()

    @contextmanager
    def _converting(self, layout: Layout) -> Iterator[None]:
        """Turn failures of libavfilter into BadInput with the file and the kind of frame."""
        try:
            yield
        except (av.error.FFmpegError, ValueError) as error:
            colour = layout.colour
            what = (
                f"{layout.pixel_format} at {layout.width}x{layout.height} (matrix {colour.matrix}, "
                f"primaries {colour.primaries}, transfer {colour.transfer})"
            )
            reason = error.strerror if isinstance(error, av.error.FFmpegError) else error
            raise BadInput(
                f"{self.name}: frames in the format {what} cannot be converted to RGB: {reason}; "
                "convert the film to yuv420p with BT.709 colours first"
            ) from None

    def _build(self, layout: Layout) -> list[FilterGraph]:
        """Build the filters for a layout: one chain, or two with a matrix decoded in between."""
        pixel_format = VideoFormat(layout.pixel_format)
        colour = layout.colour
        if colour.wide and not _SCALES_WIDE:
            raise BadInput(
                f"{self.name}: {colour.hdr or 'wide-gamut'} film needs PyAV with FFmpeg 8 or "
                f"later for tone mapping, but this one has {av.ffmpeg_version_info}: "
                f"{package_command('--upgrade av')}"
            )
        matrix = colour.matrix_for(layout.width, layout.height)
        own_matrix = matrix is None and not is_rgb(pixel_format)
        if own_matrix and (has_alpha(pixel_format) or not can_decode_matrix(colour)):
            clear = " in a film with transparency" if has_alpha(pixel_format) else ""
            raise BadInput(
                f"{self.name}: its colours are coded with the matrix {colour.matrix}, which "
                f"film-zoo does not decode{clear}; convert the film to BT.709 first"
            )
        placement = self.placement(layout)
        over_8_bits = any(component.bits > 8 for component in pixel_format.components)
        steps: list[Step] = []
        if layout.interlaced:
            steps.append(("bwdif", {"mode": "send_frame", "deint": "interlaced"}))
        range_name = "full" if layout.full_range else "limited"
        source = {"in_range": range_name, "out_range": "full"}
        if matrix is not None and not is_rgb(pixel_format):
            source["in_color_matrix"] = matrix
        if has_alpha(pixel_format):
            # Blend over black at full size: scaling would mix in colours of transparent pixels.
            steps += [
                _scale(source), _format("gbrap16le"), ("premultiply", {"inplace": "1"}),
                _scale(_FULL_RANGE), _format("gbrp16le"),
            ]  # fmt: skip
            pixel_format, source, over_8_bits = VideoFormat("gbrp16le"), _FULL_RANGE, True
        steps += _cropped(layout, placement)
        size = (layout.width, layout.height)
        width, height = placement.scaled
        smaller = width <= placement.crop.width and height <= placement.crop.height
        scaled = {
            "w": str(width),
            "h": str(height),
            # Area averaging uses every pixel when shrinking; enlarging needs a smooth curve.
            "flags": f"{'area' if smaller else 'bicubic'}+{_FLAGS}",
        }
        final = [*_to_display(colour), *_stretched(layout), *self._placed(layout, placement)]
        if own_matrix:
            same = {"in_color_matrix": "bt709", "out_color_matrix": "bt709"}
            same |= {"in_range": range_name, "out_range": range_name}
            steps += [("scale", scaled | same), _format("yuv444p16le")]
            return [
                FilterGraph(size, layout.pixel_format, layout.full_range, steps),
                FilterGraph(placement.scaled, "gbrp16le", True, final),
            ]
        middle = "gbrp16le" if over_8_bits and is_rgb(pixel_format) else "gbrp"
        if colour.wide and not is_rgb(pixel_format):
            # Gamut and tone mapping need the film's own sample values.
            middle = "yuv444p12le" if over_8_bits else "yuv444p"
            own = {"in_color_matrix": matrix or "", "in_range": range_name}
            source = own | {"out_color_matrix": matrix or "", "out_range": range_name}
            final = [*_to_display(colour, own), *self._placed(layout, placement)]
        steps += [("scale", scaled | source), _format(middle), *final]
        return [FilterGraph(size, layout.pixel_format, layout.full_range, steps)]

    def _placed(self, layout: Layout, placement: Placement) -> list[Step]:
        """The steps that mirror, rotate and pad a scaled frame."""
        rotation = layout.rotation
        steps: list[Step] = [("hflip", {})] if rotation.mirrored else []
        directions = {90: ["clock"], 180: ["clock", "clock"], 270: ["cclock"]}
        steps += [("transpose", {"dir": one}) for one in directions.get(rotation.degrees, [])]
        shown = placement.scaled[::-1] if rotation.degrees % 180 else placement.scaled
        if shown != self.size:
            width, height = str(self.size.width), str(self.size.height)
            left, top = str(placement.pad_left), str(placement.pad_top)
            steps.append(("pad", {"w": width, "h": height, "x": left, "y": top}))
        return steps


def _scale(options: dict[str, str]) -> Step:
    return "scale", {"flags": f"bicubic+{_FLAGS}"} | options


def _format(name: str) -> Step:
    return "format", {"pix_fmts": name}


def _stretched(layout: Layout) -> list[Step]:
    """Expand RGB of 4 to 6 bits to 8: libswscale appends zeros, which makes white grey."""
    found = _FEW_BITS.fullmatch(layout.pixel_format)
    if found is None:
        return []
    tops = {
        name: 256 - (256 >> int(bits)) for name, bits in zip("rgb", found.groups(), strict=True)
    }
    return [("lutrgb", {name: f"round(val*255/{top})" for name, top in tops.items()})]


def _cropped(layout: Layout, placement: Placement) -> list[Step]:
    crop = placement.crop
    if (crop.left, crop.top, crop.width, crop.height) == (0, 0, layout.width, layout.height):
        return []
    area = {"w": str(crop.width), "h": str(crop.height), "x": str(crop.left), "y": str(crop.top)}
    return [("crop", {**area, "exact": "1"})]


def _to_display(colour: Colour, source: dict[str, str] | None = None) -> list[Step]:
    """The steps that convert scaled frames to rgb24.

    They go through planar RGB: libswscale then keeps the full resolution of colour, rounds
    correctly, and is faster than with packed RGB. Wide gamuts and high dynamic range are mapped
    here, where frames are small; `source` describes frames that are not yet RGB.
    """
    options = _FULL_RANGE | (source or {})
    if colour.wide:
        options |= _DISPLAY | {
            "in_primaries": colour.primaries_to_read,
            "in_transfer": colour.transfer_to_read,
        }
    return [_scale(options), _format("rgb24")]
