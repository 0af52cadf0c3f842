"""Names beside the points of a plot, where they cover no other point, no name and no edge."""

from __future__ import annotations

import math
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg

from zoo.report import look

Box = tuple[float, float, float, float]
"""Left, bottom, right and top, in pixels."""

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


def name_points(renderer: RendererAgg, place: Axes, points: list[Point]) -> list[Box]:
    """Write the names of points that are drawn already; the layout must be settled.

    A name that cannot stand near its point is tied to it by a line. Returns where the names are.
    """
    extent = place.get_window_extent(renderer)
    panel = (extent.x0, extent.y0, extent.x1, extent.y1)
    spots: list[tuple[float, float]] = [
        tuple(place.transData.transform((point.x, point.y))) for point in points
    ]
    taken: list[Box] = [(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in spots]
    for point, (x, y) in zip(points, spots, strict=True):
        words = place.text(0, 0, point.name, fontsize=FONT_SIZE, parse_math=False)
        size = words.get_window_extent(renderer)
        words.remove()
        candidates = [
            ((right, up), _box(x + right, y + up, size.width, size.height))
            for right, up in _offsets(size.width, size.height)
        ]
        (right, up), box = min(
            candidates,
            # Overlap and overflow first; among free places the nearest, then the favourite.
            key=lambda found: (
                round(_blocked(found[1], taken, panel)),
                _nearer(found[1], (x, y), spots),
                abs(found[0][1]),
            ),
        )
        note = place.annotate(
            point.name,
            (point.x, point.y),
            xytext=(right, up),
            textcoords="offset pixels",
            fontsize=FONT_SIZE,
            color=point.colour,
            va="center",
            parse_math=False,
            arrowprops=(
                {"arrowstyle": "-", "color": look.QUIET, "linewidth": 0.7, "shrinkB": 4}
                if abs(up) > 1.5 * size.height
                else None
            ),
        )
        # Names follow the layout; they take no part in it.
        note.set_in_layout(False)
        taken.append(box)
    return taken[len(points) :]


def _box(left: float, middle: float, width: float, height: float) -> Box:
    return left, middle - height / 2, left + width, middle + height / 2


def _offsets(width: float, height: float) -> list[tuple[float, float]]:
    """Places for a name around its point, the favourite first."""
    right, left, centre = REACH, -width - REACH, -width / 2
    places = [(right, 0.0), (left, 0.0)]
    for step in (1.0, 2.2, 3.4, 4.6, 5.8, 7.0):
        for rise in (step * (height + 2), -step * (height + 2)):
            places += [(centre, rise), (right, rise), (left, rise)]
    return places


def _nearer(box: Box, own: tuple[float, float], spots: list[tuple[float, float]]) -> int:
    """How many other points a name would seem to belong to: those about as near as its own."""

    def apart(spot: tuple[float, float]) -> float:
        right = max(box[0] - spot[0], 0.0, spot[0] - box[2])
        up = max(box[1] - spot[1], 0.0, spot[1] - box[3])
        return math.hypot(right, up)

    reach = apart(own) + DOT
    return sum(apart(spot) < reach for spot in spots) - 1


def _blocked(box: Box, taken: list[Box], panel: Box) -> float:
    """How much of a place is not free: pixels covered, and pixels beyond the panel."""
    covered = sum(
        max(0.0, min(box[2], other[2]) - max(box[0], other[0]))
        * max(0.0, min(box[3], other[3]) - max(box[1], other[1]))
        for other in taken
    )
    beyond = (
        max(0.0, panel[0] - box[0])
        + max(0.0, panel[1] - box[1])
        + max(0.0, box[2] - panel[2])
        + max(0.0, box[3] - panel[3])
    )
    return covered + 20 * beyond
