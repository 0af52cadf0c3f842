"""A plot of rate and distortion: quality on seen frames over bytes a frame, a panel a metric."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from zoo.records import FilmInfo, MetricInfo, Results
from zoo.report import look
from zoo.report.canvas import NAME_LENGTH, axis_label, dress, key, new_figure, save, title
from zoo.report.differences import rate_metrics
from zoo.report.end_labels import part_ends, write_ends
from zoo.report.labels import Point
from zoo.report.rates import Curve, curves
from zoo.report.text import one_line

_WIDTHS: dict[str, Any] = {"linewidth": 1.4, "markeredgewidth": 1.4}
_MODEL: dict[str, Any] = {"linestyle": "-", "marker": "o", "markersize": 5, **_WIDTHS}
_HOLLOW: dict[str, Any] = {"fillstyle": "none", "markersize": 6, **_WIDTHS}
_REFERENCE: dict[str, Any] = {"linestyle": ":", "marker": "D", **_HOLLOW}
_CODEC: dict[str, Any] = {"linestyle": "--", "marker": "s", **_HOLLOW}
_BEATEN: dict[str, Any] = {"linestyle": "", "marker": ".", "markersize": 4, "alpha": 0.7}


def draw_rates(results: Results, film: FilmInfo, path: Path) -> str | None:
    """Draw the curves of one film; returns the text that stands for the picture, or None of none.

    Models are curves over bit depths and latent sizes, codecs over the bytes they were given.
    """
    panels = [
        (metric, found)
        for metric in rate_metrics(results)
        if (found := curves(results, film, metric))
    ]
    if not panels:
        return None
    most = max(len(found) for _, found in panels)
    figure, canvas = new_figure(11.0 if len(panels) > 1 else 6.5, 3.9 + 0.1 * most)
    places = figure.subplots(1, len(panels), squeeze=False)[0]
    styles = _styles([curve for _, found in panels for curve in found])
    names = [
        _panel(place, metric, found, styles)
        for place, (metric, found) in zip(places, panels, strict=True)
    ]
    key(figure, _handles(), 4)
    # Twice: the first drawing lets the layout settle, and only then are there pixels to place in.
    canvas.draw()
    figure.set_layout_engine("none")
    for place, written in zip(places, names, strict=True):
        part_ends(canvas.get_renderer(), place, written)
    save(figure, path)
    labels = " and ".join(one_line(metric.label, 40) for metric, _ in panels)
    told = dict.fromkeys(curve.name for _, found in panels for curve in found)
    return (
        f"{labels} on seen frames of {film.name} over bytes per frame, on a logarithmic axis: "
        f"curves of {', '.join(told)}. Each point of a model is a number of bits per latent "
        "number or a latent size; the line joins the points that no other point beats in both."
    )


def _styles(found: list[Curve]) -> dict[tuple[str, str], str]:
    """A colour for every curve; those of references are grey."""
    models = dict.fromkeys(curve.name for curve in found if curve.role == "model")
    colours = {("model", n): look.LINES[i % len(look.LINES)] for i, n in enumerate(models)}
    return colours | {
        (curve.role, curve.name): look.REFERENCE for curve in found if curve.role != "model"
    }


def _line(curve: Curve) -> dict[str, Any]:
    if curve.codec:
        return _CODEC
    return _MODEL if curve.role == "model" else _REFERENCE


def _handles() -> list[Line2D]:
    signs = (
        ("model", look.LINES[0], _MODEL),
        ("reference", look.REFERENCE, _REFERENCE),
        ("codec", look.REFERENCE, _CODEC),
        ("beaten by another point of the same row", look.REFERENCE, _BEATEN),
    )
    return [Line2D([], [], color=colour, label=label, **how) for label, colour, how in signs]


def _panel(
    place: Axes, metric: MetricInfo, found: list[Curve], styles: dict[tuple[str, str], str]
) -> list[Annotation]:
    """Draw the curves of one metric; returns their names, which are yet to be moved apart."""
    dress(place)
    title(place, axis_label(metric, upright=True))
    ends = []
    for curve in found:
        colour = styles[curve.role, curve.name]
        front = curve.front(metric.better)
        beaten = [point for point in curve.points if point not in front]
        for points, how in ((front, _line(curve)), (beaten, _BEATEN)):
            place.plot(
                [point.bytes_a_frame for point in points],
                [point.value for point in points],
                color=colour,
                **how,
            )
        last = front[-1]
        name = look.drawable(curve.name, NAME_LENGTH)
        ends.append(Point(name, last.bytes_a_frame, last.value, colour))
    place.set_xscale("log")
    place.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    place.xaxis.set_minor_formatter(NullFormatter())
    place.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
    place.yaxis.set_major_locator(MaxNLocator(6))
    place.margins(x=0.06, y=0.08)
    place.grid(color=look.RULE, linewidth=0.5, alpha=0.6)
    place.set_xlabel("bytes per frame   ← smaller", color=look.QUIET)
    return write_ends(place, ends)
