"""Shared parts of all plots: figure, axes, legend, file, and labels of points and curves."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from PIL import Image

from zoo.base import numbers
from zoo.base import picture_style as style
from zoo.base.atomic_files import atomic_write
from zoo.base.records import MetricInfo, Part
from zoo.report.aggregate import ResultRow, bytes_per_frame
from zoo.report.table import bracketed, mean_value

DOTS_PER_INCH = 100
NAME_LENGTH = 22
COLOURS = 128
"""Colours of a saved picture: enough for lines and text, at a quarter of the bytes."""
HOLLOW: dict[str, Any] = {"linestyle": "", "fillstyle": "none", "markeredgewidth": 1.6}
"""Outlined markers, distinguishable from filled ones without colour."""

CODED_TOO = "a codec, which coded the held-out frames too"
SIZED = "Beside each name: bytes per frame after lossless coding."
IN_BRACKETS = f"In brackets: {CODED_TOO}."


def new_figure(width: float, height: float) -> tuple[Figure, FigureCanvasAgg]:
    """A figure of this size in inches on the report's background."""
    figure = Figure(
        figsize=(width, height),
        dpi=DOTS_PER_INCH,
        facecolor=style.GROUND,
        layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1),
    )
    return figure, FigureCanvasAgg(figure)


def style_axes(axes: Axes) -> None:
    """Give a panel the report's style."""
    axes.set_facecolor(style.PANEL)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(colors=style.QUIET, labelsize=9, which="both")
    axes.set_axisbelow(True)


def set_title(axes: Axes, text: str, longest: int = 40) -> None:
    """Write a title above a panel, always as plain text without markup."""
    words = axes.set_title(
        style.picture_text(text, longest), color=style.TEXT, fontsize=11, loc="left"
    )
    words.set_parse_math(False)


