"""What all plots have in common: the figure, the ground, axes, keys and the file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from PIL import Image

from zoo.records import MetricInfo, Part
from zoo.report import look, numbers
from zoo.report.standings import Standing, bytes_a_frame
from zoo.report.table import bracketed, mean
from zoo.workspace import written_aside

DOTS_PER_INCH = 100
NAME_LENGTH = 22
COLOURS = 128
"""What lines and letters need; fewer colours make a picture a quarter as large."""
HOLLOW: dict[str, Any] = {"linestyle": "", "fillstyle": "none", "markeredgewidth": 1.6}
"""Signs in outline, told from full ones without colour."""

CODED_TOO = "a codec, which coded the held-out frames too"
SIZED = "Beside the names: bytes per frame after lossless coding, which differ."
IN_BRACKETS = f"In brackets: {CODED_TOO}."


def new_figure(width: float, height: float) -> tuple[Figure, FigureCanvasAgg]:
    """A figure of so many inches on the report's ground."""
    figure = Figure(
        figsize=(width, height),
        dpi=DOTS_PER_INCH,
        facecolor=look.GROUND,
        layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1),
    )
    return figure, FigureCanvasAgg(figure)


def dress(place: Axes) -> None:
    """Give a panel the report's look."""
    place.set_facecolor(look.PANEL)
    for side in place.spines.values():
        side.set_visible(False)
    place.tick_params(colors=look.QUIET, labelsize=9, which="both")
    place.set_axisbelow(True)


def title(place: Axes, text: str, longest: int = 40) -> None:
    """Write a title, whatever is in it, above a panel."""
    words = place.set_title(look.drawable(text, longest), color=look.TEXT, fontsize=11, loc="left")
    words.set_parse_math(False)


def key(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    """Say above the panels what signs mean."""
    legend = figure.legend(
        handles=list(handles),
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        labelcolor=look.TEXT,
        fontsize=10,
    )
    for words in legend.get_texts():
        words.set_parse_math(False)


def signed_name(row: Standing, part: Part, sized: bool) -> str:
    """A row's name beside a point; a codec's in brackets on held-out frames, as in tables.

    With `sized` its bytes per frame stand beside it.
    """
    return bracketed(look.drawable(row.name, NAME_LENGTH) + _size(row, sized), row, part)


def codec_key() -> Line2D:
    """What brackets mean, for the line above the panels."""
    return Line2D([], [], linestyle="", label=f"(  ): {CODED_TOO}")


def named(row: Standing, sized: bool = False) -> str:
    """A row's name as it fits beside a plot; with `sized` with its bytes per frame."""
    name = look.drawable(row.name, NAME_LENGTH) + _size(row, sized)
    return f"{name} (codec)" if row.codec else name


def _size(row: Standing, sized: bool) -> str:
    size = mean(row, bytes_a_frame) if sized else None
    return "" if size is None else f", {numbers.significant(size)} B"


def colour(row: Standing) -> str:
    """Models stand out, references do not."""
    return look.TEXT if row.role == "model" else look.REFERENCE


def axis_label(metric: MetricInfo, upright: bool = False) -> str:
    """A metric with its unit and the direction in which it is better."""
    name = look.drawable(f"{metric.label} {metric.unit}".strip(), 30)
    if metric.better == "one":
        return f"{name}   (best: 1)"
    if upright:
        return f"better ↑   {name}" if metric.better == "higher" else f"↓ better   {name}"
    return f"{name}   better →" if metric.better == "higher" else f"{name}   ← better"


def save(figure: Figure, path: Path, colours: int | None = COLOURS) -> None:
    """Write the picture, whole or not at all, in so many colours; None keeps all of them."""
    drawn = io.BytesIO()
    # Without the writer's version the same records give the same bytes.
    figure.savefig(drawn, format="png", metadata={"Software": None})
    picture = Image.open(drawn).convert("RGB")
    if colours:
        picture = picture.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    with written_aside(path) as aside:
        picture.save(aside, format="PNG", optimize=True)
