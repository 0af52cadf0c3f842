"""A picture of the matrices: for every model, what it makes of each film after each training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from zoo.records import Results
from zoo.report import look, numbers
from zoo.report.canvas import axis_label, dress, key, named, new_figure, save, title
from zoo.report.crossing import Matrix, matrices
from zoo.report.text import one_line

MOST = 12
"""Models that are drawn; the table has them all."""
WIDE = 4
COLOURS = colormaps["cividis"]
NAME = 14


def draw_crossing(results: Results, path: Path) -> str | None:
    """Draw the matrices of the best models; returns the picture's text, or None of none."""
    every = matrices(results)
    shown = [matrix for matrix in every if any(cell.value for cell in matrix.cells.values())][:MOST]
    if not shown:
        return None
    films = [film.name for film in results.films]
    values = [cell.value.mean for m in shown for cell in m.cells.values() if cell.value]
    scale = Normalize(min(values), max(values))
    most = min(WIDE, max(1, 24 // (2 + len(films))))
    tall = -(-len(shown) // most)
    wide = -(-len(shown) // tall)
    side = max(1.3, 0.52 * len(films))
    figure, _ = new_figure(min(12.0, 1.6 + wide * (side + 0.45)), 1.3 + tall * (side + 0.5))
    places = figure.subplots(tall, wide, squeeze=False)
    for place in places.ravel()[len(shown) :]:
        place.remove()
    for index, matrix in enumerate(shown):
        place = places.ravel()[index]
        lowest = index + wide >= len(shown)
        _panel(place, matrix, films, scale, left=index % wide == 0, bottom=lowest)
    metric = shown[0].rank.metric
    figure.supylabel("trained on", color=look.QUIET, fontsize=10)
    figure.supxlabel(f"evaluated on: {axis_label(metric)}", color=look.QUIET, fontsize=10)
    key(figure, _handles(shown), 3)
    save(figure, path)
    left_out = len(every) - len(shown)
    verb = numbers.verb(left_out, "is", "are")
    more = f" {left_out} more {verb} in the table." if left_out else ""
    return (
        f"{one_line(metric.label, 40)} of {', '.join(m.row.name for m in shown)}: rows are the "
        f"film trained on ({', '.join(films)}), columns the film evaluated on, in the same order; "
        f"the numbers are those of the table below.{more}"
    )


def _panel(
    place: Axes, matrix: Matrix, films: list[str], scale: Normalize, *, left: bool, bottom: bool
) -> None:
    dress(place)
    title(place, named(matrix.row), 26)
    for down, own in enumerate(films):
        for across, seen in enumerate(films):
            _cell(place, matrix, own, seen, across, down, scale)
    place.set_xlim(0, len(films))
    place.set_ylim(len(films), 0)
    place.set_aspect("equal")
    ticks = [index + 0.5 for index in range(len(films))]
    names = [look.drawable(name, NAME) for name in films]
    place.set_xticks(ticks, names if bottom else [], rotation=40, ha="right", parse_math=False)
    place.set_yticks(ticks, names if left else [], parse_math=False)
    place.tick_params(length=0, labelsize=8)


def _cell(
    place: Axes, matrix: Matrix, own: str, seen: str, across: int, down: int, scale: Normalize
) -> None:
    cell = matrix.cells[own, seen]
    diagonal = own == seen
    colour = COLOURS(scale(cell.value.mean)) if cell.value else look.PANEL
    place.add_patch(
        Rectangle(
            (across + 0.03, down + 0.03),
            0.94,
            0.94,
            facecolor=colour,
            edgecolor=look.HELD_OUT if diagonal and cell.value else look.QUIET,
            linewidth=2.0 if diagonal and cell.value else 0.0,
            hatch=None if cell.value or not cell.failed else "////",
        )
    )
    if cell.value is None:
        return
    red, green, blue, _ = COLOURS(scale(cell.value.mean))
    bright = 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.45
    text = numbers.fixed(cell.value.mean, matrix.rank.metric.digits)
    if text.startswith("0."):
        text = text[1:]
    place.text(
        across + 0.5,
        down + 0.5,
        text + ("*" if diagonal and cell.part == "seen" else ""),
        color=look.GROUND if bright else look.TEXT,
        fontsize=9,
        ha="center",
        va="center",
    )


def _handles(shown: list[Matrix]) -> list[Rectangle]:
    own = [
        cell for m in shown for (a, b), cell in m.cells.items() if a == b and cell.value is not None
    ]
    ring: dict[str, Any] = {"facecolor": "none", "edgecolor": look.HELD_OUT, "linewidth": 2.0}
    handles: list[Rectangle] = []
    if any(cell.part == "held_out" for cell in own):
        handles.append(Rectangle((0, 0), 1, 1, **ring, label="own film, held-out frames"))
    if any(cell.part == "seen" for cell in own):
        handles.append(Rectangle((0, 0), 1, 1, **ring, label="*: own film, seen in training"))
    if any(cell.failed for m in shown for cell in m.cells.values()):
        hatched = Rectangle(
            (0, 0), 1, 1, facecolor=look.PANEL, edgecolor=look.QUIET, hatch="////", label="failed"
        )
        handles.append(hatched)
    return handles