def add_legend(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    """Add a legend above the panels."""
    legend = figure.legend(
        handles=list(handles),
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        labelcolor=style.TEXT,
        fontsize=10,
    )
    for words in legend.get_texts():
        words.set_parse_math(False)


def point_label(row: ResultRow, part: Part, sized: bool) -> str:
    """The label of a point: the row's name, in brackets for a codec on held-out frames.

    With `sized`, its bytes per frame follow.
    """
    return bracketed(style.picture_text(row.name, NAME_LENGTH) + _size(row, sized), row, part)


def codec_legend_entry() -> Line2D:
    """A legend entry that explains the brackets."""
    return Line2D([], [], linestyle="", label=f"(  ): {CODED_TOO}")


def row_label(row: ResultRow, sized: bool = False) -> str:
    """A row's name, shortened for a plot; with `sized`, its bytes per frame follow."""
    name = style.picture_text(row.name, NAME_LENGTH) + _size(row, sized)
    return f"{name} (codec)" if row.codec else name


def _size(row: ResultRow, sized: bool) -> str:
    size = mean_value(row, bytes_per_frame) if sized else None
    return "" if size is None else f", {numbers.significant(size)} B"


def row_colour(row: ResultRow) -> str:
    """The colour of a row: models stand out, references do not."""
    return style.TEXT if row.role == "model" else style.REFERENCE


def axis_label(metric: MetricInfo, upright: bool = False) -> str:
    """A metric's label with its unit and an arrow in the better direction."""
    name = style.picture_text(f"{metric.label} {metric.unit}".strip(), 30)
    if metric.better == "one":
        return f"{name}   (best: 1)"
    if upright:
        return f"better ↑   {name}" if metric.better == "higher" else f"↓ better   {name}"
    return f"{name}   better →" if metric.better == "higher" else f"{name}   ← better"


def save_figure(figure: Figure, path: Path, colours: int | None = COLOURS) -> None:
    """Write a PNG atomically, with at most `colours` colours; None keeps all of them."""
    png = io.BytesIO()
    # Without the version of Matplotlib in the file, the same records give the same bytes.
    figure.savefig(png, format="png", metadata={"Software": None})
    picture = Image.open(png).convert("RGB")
    if colours:
        picture = picture.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    with atomic_write(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True)


Box = tuple[float, float, float, float]
"""Left, bottom, right and top, in pixels."""

_Numbers = npt.NDArray[np.float64]

FONT_SIZE = 9
REACH = 9.0
"""Pixels from a point to a label next to it."""
DOT = 6.0


@dataclass(frozen=True)
class Point:
    """A point and its label, in data coordinates."""

    name: str
    x: float
    y: float
    colour: str


def label_points(
    renderer: RendererAgg,
    axes: Axes,
    points: list[Point],
) -> list[Box]:
    """Label points that are already plotted, once the layout is final.

    Labels avoid other points, labels and the panel's edges if possible. A line joins a label to its
    point if it is not near. Returns the boxes of the labels.
    """
    extent = axes.get_window_extent(renderer)
    panel = np.array([extent.x0, extent.y0, extent.x1, extent.y1])
    spots = axes.transData.transform([(point.x, point.y) for point in points])
    taken = np.concatenate([spots - DOT, spots + DOT], axis=1)
    names = np.empty((0, 4))
    placed: list[Box] = []
    for point, spot in zip(points, spots, strict=True):
        words = axes.text(0, 0, point.name, fontsize=FONT_SIZE, parse_math=False)
        size = words.get_window_extent(renderer)
        words.remove()
        offsets = _offsets(size.width, size.height)
        boxes = _boxes(spot + offsets, size.width, size.height)
        tied = np.abs(offsets[:, 1]) > 1.5 * size.height
        ties = [_tie(box, spot) for box in boxes]
        blocked = _covered(boxes, np.concatenate([taken, names])) + _beyond(boxes, panel)
        crossed = [
            _covered(tie, names).sum() if far else 0.0 for tie, far in zip(ties, tied, strict=True)
        ]
        # Least overlap and overflow; then fewest ambiguous points; then least vertical distance.
        best = np.lexsort(
            (np.abs(offsets[:, 1]), _nearer(boxes, spot, spots), np.round(blocked + crossed))
        )[0]
        note = axes.annotate(
            point.name,
            (point.x, point.y),
            xytext=tuple(offsets[best]),
            textcoords="offset pixels",
            fontsize=FONT_SIZE,
            color=point.colour,
            va="center",
            parse_math=False,
            arrowprops=(
                {"arrowstyle": "-", "color": style.QUIET, "linewidth": 0.7, "shrinkB": 4}
                if tied[best]
                else None
            ),
        )
        # Labels must not change the layout.
        note.set_in_layout(False)
        left, low, right, high = boxes[best].tolist()
        placed.append((left, low, right, high))
        names = np.concatenate(
            [names, boxes[best : best + 1], *([ties[best]] if tied[best] else [])]
        )
    return placed


def _boxes(starts: _Numbers, width: float, height: float) -> _Numbers:
    """Boxes (N, 4) of one size, given the midpoints (N, 2) of their left edges."""
    below, above = np.array([0.0, height / 2]), np.array([width, height / 2])
    return np.concatenate([starts - below, starts + above], axis=1)


def _tie(box: _Numbers, spot: _Numbers) -> _Numbers:
    """The line between a label and its point, as small boxes (N, 4)."""
    end = np.array([(box[0] + box[2]) / 2, box[1] if box[1] > spot[1] else box[3]])
    steps = np.linspace(0.1, 0.95, 12)[:, None]
    along = end + (spot - end) * steps
    return np.concatenate([along - 1.5, along + 1.5], axis=1)


def _offsets(width: float, height: float) -> _Numbers:
    """Candidate positions (N, 2) for a label around its point, preferred ones first."""
    right, left, centre = REACH, -width - REACH, -width / 2
    places = [(right, 0.0), (left, 0.0)]
    for step in (1.0, 2.2, 3.4, 4.6, 5.8, 7.0):
        for rise in (step * (height + 2), -step * (height + 2)):
            places += [(centre, rise), (right, rise), (left, rise)]
    return np.array(places)


def _nearer(boxes: _Numbers, own: _Numbers, spots: _Numbers) -> npt.NDArray[np.int64]:
    """Count the points that each box is about as near to as to its own, or nearer."""

    def distance(points: _Numbers) -> _Numbers:
        below = boxes[:, None, :2] - points[None]
        above = points[None] - boxes[:, None, 2:]
        return np.linalg.norm(np.maximum(0.0, np.maximum(below, above)), axis=2)

    return (distance(spots) < distance(own[None]) + DOT).sum(axis=1)


def _covered(boxes: _Numbers, taken: _Numbers) -> _Numbers:
    """The area in pixels of each box (N, 4) that others (M, 4) cover."""
    low = np.maximum(boxes[:, None, :2], taken[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], taken[None, :, 2:])
    return np.maximum(0.0, high - low).prod(axis=2).sum(axis=1)


def _beyond(boxes: _Numbers, panel: _Numbers) -> _Numbers:
    """How far each box extends beyond the panel, in pixels times a large weight."""
    below = np.maximum(0.0, panel[:2] - boxes[:, :2]).sum(axis=1)
    above = np.maximum(0.0, boxes[:, 2:] - panel[2:]).sum(axis=1)
    return 20 * (below + above)


COLUMN = 1.035
"""Horizontal position of the labels, in panel widths."""
GAP = 2.0
"""Pixels between labels."""


def label_curve_ends(axes: Axes, ends: Sequence[Point]) -> list[Annotation]:
    """Label curves to the right of the panel, level with their ends, before layout."""
    return [
        axes.annotate(
            end.name,
            (end.x, end.y),
            xytext=(COLUMN, end.y),
            textcoords=axes.get_yaxis_transform(),
            fontsize=FONT_SIZE,
            color=end.colour,
            va="center",
            ha="left",
            parse_math=False,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": style.QUIET,
                "linewidth": 0.5,
                "alpha": 0.6,
                "shrinkA": 1,
                "shrinkB": 4,
            },
        )
        for end in ends
    ]


