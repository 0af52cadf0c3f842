"""A plot of the two metrics that name winners against each other: how they disagree."""

from __future__ import annotations

from pathlib import Path

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from zoo.records import Results
from zoo.report import look
from zoo.report.canvas import (
    HOLLOW,
    IN_BRACKETS,
    SIZED,
    axis_label,
    codec_key,
    colour,
    dress,
    key,
    new_figure,
    save,
    signed_name,
    title,
)
from zoo.report.labels import Point, name_points
from zoo.report.standings import standings
from zoo.report.table import several_sizes
from zoo.report.text import one_line
from zoo.report.winners import rankings


def draw_trade(results: Results, path: Path) -> str | None:
    """The two metrics that name winners against each other, a panel a film.

    Returns the text that stands for the picture, or None where there are not two of them.
    """
    ranks = rankings(results)
    if len(ranks) < 2:
        return None
    up, across = ranks
    films = []
    for film in results.films:
        points = [
            (row, right.mean, high.mean)
            for row in standings(results, film.name)
            if (right := across.value(row)) and (high := up.value(row))
        ]
        if points:
            films.append((film, points))
    if not films:
        return None
    # Many names need wide panels.
    crowded = max(len(points) for _, points in films) > 9
    wide = min(2 if crowded else 3, len(films))
    tall = -(-len(films) // wide)
    figure, canvas = new_figure(max(5.5, 11.0 if wide > 1 else 6.5), 0.9 + 3.6 * tall)
    grid = figure.subplots(tall, wide, squeeze=False).ravel()
    for place in grid[len(films) :]:
        place.remove()
    for place, (film, points) in zip(grid, films, strict=False):
        dress(place)
        title(place, film.name)
        for row, x, y in points:
            model = row.role == "model"
            place.plot(
                x,
                y,
                "o" if model else "s",
                markersize=7,
                markeredgewidth=1.6,
                color=look.HELD_OUT if model else look.REFERENCE,
                fillstyle="full" if model else "none",
            )
        # Room for the names: they stand beside the points and inside the panel.
        place.margins(x=0.3, y=0.18)
        place.grid(color=look.RULE, linewidth=0.5, alpha=0.6)
        place.set_xlabel(axis_label(across.metric), color=look.QUIET, parse_math=False)
        place.set_ylabel(axis_label(up.metric, upright=True), color=look.QUIET, parse_math=False)
        place.xaxis.set_major_locator(MaxNLocator(5))
        place.yaxis.set_major_locator(MaxNLocator(6))
    handles = [
        Line2D([], [], linestyle="", marker="o", color=look.HELD_OUT, label="model"),
        Line2D([], [], **HOLLOW, marker="s", color=look.REFERENCE, label="reference"),
    ]
    bracketed = any(row.codec for _, points in films for row, _, _ in points)
    if bracketed and up.part == "held_out":
        handles.append(codec_key())
    key(figure, handles, 3 if wide > 1 else 2)
    # Twice: the first drawing lets the layout settle, and only then are there pixels to place in.
    canvas.draw()
    figure.set_layout_engine("none")
    for place, (_, points) in zip(grid, films, strict=False):
        sized = several_sizes(row for row, _, _ in points)
        named = [Point(signed_name(row, up.part, sized), x, y, colour(row)) for row, x, y in points]
        name_points(canvas.get_renderer(), place, named)
    save(figure, path)
    return (
        f"{one_line(up.metric.label, 40)} against {one_line(across.metric.label, 40)} on "
        f"{up.part.replace('_', '-')} frames of {', '.join(film.name for film, _ in films)}: "
        "models as dots, references as squares; the numbers are those of the tables."
        + (f" {SIZED}" if any(several_sizes(row for row, _, _ in p) for _, p in films) else "")
        + (f" {IN_BRACKETS}" if bracketed and up.part == "held_out" else "")
    )
