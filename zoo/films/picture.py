"""Coded frames into RGB frames of the wanted size, by one libavfilter graph."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import av.error
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame

from zoo.errors import BadInput, ZooError
from zoo.films.colour import Colour
from zoo.films.geometry import Fit, Placement, Rect, place
from zoo.films.store import Bars
from zoo.frame_size import FrameSize

# libswscale's number for the rendering intent that keeps the look of a picture whose range or
# gamut is wider than the display's, SWS_INTENT_PERCEPTUAL.
_KEEP_THE_LOOK = "0"
_ONE = Fraction(1)
# sRGB primaries and curve.
_DISPLAY = {
    "out_primaries": "bt709",
    "out_transfer": "iec61966-2-1",
    "intent": _KEEP_THE_LOOK,
}


# A named tuple, since one is made and compared for every frame.
class Layout(NamedTuple):
    """All that the graph depends on; a frame of another layout needs another graph."""

    width: int
    height: int
    pixel_format: str
    colour: Colour
    deep: bool
    """Whether samples have more than 8 bits."""
    rotation: int
    interlaced: bool


class Picture:
    """Turns the frames of one file into rgb24 frames of the wanted size, in the same order.

    `bars` are in pixels of a frame of `coded` (width, height), and are scaled for others: the
    size may change in the middle of a file.
    """

    def __init__(
        self,
        size: FrameSize,
        fit: Fit,
        pixel_aspect: Fraction,
        coded: tuple[int, int],
        bars: Bars,
        interlaced: bool,
    ) -> None:
        self.size = size
        self.fit = fit
        self.pixel_aspect = pixel_aspect
        self.coded = coded
        self.bars = bars
        self.interlaced = interlaced
        self._layout: Layout | None = None
        self._ends: tuple[FilterContext, FilterContext] | None = None
        self._graph: Graph | None = None
        self._fed = self._given = 0

    def feed(self, frame: VideoFrame) -> Iterator[tuple[int, VideoFrame]]:
        """Take a frame; yield the frames that are ready, each with its number in order of feeding.

        Deinterlacing looks one frame ahead, so that a frame may come out with the next.
        """
        self.interlaced = self.interlaced or frame.interlaced_frame
        layout = Layout(
            frame.width,
            frame.height,
            frame.format.name,
            Colour.of(frame),
            any(component.bits > 8 for component in frame.format.components),
            -frame.rotation % 360,
            self.interlaced,
        )
        if layout != self._layout:
            yield from self.finish()
            self._layout = layout
            self._ends = self._build(layout)
        frame.pts, frame.time_base = self._fed, _ONE
        self._fed += 1
        assert self._ends is not None
        self._ends[0].push(frame)
        yield from self._ready()

    def finish(self) -> Iterator[tuple[int, VideoFrame]]:
        """Yield what is still inside."""
        if self._ends is not None:
            self._ends[0].push(None)
            yield from self._ready()
            self._ends = self._graph = self._layout = None
            self._given = self._fed

    def _ready(self) -> Iterator[tuple[int, VideoFrame]]:
        assert self._ends is not None
        # Asking an empty graph costs an exception, so nothing is asked for that was not fed.
        while self._given < self._fed:
            try:
                frame = self._ends[1].pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            assert isinstance(frame, VideoFrame) and frame.pts is not None
            self._given += 1
            # The deinterlacer halves the time base.
            yield int(frame.pts * (frame.time_base or 1)), frame

    def placement(self, layout: Layout) -> Placement:
        """Where the picture lies in a frame of this layout and where it goes."""
        across, down = layout.width / self.coded[0], layout.height / self.coded[1]
        left, top = round(self.bars.left * across), round(self.bars.top * down)
        picture = Rect(
            left,
            top,
            max(2, layout.width - left - round(self.bars.right * across)),
            max(2, layout.height - top - round(self.bars.bottom * down)),
        )
        return place(picture, self.pixel_aspect, layout.rotation, self.size, self.fit)

    @staticmethod
    def _scaled(graph: Graph, layout: Layout, placement: Placement) -> list[FilterContext]:
        """Scale and convert to rgb24.

        By way of planar RGB, for which libswscale keeps the colour's whole resolution and rounds
        correctly, faster than it makes the packed kind. Wide gamuts and high dynamic range are
        mapped in the second step, where frames are small.
        """
        width, height = placement.scaled
        smaller = width <= placement.crop.width and height <= placement.crop.height
        # Area averaging sees every pixel when shrinking; enlarging wants a smooth curve.
        method = "area" if smaller else "bicubic"
        colour = layout.colour
        range_name = colour.range_name(layout.pixel_format)
        first = {"in_range": range_name, "out_range": "full"}
        middle, second = "gbrp", {"in_range": "full", "out_range": "full"}
        if colour.is_rgb(layout.pixel_format):
            middle = "gbrp16le" if layout.deep else "gbrp"
        else:
            matrix = colour.matrix_for(layout.height)
            first |= {"in_color_matrix": matrix}
            if colour.wide:
                # The mapping wants the film's own numbers.
                middle = "yuv444p12le" if layout.deep else "yuv444p"
                first |= {"out_color_matrix": matrix, "out_range": range_name}
                second |= {"in_color_matrix": matrix, "in_range": range_name}
        if colour.wide:
            second |= _DISPLAY | {
                "in_primaries": colour.primaries_to_read,
                "in_transfer": colour.transfer_to_read,
            }
        flags = "accurate_rnd+full_chroma_int+full_chroma_inp"
        return [
            graph.add("scale", w=str(width), h=str(height), flags=f"{method}+{flags}", **first),
            graph.add("format", pix_fmts=middle),
            graph.add("scale", flags=f"bicubic+{flags}", **second),
            graph.add("format", pix_fmts="rgb24"),
        ]

    def _build(self, layout: Layout) -> tuple[FilterContext, FilterContext]:
        placement = self.placement(layout)
        crop, scaled = placement.crop, placement.scaled
        graph = Graph()
        graph.threads = 1
        nodes = [
            graph.add(
                "buffer",
                video_size=f"{layout.width}x{layout.height}",
                pix_fmt=layout.pixel_format,
                time_base="1/1",
                pixel_aspect="1/1",
                colorspace=str(layout.colour.matrix_code),
                range=str(layout.colour.range_code),
            )
        ]
        if layout.interlaced:
            nodes.append(graph.add("bwdif", mode="send_frame", deint="interlaced"))
        if (crop.left, crop.top, crop.width, crop.height) != (0, 0, layout.width, layout.height):
            nodes.append(
                graph.add(
                    "crop", w=str(crop.width), h=str(crop.height), x=str(crop.left),
                    y=str(crop.top), exact="1",
                )
            )  # fmt: skip
        try:
            nodes += self._scaled(graph, layout, placement)
        except (ValueError, av.error.FFmpegError):
            # Libraries before FFmpeg 8 know no transfer functions in their scaler.
            raise BadInput(
                f"{layout.colour.hdr or 'wide-gamut'} film needs a PyAV with FFmpeg 8 or later to "
                "be tone-mapped: `pip install -U av`"
            ) from None
        for direction in {90: ["clock"], 180: ["clock", "clock"], 270: ["cclock"]}.get(
            layout.rotation, []
        ):
            nodes.append(graph.add("transpose", dir=direction))
        turned = scaled[::-1] if layout.rotation % 180 else scaled
        if turned != self.size:
            nodes.append(
                graph.add(
                    "pad", w=str(self.size.width), h=str(self.size.height),
                    x=str(placement.pad_left), y=str(placement.pad_top),
                )
            )  # fmt: skip
        nodes.append(graph.add("buffersink"))
        graph.link_nodes(*nodes)
        try:
            graph.configure()
        except av.error.FFmpegError as error:
            raise ZooError(
                f"frames of the kind {layout.pixel_format} at {layout.width}x{layout.height} "
                f"cannot be converted: {error.strerror}"
            ) from None
        self._graph = graph
        return nodes[0], nodes[-1]