def spread_labels(renderer: RendererAgg, axes: Axes, names: Sequence[Annotation]) -> None:
    """Move the labels apart vertically, once the layout is final."""
    if not names:
        return
    extent = axes.get_window_extent(renderer)
    wanted = np.array([axes.transData.transform(name.xy)[1] for name in names])
    height = FONT_SIZE * axes.figure.dpi / 72 * 1.2 + GAP
    found = spread_positions(wanted, height, extent.y0 + height / 2, extent.y1 - height / 2)
    for name, pixel in zip(names, found, strict=True):
        share = (pixel - extent.y0) / extent.height
        name.set_position((COLUMN, share))
        name.set_anncoords("axes fraction")


def spread_positions(
    wanted: npt.NDArray[np.float64], height: float, low: float, high: float
) -> npt.NDArray[np.float64]:
    """Positions (N,) at least `height` apart, nearest to `wanted`, between `low` and `high`.

    Keeps their order; without enough room, positions continue above `high`. Uses isotonic least
    squares, by pooling adjacent violators (Ayer et al., 1955).
    """
    order = np.argsort(wanted, kind="stable")
    steps = height * np.arange(len(wanted))
    pools: list[tuple[float, int]] = []
    for value in wanted[order] - steps:
        pools.append((float(value), 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, many), (other, more) = pools[-2:]
            pools[-2:] = [((one * many + other * more) / (many + more), many + more)]
    found = np.repeat([mean_value for mean_value, _ in pools], [count for _, count in pools])
    places = np.empty_like(wanted)
    places[order] = found.clip(low, max(low, high - steps[-1])) + steps
    return places
