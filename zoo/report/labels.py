"""Names beside the points of a plot, where they cover no other point, no name and no edge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg

from zoo.report import look

Box = tuple[float, float, float, float]
"""Left, bottom, right and top, in pixels."""

_Numbers = npt.NDArray[np.float64]

FONT_SIZE = 9
REACH = 9.0
"""Pixels from a point to the name beside it."""
DOT = 6.0


@dataclass(frozen=True)
class Point:
    """A point and its name, at its place in the data."""

    name: str
    x: float
    y: float
    colour: str


def name_points(
    renderer: RendererAgg,
    place: Axes,
    points: list[Point],
) -> list[Box]:
    """Write the names of points that are drawn already; the layout must be settled.

    A name that cannot stand near its point is tied to it by a line. Returns where the names are.
    """
    extent = place.get_window_extent(renderer)
    panel = np.array([extent.x0, extent.y0, extent.x1, extent.y1])
    spots = place.transData.transform([(point.x, point.y) for point in points])
    taken = np.concatenate([spots - DOT, spots + DOT], axis=1)
    names = np.empty((0, 4))
    placed: list[Box] = []
    for point, spot in zip(points, spots, strict=True):
        words = place.text(0, 0, point.name, fontsize=FONT_SIZE, parse_math=False)
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
        # Overlap and overflow first; among free places the nearest, then the favourite.
        best = np.lexsort(
            (np.abs(offsets[:, 1]), _nearer(boxes, spot, spots), np.round(blocked + crossed))
        )[0]
        note = place.annotate(
            point.name,
            (point.x, point.y),
            xytext=tuple(offsets[best]),
            textcoords="offset pixels",
            fontsize=FONT_SIZE,
            color=point.colour,
            va="center",
            parse_math=False,
            arrowprops=(
                {"arrowstyle": "-", "color": look.QUIET, "linewidth": 0.7, "shrinkB": 4}
                if tied[best]
                else None
            ),
        )
        # Names follow the layout; they take no part in it.
        note.set_in_layout(False)
        left, low, right, high = boxes[best].tolist()
        placed.append((left, low, right, high))
        names = np.concatenate(
            [names, boxes[best : best + 1], *([ties[best]] if tied[best] else [])]
        )
    return placed


def _boxes(starts: _Numbers, width: float, height: float) -> _Numbers:
    """Boxes (N, 4) of a size, from the middles of their left edges (N, 2)."""
    below, above = np.array([0.0, height / 2]), np.array([width, height / 2])
    return np.concatenate([starts - below, starts + above], axis=1)


def _tie(box: _Numbers, spot: _Numbers) -> _Numbers:
    """The line between a name and its point, as small boxes (N, 4)."""
    end = np.array([(box[0] + box[2]) / 2, box[1] if box[1] > spot[1] else box[3]])
    steps = np.linspace(0.1, 0.95, 12)[:, None]
    along = end + (spot - end) * steps
    return np.concatenate([along - 1.5, along + 1.5], axis=1)


def _offsets(width: float, height: float) -> _Numbers:
    """Places (N, 2) for a name around its point, the favourite first."""
    right, left, centre = REACH, -width - REACH, -width / 2
    places = [(right, 0.0), (left, 0.0)]
    for step in (1.0, 2.2, 3.4, 4.6, 5.8, 7.0):
        for rise in (step * (height + 2), -step * (height + 2)):
            places += [(centre, rise), (right, rise), (left, rise)]
    return np.array(places)


def _nearer(boxes: _Numbers, own: _Numbers, spots: _Numbers) -> npt.NDArray[np.int64]:
    """How many other points a name would seem to belong to: those about as near as its own."""

    def apart(points: _Numbers) -> _Numbers:
        below = boxes[:, None, :2] - points[None]
        above = points[None] - boxes[:, None, 2:]
        return np.linalg.norm(np.maximum(0.0, np.maximum(below, above)), axis=2)

    return (apart(spots) < apart(own[None]) + DOT).sum(axis=1)


def _covered(boxes: _Numbers, taken: _Numbers) -> _Numbers:
    """How many pixels of each box (N, 4) others (M, 4) cover already."""
    low = np.maximum(boxes[:, None, :2], taken[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], taken[None, :, 2:])
    return np.maximum(0.0, high - low).prod(axis=2).sum(axis=1)


def _beyond(boxes: _Numbers, panel: _Numbers) -> _Numbers:
    """How far each box lies beyond the panel, as pixels that weigh much."""
    below = np.maximum(0.0, panel[:2] - boxes[:, :2]).sum(axis=1)
    above = np.maximum(0.0, boxes[:, 2:] - panel[2:]).sum(axis=1)
    return 20 * (below + above)
