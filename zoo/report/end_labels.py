"""Names of curves in a column beside a panel, each tied to the end of its curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.text import Annotation

from zoo.report import look
from zoo.report.labels import FONT_SIZE, Point

COLUMN = 1.035
"""Where the names begin, in widths of the panel."""
GAP = 2.0
"""Pixels between names."""


def write_ends(place: Axes, ends: Sequence[Point]) -> list[Annotation]:
    """Write the names at the heights of their points, so that the layout leaves room for them."""
    return [
        place.annotate(
            end.name,
            (end.x, end.y),
            xytext=(COLUMN, end.y),
            textcoords=place.get_yaxis_transform(),
            fontsize=FONT_SIZE,
            color=end.colour,
            va="center",
            ha="left",
            parse_math=False,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": look.QUIET,
                "linewidth": 0.5,
                "alpha": 0.6,
                "shrinkA": 1,
                "shrinkB": 4,
            },
        )
        for end in ends
    ]


def part_ends(renderer: RendererAgg, place: Axes, names: Sequence[Annotation]) -> None:
    """Move the names apart; the layout must be settled."""
    if not names:
        return
    extent = place.get_window_extent(renderer)
    wanted = np.array([place.transData.transform(name.xy)[1] for name in names])
    height = FONT_SIZE * place.figure.dpi / 72 * 1.2 + GAP
    found = apart(wanted, height, extent.y0 + height / 2, extent.y1 - height / 2)
    for name, pixel in zip(names, found, strict=True):
        share = (pixel - extent.y0) / extent.height
        name.set_position((COLUMN, share))
        name.set_anncoords("axes fraction")


def apart(
    wanted: npt.NDArray[np.float64], height: float, low: float, high: float
) -> npt.NDArray[np.float64]:
    """Places (N,) at least `height` apart, the nearest to those wanted, from `low` to `high`.

    Their order stays; where there is no room for all, they go on above `high`. Least squares under
    an order, by pooling adjacent violators (Ayer et al., 1955).
    """
    order = np.argsort(wanted, kind="stable")
    steps = height * np.arange(len(wanted))
    pools: list[tuple[float, int]] = []
    for value in wanted[order] - steps:
        pools.append((float(value), 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, many), (other, more) = pools[-2:]
            pools[-2:] = [((one * many + other * more) / (many + more), many + more)]
    found = np.repeat([mean for mean, _ in pools], [count for _, count in pools])
    places = np.empty_like(wanted)
    places[order] = found.clip(low, max(low, high - steps[-1])) + steps
    return places
